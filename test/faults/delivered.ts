import { type ConsumeMessage, connect } from 'amqplib'
import { eventTopics, type GatewayEvent } from '../../src/core/events.ts'
import { expectValidEvent } from '../support/event-schema.ts'
import type { Kafka } from '../support/kafka.ts'

/** What a broker got, in the order in which it lies there, copies included. */
export interface Delivered {
  events: readonly GatewayEvent[]
  /** Headers, keys and properties that are not as they must be. */
  problems: readonly string[]
}

const exchange = 'gateway.events'
const queue = 'every-event'

/** The topics that a load with good and bad callers needs. */
const topics = [eventTopics['request.completed'], eventTopics['auth.failed']]

/** Makes both topics, or makes them anew. */
export async function freshTopics(kafka: Kafka): Promise<void> {
  await kafka.administer(async (admin) => {
    const there = await admin.listTopics()
    const old = topics.filter((topic) => there.includes(topic))
    if (old.length > 0) await admin.deleteTopics({ topics: old })
    await admin.createTopics({ topics: topics.map((topic) => ({ topic })), waitForLeaders: true })
  })
}

/** Makes the exchange and a durable queue that gets every event, and empties it. @param address `host:port`. */
export async function freshQueue(address: string): Promise<void> {
  const connection = await connect(`amqp://guest:guest@${address}`)
  const channel = await connection.createChannel()
  await channel.assertExchange(exchange, 'topic', { durable: true })
  await channel.assertQueue(queue, { durable: true })
  await channel.bindQueue(queue, exchange, '#')
  await channel.purgeQueue(queue)
  await connection.close()
}

/** Reads both topics. @throws Error where an event is not as its schema says. */
export async function readKafka(kafka: Kafka): Promise<Delivered> {
  const events: GatewayEvent[] = []
  const problems: string[] = []
  for (const topic of topics) {
    for (const { key, value, headers } of await kafka.records(topic)) {
      const event = parse(value)
      events.push(event)
      const told = { topic, key, ...headers }
      const expected = {
        topic: eventTopics[event.event_type],
        key: clientOf(event) ?? event.request_id,
        ...attributesOf(event, 'ce_'),
        'content-type': 'application/json',
      }
      if (!isSame(told, expected)) problems.push(differs(told, expected))
    }
  }
  return { events, problems }
}

/** Empties the queue. @throws Error where an event is not as its schema says. */
export async function readRabbit(address: string): Promise<Delivered> {
  const events: GatewayEvent[] = []
  const problems: string[] = []
  for (const { content, fields, properties } of await drain(address)) {
    const event = parse(content.toString())
    events.push(event)
    const { messageId, contentType, deliveryMode, headers } = properties
    const told = { key: fields.routingKey, messageId, contentType, deliveryMode, ...headers }
    const expected = {
      key: event.event_type,
      messageId: event.id,
      contentType: 'application/json',
      deliveryMode: 2,
      ...attributesOf(event, 'cloudEvents:'),
    }
    if (!isSame(told, expected)) problems.push(differs(told, expected))
  }
  return { events, problems }
}

async function drain(address: string): Promise<ConsumeMessage[]> {
  const connection = await connect(`amqp://guest:guest@${address}`)
  try {
    const channel = await connection.createChannel()
    const { messageCount } = await channel.checkQueue(queue)
    const messages: ConsumeMessage[] = []
    if (messageCount === 0) return messages
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    connection.once('close', () => reject(new Error('Cannot read from RabbitMQ: the connection was closed')))
    const take = (message: ConsumeMessage | null) => {
      if (message) messages.push(message)
      if (messages.length === messageCount) resolve()
    }
    await channel.consume(queue, take, { noAck: true })
    await promise
    return messages
  } finally {
    await connection.close()
  }
}

/**
 * Both brokers read one log in order: of one client, they must have got the first copies in the same order.
 * @returns the clients for whom that is not so.
 */
export function outOfOrder(one: readonly GatewayEvent[], other: readonly GatewayEvent[]): string[] {
  const [first, second] = [sequences(one), sequences(other)]
  return [...first].flatMap(([whose, ids]) => {
    const others = second.get(whose) ?? new Set()
    const here = [...ids].filter((id) => others.has(id))
    const there = [...others].filter((id) => ids.has(id))
    return here.every((id, at) => id === there[at]) ? [] : [whose]
  })
}

/** Ids in the order in which they first came, by what is kept in order: events of one type and client. */
function sequences(events: readonly GatewayEvent[]): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>()
  for (const event of events) {
    const client = clientOf(event)
    if (client === undefined) continue
    const whose = `${event.event_type} of ${client}`
    found.set(whose, (found.get(whose) ?? new Set()).add(event.id))
  }
  return found
}

function parse(json: string): GatewayEvent {
  return expectValidEvent(JSON.parse(json) as GatewayEvent)
}

function clientOf({ data }: GatewayEvent): string | undefined {
  return 'client_id' in data ? data.client_id : undefined
}

function attributesOf(event: GatewayEvent, prefix: string): Record<string, string> {
  const client = clientOf(event)
  return {
    [`${prefix}specversion`]: '1.0',
    [`${prefix}id`]: event.id,
    [`${prefix}type`]: event.event_type,
    [`${prefix}source`]: 'urn:gatepost',
    [`${prefix}time`]: event.timestamp,
    ...(client !== undefined && { [`${prefix}subject`]: client }),
  }
}

function isSame(told: object, expected: object): boolean {
  return sorted(told) === sorted(expected)
}

function differs(told: object, expected: object): string {
  return `delivered with ${sorted(told)}, not ${sorted(expected)}`
}

function sorted(fields: object): string {
  return JSON.stringify(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)))
}
