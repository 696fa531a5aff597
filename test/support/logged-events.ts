import { randomBytes, randomUUID } from 'node:crypto'
import type { LoggedEvent } from '../../src/events/sinks/broker.ts'

/** Makes an event as the spool's log keeps it. @param padding characters of noise in its data, which no compression shrinks. */
export function loggedEvent(over: Partial<LoggedEvent> & { padding?: number } = {}): LoggedEvent {
  const { padding = 0, ...given } = over
  const event = {
    id: randomUUID(),
    type: 'request.completed',
    timestamp: '2026-03-01T12:00:00.000Z',
    requestId: 'request-1',
    clientId: 'client-1',
    ...given,
  } as const
  const data = { path: '/', noise: randomBytes(padding).toString('base64').slice(0, padding) }
  const { id, type: event_type, timestamp, requestId: request_id } = event
  return { ...event, json: given.json ?? JSON.stringify({ id, event_type, timestamp, request_id, data }) }
}

/** Makes so many events of one sort. */
export function loggedEvents(count: number, over: Parameters<typeof loggedEvent>[0] = {}): LoggedEvent[] {
  return Array.from({ length: count }, () => loggedEvent(over))
}
