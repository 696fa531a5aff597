import type { EventType } from '../../core/events.ts'
import type { LoggedEvent } from '../sinks/broker.ts'

/** How many events, by type. */
export type TypeCounts = Readonly<Partial<Record<EventType, number>>>

/** Events that are committed together, and later read together: one row of the log. */
export interface Batch {
  /** How many they are, by type. */
  types: TypeCounts
  /** Each as JSON, in order, a line for each. JSON has no line break of its own outside of strings, and none inside. */
  events: string
}

/** Adds counts to others in place. */
export function addCounts(sum: Partial<Record<EventType, number>>, more: TypeCounts): void {
  for (const [type, count] of Object.entries(more) as [EventType, number][]) {
    sum[type] = (sum[type] ?? 0) + count
  }
}

/** All of them together. */
export function totalOf(types: TypeCounts): number {
  return Object.values(types).reduce((sum, count) => sum + count, 0)
}

/** Counts events by their type. */
export function countTypes(events: readonly { type: EventType }[]): TypeCounts {
  const types: Partial<Record<EventType, number>> = {}
  for (const { type } of events) types[type] = (types[type] ?? 0) + 1
  return types
}

/** Reads a batch again. @returns undefined where the text is damaged: SQLite keeps no checksum of what it stores. */
export function readBatch({ types, events }: Batch): LoggedEvent[] | undefined {
  const read = events.split('\n').map(readEvent)
  if (read.length !== totalOf(types)) return undefined
  const whole = read.filter((event) => event !== undefined)
  return whole.length === read.length ? whole : undefined
}

interface Envelope {
  id: string
  event_type: EventType
  timestamp: string
  request_id?: string
  data?: { client_id?: string }
}

function readEvent(json: string): LoggedEvent | undefined {
  const envelope = parse(json)
  if (typeof envelope?.id !== 'string' || typeof envelope.event_type !== 'string') return undefined
  const { id, event_type: type, timestamp, request_id: requestId, data } = envelope
  return { id, type, timestamp, requestId, clientId: data?.client_id, json }
}

function parse(json: string): Envelope | undefined {
  try {
    return JSON.parse(json) as Envelope
  } catch {
    return undefined
  }
}

/** Reads counts that were stored as JSON; none where they are damaged. */
export function readTypes(json: string): TypeCounts {
  try {
    return JSON.parse(json) as TypeCounts
  } catch {
    return {}
  }
}
