import { stringify } from 'yaml'
import type { EventType, GatewayEvent } from '../core/events.ts'
import { describeEvents, type EventEntry } from './catalogue-entries.ts'
import { cloudEventAttributes, eventContentType, eventSource } from './cloudevents.ts'
import { eventsExchange } from './sinks/rabbitmq.ts'

const { name: exchange, type: exchangeType } = eventsExchange

const kafkaBinding = '0.5.0'
const amqpBinding = '0.3.0'

/** How a broker's messages differ from another's. */
interface Carrier {
  /** Stands before the name of a message, and names the server. */
  name: 'kafka' | 'rabbitmq'
  /** What the broker's CloudEvents binding puts before an attribute's name. */
  prefix: string
  /** Headers beside the attributes. */
  headers: Record<string, object>
  bindings: (type: EventType) => object
}

const carriers: readonly [kafka: Carrier, rabbitmq: Carrier] = [
  {
    name: 'kafka',
    prefix: 'ce_',
    headers: { 'content-type': { type: 'string', const: eventContentType, description: 'Of the event.' } },
    bindings: () => ({
      kafka: {
        key: {
          type: 'string',
          description: 'Client id, else request id, else the id: one client’s events keep their order.',
        },
        bindingVersion: kafkaBinding,
      },
    }),
  },
  {
    name: 'rabbitmq',
    prefix: 'cloudEvents:',
    headers: {},
    bindings: (type) => ({ amqp: { messageType: type, bindingVersion: amqpBinding } }),
  },
]

/**
 * The AsyncAPI 3 document of every event: channels, messages, headers and schemas, out of the catalogue.
 * @param version of the package.
 */
export function asyncApiDocument(version: string) {
  const [kafka, rabbitmq] = carriers
  const entries = describeEvents()
  const topics = [...new Set(entries.map(({ topic }) => topic))]
  const document = {
    asyncapi: '3.0.0',
    id: 'urn:gatepost:events',
    info: {
      title: 'Gatepost events',
      version,
      description:
        'What Gatepost tells of the requests that it decides on. Each event is delivered at least once: tell duplicates by `id`. ' +
        'Kafka keeps the order of each client; a queue of RabbitMQ keeps that of all.',
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
      tags: [{ name: 'gateway' }, { name: 'cloudevents' }],
    },
    defaultContentType: eventContentType,
    servers: {
      kafka: server('kafka', 'localhost:9092', 'One of KAFKA_BROKERS.'),
      rabbitmq: server('amqp', 'localhost:5672', 'As AMQP_URL names it.'),
    },
    channels: {
      ...Object.fromEntries(
        topics.map((topic) => [
          topic,
          kafkaChannel(
            topic,
            entries.filter((entry) => entry.topic === topic),
          ),
        ]),
      ),
      [exchange]: rabbitmqChannel(entries),
    },
    operations: {
      ...Object.fromEntries(topics.map((topic) => [`send.${topic}`, sending(topic)])),
      [`send.${exchange}`]: {
        ...sending(exchange),
        bindings: {
          amqp: { deliveryMode: 2, mandatory: true, timestamp: true, bindingVersion: amqpBinding },
        },
      },
    },
    components: {
      messages: Object.fromEntries(
        carriers.flatMap((carrier) =>
          entries.map((entry) => [messageName(carrier, entry), message(carrier, entry)]),
        ),
      ),
      messageTraits: { kafka: trait(kafka), rabbitmq: trait(rabbitmq) },
      schemas: Object.fromEntries(entries.map(({ type, schema }) => [type, payload(schema)])),
    },
  }
  // What TypeBox keeps in its schemas beside JSON Schema is no part of the document.
  return JSON.parse(JSON.stringify(document)) as typeof document
}

/** The document as text. Strings that an older YAML would take for something else are quoted. */
export function asyncApiText(version: string, format: 'yaml' | 'json'): string {
  const document = asyncApiDocument(version)
  if (format === 'json') return `${JSON.stringify(document, null, 2)}\n`
  return stringify(document, { aliasDuplicateObjects: false, compat: 'yaml-1.1', lineWidth: 0 })
}

function server(protocol: string, host: string, description: string) {
  return { host, protocol, description: `${description} The host is an example.` }
}

function kafkaChannel(topic: string, entries: readonly EventEntry[]) {
  return {
    address: topic,
    title: `Topic ${topic}`,
    description: entries.map(({ type, meaning }) => `${type}: ${meaning}`).join('\n'),
    servers: [reference('servers', 'kafka')],
    messages: messagesOf(carriers[0], entries),
    bindings: { kafka: { topic, bindingVersion: kafkaBinding } },
  }
}

function rabbitmqChannel(entries: readonly EventEntry[]) {
  return {
    address: '{event_type}',
    title: `Exchange ${exchange}`,
    description: 'Every event; its routing key is the event type, so that a queue binds by type or by group.',
    servers: [reference('servers', 'rabbitmq')],
    parameters: {
      event_type: {
        description: 'The routing key.',
        enum: entries.map(({ type }) => type),
        location: '$message.payload#/event_type',
      },
    },
    messages: messagesOf(carriers[1], entries),
    bindings: {
      amqp: {
        is: 'routingKey',
        exchange: { name: exchange, type: exchangeType, durable: true, autoDelete: false },
        bindingVersion: amqpBinding,
      },
    },
  }
}

function messagesOf(carrier: Carrier, entries: readonly EventEntry[]) {
  return Object.fromEntries(
    entries.map((entry) => [entry.type, reference('components', 'messages', messageName(carrier, entry))]),
  )
}

function sending(channel: string) {
  return { action: 'send', channel: reference('channels', channel) }
}

function messageName({ name }: Carrier, { type }: EventEntry): string {
  return `${name}.${type}`
}

function message(carrier: Carrier, { type, meaning, occasion, example }: EventEntry) {
  return {
    name: type,
    title: type,
    summary: meaning,
    description: occasion,
    payload: reference('components', 'schemas', type),
    correlationId: { description: 'The request.', location: '$message.payload#/request_id' },
    bindings: carrier.bindings(type),
    examples: [{ name: type, headers: headersOf(carrier, example), payload: example }],
    traits: [reference('components', 'messageTraits', carrier.name)],
  }
}

/** The CloudEvents 1.0 attributes that the headers carry, each under its binding's prefix. */
const attributes = {
  specversion: { type: 'string', const: '1.0', description: 'Version of CloudEvents.' },
  id: { type: 'string', format: 'uuid', description: 'As `id` in the event.' },
  type: { type: 'string', description: 'As `event_type` in the event.' },
  source: { type: 'string', const: eventSource, description: 'Gatepost.' },
  time: { type: 'string', format: 'date-time', description: 'As `timestamp` in the event.' },
  subject: { type: 'string', description: 'Client id, where it is known.' },
}

function trait({ prefix, headers, name }: Carrier) {
  const prefixed = Object.entries(attributes).map(([attribute, schema]) => [prefix + attribute, schema])
  const properties = { ...headers, ...Object.fromEntries(prefixed) }
  const required = Object.keys(properties).filter((header) => header !== `${prefix}subject`)
  return {
    headers: {
      type: 'object',
      properties,
      required,
      description: `CloudEvents 1.0 in binary mode, over ${name}.`,
    },
    contentType: eventContentType,
  }
}

function headersOf({ prefix, headers }: Carrier, { id, event_type: type, timestamp, data }: GatewayEvent) {
  const clientId = 'client_id' in data ? data.client_id : undefined
  const logged = { id, type, timestamp, clientId, requestId: undefined, json: '' }
  const fixed = Object.keys(headers).map((name) => [name, eventContentType])
  return { ...Object.fromEntries(fixed), ...cloudEventAttributes(logged, prefix) }
}

/** The schema of a whole event; inside the document it needs neither name nor dialect of its own. */
function payload({ $schema: _dialect, $id: _name, ...schema }: EventEntry['schema']) {
  return schema
}

function reference(...path: readonly string[]) {
  return { $ref: `#/${path.join('/')}` }
}
