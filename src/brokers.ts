import { type AmqpSettings, followAmqpUrl } from './config/amqp.ts'
import { followFile, readFile } from './config/followed-file.ts'
import { followKafkaPassword, type KafkaSettings } from './config/kafka.ts'
import { followQueueKey, type WebhookQueueSettings } from './config/webhook-settings.ts'
import { createWebhooksReader } from './config/webhooks.ts'
import type { Clock } from './core/clock.ts'
import type { Logger } from './core/log.ts'
import type { Broker } from './events/sinks/broker.ts'

/** Which brokers there are. Plain data, which a thread can be handed. */
export interface BrokerSettings {
  kafka?: KafkaSettings
  amqp?: AmqpSettings
  /** Webhooks that wait in that RabbitMQ, where they do. */
  webhookQueue?: WebhookQueueSettings
}

/** What brokers need beside. */
export interface BrokerParts {
  clock: Clock
  logger: Logger
}

/** Makes the brokers that are configured; they connect when they are first used. No library is loaded for the others. */
export async function createBrokers(
  { kafka, amqp, webhookQueue }: BrokerSettings,
  parts: BrokerParts,
): Promise<Broker[]> {
  const brokers = await Promise.all([
    kafka && createKafka(kafka, parts),
    amqp && createRabbit(amqp, parts),
    amqp && webhookQueue && createWebhooks(amqp, webhookQueue, parts),
  ])
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

async function createWebhooks(
  amqp: AmqpSettings,
  settings: WebhookQueueSettings,
  parts: BrokerParts,
): Promise<Broker> {
  const { createWebhookQueue } = await import('./webhooks/queue-publisher.ts')
  const { declareWebhooks } = await import('./webhooks/queue-topology.ts')
  const { standardLadder } = await import('./webhooks/queue-delays.ts')
  const { createAmqpPublisher, publisherLimits } = await import('./outward/amqp-publisher.ts')
  const { connectAmqp } = await import('./outward/amqp-connection.ts')
  const url = followAmqpUrl(amqp)
  const read = createWebhooksReader(settings.context)
  const first = readFile(settings.path, read)
  const file = followFile(settings.path, first.kind === 'document' ? first.value : undefined, {
    read,
    ...parts,
  })
  return createWebhookQueue({
    endpoints() {
      if (!file.current) throw new Error(`Cannot publish webhooks: ${settings.path} is not as it must be`)
      return file.current
    },
    key: followQueueKey(settings),
    publisher: createAmqpPublisher(
      { url, exchange: { name: 'gateway.events', type: 'topic' }, limits: publisherLimits },
      parts,
    ),
    async declare(orderedIds, signal) {
      const declaring = await connectAmqp(
        url(),
        async ({ model }) => {
          const channel = await model.createChannel()
          // What goes wrong fails the call that it belongs to.
          channel.on('error', () => undefined)
          await declareWebhooks(channel, standardLadder, orderedIds)
        },
        { ...publisherLimits, connectMs: declareMs },
        parts,
        signal,
      )
      await declaring.connection.close()
    },
    clock: parts.clock,
  })
}

/** For the queues of webhooks to be declared, those of a thousand ordered endpoints included. */
const declareMs = 60_000
