import { type EventType, eventTopics, type GatewayEvent } from '../core/events.ts'
import { catalogue, descriptions, eventSchema, eventTypes, examples, occasions } from './catalogue.ts'

/** One field of an event's data, as people read of it. */
export interface FieldEntry {
  name: string
  /** `string`, `integer`, `number`, `true`, `string[]`, or the words that it may be. */
  type: string
  /** Whether every event of the type has it. */
  isRequired: boolean
  description: string
}

/** One event type, as people and programs read of it. */
export interface EventEntry {
  type: EventType
  /** What it says, in one sentence. */
  meaning: string
  /** When it is told. */
  occasion: string
  topic: string
  routingKey: string
  fields: readonly FieldEntry[]
  /** The JSON Schema of the whole event. */
  schema: ReturnType<typeof eventSchema>
  example: GatewayEvent
}

/** Describes every event type, in the order of the catalogue. */
export function describeEvents(): EventEntry[] {
  return eventTypes.map((type) => ({
    type,
    meaning: descriptions[type],
    occasion: occasions[type],
    topic: eventTopics[type],
    routingKey: type,
    fields: fieldsOf(type),
    schema: eventSchema(type),
    example: exampleOf(type),
  }))
}

function exampleOf(type: EventType): GatewayEvent {
  return {
    id: '9f3b6c3e-2c3d-4f43-8f0f-0c1d1f1e2a3b',
    event_type: type,
    timestamp: '2030-01-02T03:04:05.000Z',
    request_id: '0af76519-16cd-43dd-8448-eb211c80319c',
    data: examples[type],
  }
}

/** As much of a JSON Schema as the fields of the catalogue use. */
interface FieldSchema {
  type?: string
  const?: unknown
  description?: string
  anyOf?: readonly FieldSchema[]
  items?: FieldSchema
}

function fieldsOf(type: EventType): FieldEntry[] {
  const { properties, required } = catalogue[type]
  const needed: readonly string[] = required
  return Object.entries<FieldSchema>(properties).map(([name, schema]) => ({
    name,
    type: typeOf(schema),
    isRequired: needed.includes(name),
    description: schema.description ?? '',
  }))
}

function typeOf({ type, const: value, anyOf, items }: FieldSchema): string {
  if (anyOf) return anyOf.map(typeOf).join(' | ')
  if (value !== undefined) return String(value)
  return items ? `${typeOf(items)}[]` : String(type)
}
