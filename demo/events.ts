import type {
  AuthFailed,
  CircuitChanged,
  EventData,
  EventType,
  GatewayEvent,
  RequestCompleted,
} from '../src/core/events.ts'
import { expectValidEvent } from '../test/support/event-schema.ts'
import type { RunningProcess } from '../test/support/process.ts'

const LIMIT_MS = 5_000

/** What Gatepost must tell of a request: one request.completed, and what led to it. */
export interface ExpectedEvents {
  decision: RequestCompleted['decision']
  /** Default: `unmatched`. */
  route?: string
  /** The user, or else the client. Default: nobody. */
  caller?: string
  /** The reason in auth.failed. Default: there is no such event. */
  authFailed?: string
  /** The limit in rate_limit.exceeded. Default: there is no such event. */
  exceeded?: string
}

/** Gatepost's events as they come, for somebody who sends one request after the other. */
export interface EventStream extends Disposable {
  /**
   * Waits for request.completed and gives it with whatever came before it; after five seconds without one, gives what
   * there is.
   * @throws Error where one is not as its schema in `docs/events` says.
   */
  untilCompleted(): Promise<readonly GatewayEvent[]>
}

/** Collects the events that Gatepost writes to stdout from now on. */
export function collectEvents(gatepost: RunningProcess): EventStream {
  let events: GatewayEvent[] = []
  let completed = Promise.withResolvers<void>()
  const stopListening = gatepost.onLine((line) => {
    const event = parseEvent(line)
    if (event) events.push(event)
    if (event?.event_type === 'request.completed') completed.resolve()
  })
  return {
    async untilCompleted() {
      const timer = setTimeout(completed.resolve, LIMIT_MS)
      await completed.promise
      clearTimeout(timer)
      const taken = events
      events = []
      completed = Promise.withResolvers()
      return taken.map(expectValidEvent)
    },
    [Symbol.dispose]: stopListening,
  }
}

/** Reads a line of Gatepost's output; undefined if it is no event. */
export function parseEvent(line: string): GatewayEvent | undefined {
  if (!line.startsWith('{"id":')) return undefined
  return JSON.parse(line) as GatewayEvent
}

/** An event in a few words. */
export function eventText(event: GatewayEvent): string {
  const [completed] = dataOf('request.completed', [event])
  if (completed) {
    const { status_code, decision, route, duration_ms, response_flags = [] } = completed
    const words = [status_code, decision, route, callerOf(completed), ...response_flags, `${duration_ms} ms`]
    return `${event.event_type} ${words.filter((word) => word !== undefined).join(' ')}`
  }
  const [exceeded] = dataOf('rate_limit.exceeded', [event])
  if (exceeded) return `${event.event_type} ${exceeded.name} ${exceeded.limit}/${exceeded.window}`
  if ('replica' in event.data) return circuitText(event.event_type, event.data)
  return `${event.event_type} ${(event.data as AuthFailed).reason}`
}

function circuitText(type: EventType, { service, cause, timeout_seconds }: CircuitChanged): string {
  return `${type} ${service} ${cause}${timeout_seconds > 0 ? ` for ${timeout_seconds} s` : ''}`
}

function callerOf({ user_id, client_id }: RequestCompleted): string | undefined {
  return user_id ?? client_id
}

/** What Gatepost told otherwise than it must have, a line for each; empty if all is right. */
export function eventMismatches(
  { decision, route = 'unmatched', caller = 'nobody', authFailed, exceeded }: ExpectedEvents,
  status: number,
  events: readonly GatewayEvent[],
): string[] {
  const completed = dataOf('request.completed', events).map(
    (data) => `${data.status_code} ${data.decision} ${data.route} ${callerOf(data) ?? 'nobody'}`,
  )
  const reasons = dataOf('auth.failed', events).map(({ reason }) => reason)
  const limits = dataOf('rate_limit.exceeded', events).map(({ name }) => name)
  return [
    ...difference('request.completed', [`${status} ${decision} ${route} ${caller}`], completed),
    ...difference('auth.failed', authFailed === undefined ? [] : [authFailed], reasons),
    ...difference('rate_limit.exceeded', exceeded === undefined ? [] : [exceeded], limits),
  ]
}

function dataOf<T extends EventType>(type: T, events: readonly GatewayEvent[]): EventData[T][] {
  return events.filter(({ event_type }) => event_type === type).map(({ data }) => data as EventData[T])
}

function difference(type: EventType, expected: readonly string[], seen: readonly string[]): string[] {
  const [wanted, got] = [expected, seen].map((texts) => texts.join(', ') || 'none')
  return wanted === got ? [] : [`${type}: expected ${wanted}, seen ${got}`]
}
