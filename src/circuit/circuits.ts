import type { Change, CircuitView, Override, OverrideOrder, Trip } from '../core/circuit-view.ts'
import type { Admission, CircuitSpec, CircuitState, Circuits, Guarded } from '../core/circuits.ts'
import { unguarded } from '../core/circuits.ts'
import type { Clock } from '../core/clock.ts'
import { type Denial, deny } from '../core/denials.ts'
import type { CircuitCause, Publish } from '../core/events.ts'
import type { Logger } from '../core/log.ts'
import type { Outcome } from '../core/outcome.ts'
import { evidenceOf } from '../core/upstream-fitness.ts'
import {
  advance,
  counted,
  halfOpen,
  learn,
  type Machine,
  newMachine,
  passesAtMs,
  sendProbe,
} from './machine.ts'

/** What the circuits are made of. */
export interface CircuitsParts {
  clock: Clock
  publish: Publish
  logger: Logger
  /** From 0 up to 1. */
  random: () => number
  /** Names this process in events. */
  replica: string
}

/** All circuits of this process. */
export interface CircuitSet extends Circuits {
  /** Takes the services that the policy names, so that they are there before their first request. */
  declare(services: ReadonlyMap<string, CircuitSpec>): void
  /** How each circuit stands, by name. */
  list(): CircuitView[]
  /** @returns undefined where there is no such circuit. */
  view(service: string): CircuitView | undefined
  /** Overrides a circuit, or with `none` ends that. @returns undefined where there is no such circuit. */
  override(service: string, order: OverrideOrder): CircuitView | undefined
  /** Calls off every timer. */
  close(): void
}

/** The most circuits; services beyond it have none. Envoy's routes and the policy name services, clients cannot. */
const maxCircuits = 10_000

/** The most changes that a circuit remembers. */
const maxHistory = 50

/** For how long requests may pass unobserved before it is told. */
const unobservedMs = 60_000

/** One service. */
interface Entry {
  service: string
  spec: CircuitSpec
  machine: Machine
  trip?: Trip
  override?: Override
  /** What was last told to the world. */
  told: { state: CircuitState; sinceMs: number }
  history: Change[]
  /** The first request admitted since the last outcome; milliseconds since the epoch. */
  unansweredSinceMs: number | undefined
  warned: boolean
  cancelTimer: () => void
}

/** Makes the circuits: one for each service, from its first request or its declaration on. */
export function createCircuits(parts: CircuitsParts): CircuitSet {
  const { clock, logger, random } = parts
  const entries = new Map<string, Entry>()
  let declared: ReadonlyMap<string, CircuitSpec> = new Map()
  /** Above every one of a circuit that is gone: what it let pass must not count for another of its name. */
  let firstGeneration = 1
  let warnedOfCrowd = false
  const tell = createTeller(parts)

  function find({ service, circuit }: Guarded): Entry | undefined {
    if (service === undefined || circuit === undefined) return undefined
    // What the policy says of a service holds, whatever the route says that Envoy's leads there: else two would undo
    // each other's settings with each request.
    const spec = declared.get(service) ?? circuit
    const entry = entries.get(service) ?? add(service, spec)
    if (entry && entry.spec !== spec) respec(entry, spec)
    return entry
  }

  function add(service: string, spec: CircuitSpec): Entry | undefined {
    if (entries.size >= maxCircuits) {
      if (!warnedOfCrowd)
        logger.warn({ service, most: maxCircuits }, 'too many services: no circuit for more')
      warnedOfCrowd = true
      return undefined
    }
    const nowMs = clock.now()
    const entry: Entry = {
      service,
      spec,
      machine: newMachine(nowMs, firstGeneration),
      told: { state: 'closed', sinceMs: nowMs },
      history: [],
      unansweredSinceMs: undefined,
      warned: false,
      cancelTimer: () => undefined,
    }
    entries.set(service, entry)
    return entry
  }

  /** Takes a new state, tells of it, and sees to it that the moment is not missed at which it moves on by itself. */
  function settle(entry: Entry, nowMs: number, cause: CircuitCause): void {
    tell(entry, nowMs, cause)
    entry.cancelTimer()
    const dueMs = dueAtMs(entry)
    if (dueMs !== undefined) arm(entry, Math.max(0, dueMs - nowMs))
  }

  /** A timer runs its time although the clock is set back meanwhile, or stands a millisecond short when it fires. */
  function arm(entry: Entry, waitMs: number): void {
    const restMs = Math.max(0, waitMs - longestTimerMs)
    entry.cancelTimer = clock.after(waitMs - restMs, () =>
      restMs > 0 ? arm(entry, restMs) : moveOn(entry, clock.now()),
    )
  }

  /** Moves on what time has moved on. */
  function refresh(entry: Entry, nowMs: number): void {
    if (nowMs >= (dueAtMs(entry) ?? Number.POSITIVE_INFINITY)) moveOn(entry, nowMs)
  }

  /** Ends an override whose time is up; without one, it is the circuit's own time that is. */
  function moveOn(entry: Entry, nowMs: number): void {
    const { override, machine } = entry
    delete entry.override
    entry.machine = !override && machine.kind === 'open' ? halfOpen(machine, nowMs) : advance(machine, nowMs)
    settle(entry, nowMs, override ? 'override_ended' : 'timeout')
  }

  /** Notes that a request passes: somebody should tell how it ends. */
  function expectOutcome(entry: Entry, nowMs: number): void {
    entry.unansweredSinceMs ??= nowMs
    isUnobserved(entry, nowMs)
  }

  /** Says whether nobody tells of outcomes; the first time, in the log too. */
  function isUnobserved(entry: Entry, nowMs: number): boolean {
    const { service, unansweredSinceMs, warned } = entry
    if (unansweredSinceMs === undefined || nowMs - unansweredSinceMs < unobservedMs) return false
    if (!warned)
      logger.warn({ service }, 'requests pass, and nobody tells how they end: this circuit cannot trip')
    entry.warned = true
    return true
  }

  function peek(entry: Entry, nowMs: number): Admission {
    refresh(entry, nowMs)
    const { machine, override } = entry
    const { generation } = machine
    if (override?.state === 'closed') return { generation, probe: false }
    const atMs = override?.untilMs ?? passesAtMs(machine, nowMs)
    if (atMs > nowMs) return { generation, probe: false, denial: unfit(atMs - nowMs) }
    return { generation, probe: machine.kind === 'half_open' }
  }

  function learnFrom(entry: Entry, outcome: Outcome, generation: number, nowMs: number): void {
    entry.unansweredSinceMs = undefined
    entry.warned = false
    const { spec, machine: before } = entry
    const evidence = evidenceOf(outcome, spec)
    if (!evidence) return
    const after = learn(before, { spec, generation, evidence, nowMs, random })
    entry.machine = after
    if (after.kind === before.kind) return
    if (after.kind === 'open') entry.trip = after.trip
    settle(entry, nowMs, after.kind === 'open' ? after.trip.cause : 'probes_passed')
  }

  return {
    peek(route, nowMs) {
      // A look makes no circuit: somebody may be asking for an explanation, of a service that is none.
      const entry = route.circuit && entries.get(route.service ?? '')
      return entry ? peek(entry, nowMs) : unguarded
    },

    admit(route, nowMs) {
      const entry = find(route)
      if (!entry) return unguarded
      const admission = peek(entry, nowMs)
      if (admission.denial) return admission
      if (admission.probe && entry.machine.kind === 'half_open')
        entry.machine = sendProbe(entry.machine, entry.spec, nowMs)
      expectOutcome(entry, nowMs)
      return admission
    },

    pass(route, nowMs) {
      const entry = find(route)
      if (!entry) return unguarded
      expectOutcome(entry, nowMs)
      return { generation: entry.machine.generation, probe: false }
    },

    record(outcome, nowMs) {
      const { service = '', circuitGeneration } = outcome.decision
      const entry = entries.get(service)
      if (entry && circuitGeneration !== undefined) learnFrom(entry, outcome, circuitGeneration, nowMs)
    },

    declare(services) {
      for (const [service, entry] of entries) {
        if (!declared.has(service) || services.has(service)) continue
        entry.cancelTimer()
        entries.delete(service)
        firstGeneration = Math.max(firstGeneration, entry.machine.generation + 1)
      }
      declared = services
      for (const [service, circuit] of services) find({ service, circuit })
    },

    list() {
      const nowMs = clock.now()
      return [...entries.values()]
        .map((entry) => viewOf(entry, nowMs))
        .sort((a, b) => (a.service < b.service ? -1 : 1))
    },

    view(service) {
      const entry = entries.get(service)
      return entry && viewOf(entry, clock.now())
    },

    override(service, order) {
      const entry = entries.get(service)
      if (!entry) return undefined
      const nowMs = clock.now()
      // Whether or not it changes what requests meet: somebody will ask who it was.
      logger.info({ service, ...fieldsOf(order) }, 'circuit override ordered')
      if (order.override === 'none') {
        if (entry.override) moveOn(entry, nowMs)
        return viewOf(entry, nowMs)
      }
      const { override: state, reason, forMs } = order
      entry.override = { state, reason, sinceMs: nowMs, untilMs: nowMs + forMs }
      settle(entry, nowMs, 'override')
      return viewOf(entry, nowMs)
    },

    close() {
      for (const { cancelTimer } of entries.values()) cancelTimer()
    },
  }

  function viewOf(entry: Entry, nowMs: number): CircuitView {
    refresh(entry, nowMs)
    const { service, spec, machine, trip, override, told, history } = entry
    const { denial, generation } = peek(entry, nowMs)
    return {
      service,
      state: told.state,
      sinceMs: told.sinceMs,
      own: machine.kind,
      generation,
      ...(denial && { retryAtMs: override?.untilMs ?? passesAtMs(machine, nowMs) }),
      counted: counted(machine, spec, nowMs),
      ...(trip && { trip }),
      ...(override && { override }),
      unobserved: isUnobserved(entry, nowMs),
      history: history.toReversed(),
      spec,
    }
  }
}

/** The longest that a timer of Node's can wait. */
const longestTimerMs = 2 ** 31 - 1

/** When time will move a circuit on; undefined where only an outcome does. */
function dueAtMs({ override, machine }: Entry): number | undefined {
  return override?.untilMs ?? (machine.kind === 'open' ? machine.untilMs : undefined)
}

/** Takes other settings; what was counted stays unless the window's length says that it counted something else. */
function respec(entry: Entry, spec: CircuitSpec): void {
  if (entry.machine.kind === 'closed' && entry.spec.windowMs !== spec.windowMs)
    entry.machine = { ...entry.machine, window: [] }
  entry.spec = spec
}

function stateOf({ override, machine }: Entry): CircuitState {
  return override?.state ?? machine.kind
}

/** Makes what tells of changes: to the history, the log, and as events. */
function fieldsOf(order: OverrideOrder) {
  if (order.override === 'none') return order
  const { forMs, ...said } = order
  return { ...said, for_ms: forMs }
}

function createTeller({ publish, logger, replica }: CircuitsParts) {
  return (entry: Entry, nowMs: number, cause: CircuitCause): void => {
    const state = stateOf(entry)
    if (state === entry.told.state) return
    const reason = cause === 'override' ? entry.override?.reason : undefined
    entry.told = { state, sinceMs: nowMs }
    entry.history.push({ atMs: nowMs, to: state, cause, ...(reason !== undefined && { reason }) })
    if (entry.history.length > maxHistory) entry.history.shift()
    const { count, threshold } = countedFor(entry, cause)
    const data = {
      service: entry.service,
      failure_count: count,
      failure_threshold: threshold,
      timeout_seconds: openSeconds(entry, state, nowMs),
      cause,
      replica,
    }
    logger[state === 'open' ? 'warn' : 'info']({ ...data, state }, 'circuit changed')
    publish({ type: eventTypes[state], atMs: nowMs, requestId: '', data })
  }
}

const eventTypes = {
  closed: 'circuit_breaker.closed',
  open: 'circuit_breaker.opened',
  half_open: 'circuit_breaker.half_opened',
} as const

/** What was counted of a change. Where an override alone is at work it is nothing: an earlier trip has no part in it. */
function countedFor({ machine, trip }: Entry, cause: CircuitCause): Pick<Trip, 'count' | 'threshold'> {
  const isOwn = machine.kind !== 'closed' || cause === 'probes_passed'
  return isOwn && trip ? trip : { count: 0, threshold: 0 }
}

function openSeconds({ override, machine }: Entry, state: CircuitState, nowMs: number): number {
  if (state !== 'open') return 0
  const untilMs = override?.untilMs ?? passesAtMs(machine, nowMs)
  return Math.max(0, untilMs - nowMs) / 1_000
}

/** The client is not told which service it is, nor whether somebody has said so. */
function unfit(waitMs: number): Denial {
  const seconds = Math.max(1, Math.ceil(waitMs / 1_000))
  return deny('circuit_open', `The upstream is not available now: try again in ${seconds} s.`, {
    headers: [['retry-after', String(seconds)]],
  })
}
