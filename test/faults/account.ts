import type { EventType, GatewayEvent } from '../../src/core/events.ts'
import type { SentRequest } from './load.ts'

/** A stretch of time in which no Gatepost ran, and what ended the one before. Milliseconds since the epoch. */
export interface Outage {
  by: 'SIGKILL' | 'SIGTERM'
  /** When the signal was sent. */
  fromMs: number
  /** When the next one was ready. */
  untilMs: number
}

/** Why an event that is due was not delivered, as far as the documentation foresees it. */
export type Excuse =
  /** `auth.failed` of the last batch before a kill. */
  | 'uncommitted'
  /** `request.completed` of what Envoy had not yet sent, or Gatepost not yet committed, at a kill. */
  | 'in flight'
  /** Answered by Envoy alone, with 503, while no Gatepost took anything: nobody was there to be told. */
  | 'nobody there'

/** What became of the events of a load at one broker. */
export interface Account {
  /** Events that the answers of the load say there must be. */
  due: number
  /** Of these, those that were delivered. */
  delivered: number
  /** Deliveries beyond the first of the same id. */
  copies: number
  /** Missing ones that a stated window covers. */
  excused: Readonly<Record<Excuse, number>>
  /** The oldest of the excused ones that were answered before the kill: how long before, in milliseconds. */
  oldestExcusedMs: number
  /** Missing ones that nothing covers, by type. */
  lost: Readonly<Partial<Record<EventType, number>>>
  /** What may never be: one request told under two ids, events of no request, fields that are not as they were. */
  problems: readonly string[]
}

/** Envoy's flush interval in the bundled configurations. */
const flushMs = 100

/** The time of a batch, by which events are committed together. */
const batchMs = 20

/**
 * On top of both windows: how late timers, threads and this process itself may be on a machine that other work shares.
 */
const latenessMs = 400

interface Due {
  type: EventType
  request: SentRequest
  ids: Set<string>
}

/** Holds what a broker got against what a load must have caused. */
export function accountOf(
  requests: readonly SentRequest[],
  events: readonly GatewayEvent[],
  outage?: Outage,
): Account {
  const dues = new Map<string, Due>()
  for (const request of requests) {
    for (const type of typesOf(request))
      dues.set(`${type} ${request.path}`, { type, request, ids: new Set() })
  }
  const unanswered = new Set(requests.filter(({ status }) => status === 0).map(({ path }) => path))
  const problems: string[] = []
  const ids = new Set<string>()
  for (const event of events) {
    if (ids.has(event.id)) continue
    ids.add(event.id)
    const due = dues.get(`${event.event_type} ${pathOf(event)}`)
    due?.ids.add(event.id)
    const problem = due ? problemOf(event, due) : strayness(event, unanswered)
    if (problem !== undefined) problems.push(problem)
  }
  const missing = [...dues.values()].filter((due) => due.ids.size === 0)
  return {
    due: dues.size,
    delivered: dues.size - missing.length,
    copies: events.length - ids.size,
    problems,
    ...judge(missing, outage),
  }
}

/** The most words that are made of problems. */
export function inShort(problems: readonly string[]): string[] {
  const shown = problems.slice(0, 5)
  return problems.length > shown.length ? [...shown, `… and ${problems.length - shown.length} more`] : shown
}

function typesOf({ status }: SentRequest): EventType[] {
  if (status === 0) return []
  return status === 401 ? ['request.completed', 'auth.failed'] : ['request.completed']
}

function pathOf({ data }: GatewayEvent): string {
  return 'path' in data ? data.path : ''
}

function problemOf(event: GatewayEvent, { request, ids }: Due): string | undefined {
  const { path } = request
  if (ids.size > 1) return `${path} was told as ${event.event_type} under ${ids.size} ids`
  if (!isCompleted(event)) return undefined
  const { status_code, client_id, decision, method } = event.data
  const told = `${method} ${status_code} ${client_id} ${decision}`
  const expected = `GET ${request.status} ${expectedFields(request)}`
  return told === expected ? undefined : `${path} was told as "${told}", not "${expected}"`
}

/** Envoy answers 503 where Gatepost gives no verdict: then nobody knows whose request it was. */
function expectedFields({ status, client }: SentRequest): string {
  if (status === 503) return 'undefined fault'
  return client === undefined ? 'undefined deny' : `${client} allow`
}

function isCompleted(event: GatewayEvent): event is GatewayEvent<'request.completed'> {
  return event.event_type === 'request.completed'
}

function strayness(event: GatewayEvent, unanswered: ReadonlySet<string>): string | undefined {
  // A request whose answer was lost may have been told of.
  return unanswered.has(pathOf(event))
    ? undefined
    : `${event.event_type} tells of ${pathOf(event)}, which nobody sent so`
}

function judge(
  missing: readonly Due[],
  outage: Outage | undefined,
): Pick<Account, 'excused' | 'oldestExcusedMs' | 'lost'> {
  const excused = { uncommitted: 0, 'in flight': 0, 'nobody there': 0 }
  const lost: Partial<Record<EventType, number>> = {}
  let oldestExcusedMs = 0
  for (const due of missing) {
    const excuse = outage && excuseOf(due, outage)
    if (excuse) {
      excused[excuse] += 1
      oldestExcusedMs = Math.max(oldestExcusedMs, outage.fromMs - due.request.answeredAtMs)
    } else lost[due.type] = (lost[due.type] ?? 0) + 1
  }
  return { excused, oldestExcusedMs, lost }
}

function excuseOf({ type, request: { answeredAtMs, status } }: Due, outage: Outage): Excuse | undefined {
  const { by, fromMs, untilMs } = outage
  if (answeredAtMs > untilMs + flushMs + latenessMs) return undefined
  if (status === 503 && answeredAtMs >= fromMs) return 'nobody there'
  if (by === 'SIGTERM') return undefined
  const windowMs = type === 'request.completed' ? flushMs + batchMs : batchMs
  if (answeredAtMs < fromMs - windowMs - latenessMs) return undefined
  return type === 'request.completed' ? 'in flight' : 'uncommitted'
}
