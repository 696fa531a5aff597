import { type AmqpSettings, followAmqpUrl } from './config/amqp.ts'
import { followKafkaPassword, type KafkaSettings } from './config/kafka.ts'
import type { Clock } from './core/clock.ts'
import type { Logger } from './core/log.ts'
import type { Broker } from './events/sinks/broker.ts'

/** Which brokers there are. Plain data, which a thread can be handed. */
export interface BrokerSettings {
  kafka?: KafkaSettings
  amqp?: AmqpSettings
}

/** What brokers need beside. */
export interface BrokerParts {
  clock: Clock
  logger: Logger
}

/** Makes the brokers that are configured; they connect when they are first used. No library is loaded for the others. */
export async function createBrokers({ kafka, amqp }: BrokerSettings, parts: BrokerParts): Promise<Broker[]> {
  const brokers = await Promise.all([kafka && createKafka(kafka, parts), amqp && createRabbit(amqp, parts)])
  return brokers.filter((broker) => broker !== undefined)
}

async function createKafka(settings: KafkaSettings, { logger }: BrokerParts): Promise<Broker> {
  const { createKafkaBroker } = await import('./events/sinks/kafka.ts')
  const { sasl, ...rest } = settings
  const login = sasl && { mechanism: sasl.mechanism, username: sasl.username, password: sasl.first }
  return createKafkaBroker(
    { ...rest, ...(login && { sasl: login }) },
    { log: logger, password: followKafkaPassword(settings) },
  )
}

async function createRabbit(settings: AmqpSettings, parts: BrokerParts): Promise<Broker> {
  const { createRabbitBroker } = await import('./events/sinks/rabbitmq.ts')
  const { createAmqpPublisher, publisherLimits } = await import('./outward/amqp-publisher.ts')
  const url = followAmqpUrl(settings)
  return createRabbitBroker((exchange) =>
    createAmqpPublisher({ url, exchange, limits: publisherLimits }, parts),
  )
}
