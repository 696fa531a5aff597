import { randomUUID } from 'node:crypto'
import type { EventType, GatewayEvent } from '../../src/core/events.ts'
import type { Broker, LoggedEvent, Refusal } from '../../src/events/sinks/broker.ts'
import { type Batch, countTypes } from '../../src/events/spool/batch.ts'

/** An event of about so many characters. */
export function makeEvent(
  type: EventType = 'request.completed',
  id: string = randomUUID(),
  length = 0,
): GatewayEvent {
  const path = `/${'x'.repeat(length)}`
  const envelope = { id, timestamp: '2030-01-01T00:00:00.000Z' }
  if (type === 'auth.failed')
    return {
      ...envelope,
      event_type: type,
      data: { reason: 'missing_token', path, token_type: 'none', route: 'r' },
    }
  return {
    ...envelope,
    event_type: 'request.completed',
    request_id: `request-${id}`,
    data: {
      method: 'GET',
      path,
      status_code: 200,
      duration_ms: 1,
      route: 'r',
      decision: 'allow',
      client_id: 'c',
    },
  }
}

/** A batch as the request path hands it over. */
export function batchOf(...events: readonly GatewayEvent[]): Batch {
  return {
    types: countTypes(events.map(({ event_type }) => ({ type: event_type }))),
    events: events.map((event) => JSON.stringify(event)).join('\n'),
  }
}

/** A batch of one event for each id. */
export function batchOfIds(...ids: readonly string[]): Batch {
  return batchOf(...ids.map((id) => makeEvent('request.completed', id)))
}

/** The ids of events, in order. */
export function idsOf(events: readonly { id: string }[] | undefined): string[] {
  return (events ?? []).map(({ id }) => id)
}

/** What a fake broker does with a hand-over: takes all, refuses some, or throws. */
export type Answer = (events: readonly LoggedEvent[], signal: AbortSignal) => Promise<readonly Refusal[]>

/** A broker that does as it is told. */
export interface FakeBroker extends Broker {
  /** Each hand-over, by ids, whatever became of it. */
  handed: string[][]
  /** What was delivered, in order. */
  delivered: string[]
  answer: Answer
  closed: boolean
}

/** Makes a broker that takes everything until it is told otherwise. */
export function createFakeBroker(name = 'kafka'): FakeBroker {
  return {
    name,
    handed: [],
    delivered: [],
    answer: async () => [],
    closed: false,

    async deliver(events, signal) {
      this.handed.push(idsOf(events))
      const refusals = await this.answer(events, signal)
      const refused = new Set(refusals.map(({ index }) => index))
      this.delivered.push(...idsOf(events.filter((_event, index) => !refused.has(index))))
      return refusals
    },

    probe: async () => 'there',

    async close() {
      this.closed = true
    },
  }
}
