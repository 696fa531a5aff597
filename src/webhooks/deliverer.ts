import { randomUUID } from 'node:crypto'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/log.ts'
import type { AttemptResult, Send } from './attempt.ts'
import { advanceCircuit, type Circuit, closedCircuit, learn } from './circuit.ts'
import type { Disabling } from './endpoint-store.ts'
import { goodHealth, type Health, judge } from './health.ts'
import { bodyOf, headersOf } from './message.ts'
import { Pace } from './pace.ts'
import { redact } from './redact.ts'
import type { Target } from './registry.ts'
import { nextAttempt } from './retry.ts'
import type { DeliveryTables, Settlement, Waiting } from './tables.ts'

/** Works with the tables in a transaction; `ok` is false where the disk does not allow it at the moment. */
export type Transact = <T>(work: (tables: DeliveryTables) => T) => { ok: true; value: T } | { ok: false }

/** What delivering is made of. */
export interface DelivererParts {
  transact: Transact
  send: Send
  clock: Clock
  /** From 0 to below 1. */
  random: () => number
  /** A unique id. */
  newId: () => string
  /** Runs a task soon, after what is being done now. */
  defer: (task: () => void) => void
  logger: Logger
  /** Ends deliveries to an endpoint; told once for each end. */
  disable: (endpointId: string, why: Omit<Disabling, 'urlHash'>) => void
  /** Told how an attempt ended. */
  onAttempt: (endpointId: string, result: AttemptResult['kind']) => void
  /** Told that deliveries were given up. */
  onDropped: (endpointId: string, count: number) => void
  /** Told that an endpoint's queue, circuit or health has changed. */
  onChange: () => void
}

/** Attempts under way at the same time, over all endpoints. */
const maxUnderWay = 256

/** A receiver that asks for patience gets it for all that is queued for it, but, unless it is ordered, no longer than this. */
const longestHoldMs = 5 * 60_000

/** Between attempts to write where the disk does not take it, in milliseconds. */
const diskPauseMs = 500

/** What is under way at the end may take so long, in milliseconds. */
const lastAttemptsMs = 10_000

/** How an endpoint is doing. */
export interface LaneState {
  circuit: Circuit
  health: Health
}

/** Everything about deliveries to one endpoint that is not on disk. */
interface Lane {
  id: string
  target: Target
  circuit: Circuit
  health: Health
  pace: Pace
  /** Nothing is attempted before. */
  holdUntilMs: number
  underWay: Set<number>
  cancelWake: (() => void) | undefined
}

/** An attempt that has ended and is to be written down. */
interface Settled {
  lane: Lane
  /** The lane's own, of the file that its delivery is in. */
  underWay: Set<number>
  settlement: Settlement
  /** Told whether it is on disk. */
  tell: (isWritten: boolean) => void
}

interface Batch {
  settlements: Settled[]
  /** Endpoints whose queue is to be given up. */
  ended: Set<Lane>
}

/**
 * Attempts what is queued: for each endpoint in its own lane, with its own concurrency, order, rate and circuit. What is
 * under way stays queued on disk until its end is written there: after a crash it is attempted once more.
 */
export class Deliverer {
  readonly #parts: DelivererParts
  readonly #lanes = new Map<string, Lane>()
  /** Lanes that wait for others to leave room. */
  readonly #crowded = new Set<Lane>()
  readonly #attempts = new Set<Promise<void>>()
  readonly #abort = new AbortController()
  #batch = newBatch()
  #isFlushDue = false
  #isStopping = false

  constructor(parts: DelivererParts) {
    this.#parts = parts
  }

  /** Deliveries that are being attempted, or whose end is not yet on disk. */
  get underWay(): number[] {
    return [...this.#lanes.values()].flatMap(({ underWay }) => [...underWay])
  }

  /** How an endpoint is doing; undefined where there is none. */
  state(id: string): LaneState | undefined {
    const lane = this.#lanes.get(id)
    return lane && { circuit: advanceCircuit(lane.circuit, this.#parts.clock.now()), health: lane.health }
  }

  /** Takes the endpoints as they are from now on. */
  adopt(targets: ReadonlyMap<string, Target>): void {
    for (const [id, lane] of this.#lanes) {
      if (targets.has(id)) continue
      lane.cancelWake?.()
      this.#crowded.delete(lane)
      this.#lanes.delete(id)
    }
    for (const [id, target] of targets) this.#adoptOne(id, target)
  }

  /** Looks at an endpoint's queue: something has come into it. */
  wake(id: string): void {
    const lane = this.#lanes.get(id)
    if (lane) this.#pump(lane)
  }

  /** Forgets what is held against an endpoint, so that it is tried at once. */
  absolve(id: string): void {
    const lane = this.#lanes.get(id)
    if (!lane) return
    Object.assign(lane, { circuit: closedCircuit, health: goodHealth, holdUntilMs: 0 })
    this.#parts.transact((tables) => tables.saveHealth(id, healthRow(lane.health)))
    this.#pump(lane)
  }

  /**
   * Sends an event `webhook.test`, whatever else holds the endpoint back, and waits until its end is on disk.
   * @returns its delivery's id; undefined where it could not be written, or Gatepost ends.
   */
  async test(id: string): Promise<string | undefined> {
    const lane = this.#lanes.get(id)
    if (!lane || this.#isStopping) return undefined
    const { transact, newId, clock } = this.#parts
    const atMs = clock.now()
    const timestamp = new Date(atMs).toISOString()
    const body = bodyOf({ event_type: testType, timestamp, data: { webhook_id: id } })
    const added = transact((tables) => {
      const event = tables.addEvent(randomUUID(), body)
      const delivery = { id: newId(), endpointId: id, event, type: testType, atMs, test: true }
      return tables.waiting(tables.add(delivery))
    })
    if (!added.ok || !added.value) return undefined
    const written = await this.#attempt(lane, added.value, true)
    return written ? added.value.id : undefined
  }

  /** The tables are new and empty: what is under way was of others, and is not written down. */
  reset(): void {
    for (const { tell } of this.#batch.settlements.splice(0)) tell(false)
    for (const lane of this.#lanes.values()) lane.underWay = new Set()
  }

  /** Begins no attempt any more, lets those under way end within the limit, and writes down what came of them. */
  async stop(withinMs: number): Promise<void> {
    this.#isStopping = true
    for (const lane of this.#lanes.values()) lane.cancelWake?.()
    const cancel = this.#parts.clock.after(Math.min(withinMs, lastAttemptsMs), () => this.#abort.abort())
    await Promise.all(this.#attempts)
    cancel()
    this.#flush()
  }

  #adoptOne(id: string, target: Target): void {
    const lane = this.#lanes.get(id)
    if (!lane) {
      this.#open(id, target)
      return
    }
    const { endpoint, condition } = lane.target
    lane.target = target
    if (!isSameRate(endpoint.rateLimit, target.endpoint.rateLimit))
      lane.pace = new Pace(target.endpoint.rateLimit)
    // What was held against another address is no reason not to try this one.
    if (
      endpoint.url !== target.endpoint.url ||
      (condition === 'disabled' && target.condition !== 'disabled')
    ) {
      Object.assign(lane, { circuit: closedCircuit, health: goodHealth, holdUntilMs: 0 })
    }
    this.#pump(lane)
  }

  #open(id: string, target: Target): void {
    const known = this.#parts.transact((tables) => tables.health(id))
    const lane: Lane = {
      id,
      target,
      circuit: closedCircuit,
      health: healthOf(known.ok ? known.value : undefined),
      pace: new Pace(target.endpoint.rateLimit),
      holdUntilMs: 0,
      underWay: new Set(),
      cancelWake: undefined,
    }
    this.#lanes.set(id, lane)
    // It may have been disabled in the last moment of the process before.
    if (target.condition === 'disabled') this.#endQueue(lane)
    else this.#pump(lane)
  }

  /** Begins what can be begun, and sees to it that the lane is looked at again when more can be. */
  #pump(lane: Lane): void {
    lane.cancelWake?.()
    lane.cancelWake = undefined
    if (this.#isStopping || lane.target.condition !== 'delivering') return
    const nowMs = this.#parts.clock.now()
    lane.circuit = advanceCircuit(lane.circuit, nowMs)
    const freeAtMs = Math.max(lane.holdUntilMs, circuitFreeAtMs(lane.circuit), lane.pace.freeAtMs())
    if (freeAtMs > nowMs) {
      this.#wakeAt(lane, freeAtMs)
      return
    }
    const room = widthOf(lane) - lane.underWay.size
    if (room <= 0) return
    if (this.#attempts.size >= maxUnderWay) {
      this.#crowded.add(lane)
      return
    }
    this.#beginDue(lane, room, nowMs)
  }

  #beginDue(lane: Lane, room: number, nowMs: number): void {
    const looked = this.#parts.transact((tables) => lookFor(lane, tables, nowMs, room))
    if (!looked.ok) {
      this.#wakeAt(lane, nowMs + diskPauseMs)
      return
    }
    const { rows, nextMs } = looked.value
    for (const row of rows) {
      if (this.#attempts.size >= maxUnderWay) {
        this.#crowded.add(lane)
        return
      }
      if (lane.pace.freeAtMs() > nowMs) {
        this.#wakeAt(lane, lane.pace.freeAtMs())
        return
      }
      lane.pace.take(nowMs)
      lane.underWay.add(row.number)
      void this.#attempt(lane, row, false)
    }
    if (nextMs !== undefined) this.#wakeAt(lane, nextMs)
  }

  #wakeAt(lane: Lane, atMs: number): void {
    const waitMs = Math.max(1, atMs - this.#parts.clock.now())
    lane.cancelWake = this.#parts.clock.after(Math.min(waitMs, longestTimerMs), () => this.#pump(lane))
  }

  /** @returns whether its end is on disk. It never rejects. */
  async #attempt(lane: Lane, row: Waiting, isTest: boolean): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const { underWay, target } = lane
    const attempt = this.#exchange(lane, row).then(
      (result) => {
        if (lane.underWay !== underWay) {
          resolve(false)
          this.#parts.defer(() => this.#pumpCrowded())
          return
        }
        // What an address that was in force says is nothing against the one that is, nor against one that is gone.
        const isCurrent = this.#isCurrent(lane) && lane.target.endpoint.url === target.endpoint.url
        if (!isTest && isCurrent) this.#learn(lane, result, this.#parts.clock.now())
        const settlement = this.#settle(lane, row, isTest, result, target)
        this.#batch.settlements.push({ lane, underWay, settlement, tell: resolve })
        this.#flushSoon()
      },
      () => {
        // Called off: it is attempted again after the next start.
        underWay.delete(row.number)
        resolve(false)
      },
    )
    this.#attempts.add(attempt)
    void attempt.then(() => this.#attempts.delete(attempt))
    return promise
  }

  async #exchange({ id, target: { endpoint } }: Lane, { eventId, body }: Waiting): Promise<AttemptResult> {
    const { url, timeoutMs } = endpoint
    try {
      const headers = headersOf(endpoint, eventId, body, this.#parts.clock.now())
      return await this.#parts.send({ url, headers, body, timeoutMs }, this.#abort.signal)
    } catch (error) {
      this.#abort.signal.throwIfAborted()
      this.#parts.logger.error({ webhook_id: id, exception: error }, 'webhook cannot be sent')
      return { kind: 'retry', reason: 'connection', durationMs: 0, answer: '', error: 'it cannot be sent' }
    }
  }

  /** Decides what becomes of a delivery. @param sentTo its endpoint as it was when the attempt was made. */
  #settle(lane: Lane, row: Waiting, isTest: boolean, result: AttemptResult, sentTo: Target): Settlement {
    const nowMs = this.#parts.clock.now()
    this.#parts.onAttempt(lane.id, result.kind)
    const fate = isTest ? fateOfTest(result) : this.#fateOf(lane, row, result, nowMs)
    return { ...fate, delivery: row.number, atMs: nowMs, attempt: attemptRow(result, nowMs, sentTo) }
  }

  /** Learns for the endpoint what an attempt says of it. */
  #learn(lane: Lane, result: AttemptResult, nowMs: number): void {
    lane.circuit = learn(lane.circuit, result.kind !== 'retry', nowMs)
    if (result.kind === 'retry' && result.retryAfterMs !== undefined) {
      const holdMs = Math.min(result.retryAfterMs, longestHoldMs)
      lane.holdUntilMs = Math.max(lane.holdUntilMs, nowMs + holdMs)
    }
    const { health, verdict } = judge(lane.health, result.kind === 'delivered', nowMs)
    lane.health = health
    if (result.kind === 'gone') this.#disable(lane, 'gone', nowMs)
    else if (verdict === 'disable') this.#disable(lane, 'failing', nowMs)
    else if (verdict === 'warn') this.#warn(lane, nowMs)
  }

  #warn({ id, health: { failures, failingSinceMs = 0 } }: Lane, nowMs: number): void {
    this.#parts.logger.warn(
      { webhook_id: id, failures, for_seconds: Math.round((nowMs - failingSinceMs) / 1_000) },
      'webhook fails for long; after five days it is disabled',
    )
  }

  #disable(lane: Lane, reason: Disabling['reason'], atMs: number): void {
    if (lane.target.condition === 'disabled') return
    const { failures } = lane.health
    this.#parts.disable(lane.id, { reason, failures, atMs })
    this.#endQueue(lane)
  }

  #endQueue(lane: Lane): void {
    this.#batch.ended.add(lane)
    this.#flushSoon()
  }

  #fateOf(lane: Lane, { failures }: Waiting, result: AttemptResult, nowMs: number): Fate {
    const { condition, endpoint } = lane.target
    switch (result.kind) {
      case 'delivered':
        return ended('delivered', null)
      case 'failed':
        return ended('failed', result.reason)
      case 'gone':
        return ended('failed', 'gone')
      case 'retry': {
        if (condition === 'disabled') return ended('dropped', 'disabled')
        const { retryPolicy } = endpoint
        const next = nextAttempt(failures + 1, retryPolicy, this.#parts.random, result.retryAfterMs)
        if (next === 'dead') return ended('failed', result.reason)
        return { status: 'pending', reason: null, dueMs: nowMs + next }
      }
    }
  }

  #flushSoon(): void {
    if (this.#isFlushDue) return
    this.#isFlushDue = true
    this.#parts.defer(() => this.#flush())
  }

  /** Writes what has come about in one transaction, and goes on from there. */
  #flush(): void {
    this.#isFlushDue = false
    const { settlements, ended: endedLanes } = this.#batch
    if (settlements.length + endedLanes.size === 0) return
    const written = this.#parts.transact((tables) => this.#write(tables, settlements, endedLanes))
    if (!written.ok) {
      this.#isFlushDue = true
      this.#parts.clock.after(diskPauseMs, () => this.#flush())
      return
    }
    this.#batch = newBatch()
    for (const [id, count] of written.value) if (count > 0) this.#parts.onDropped(id, count)
    const lanes = new Set(settlements.map(({ lane }) => lane))
    for (const { underWay, settlement, tell } of settlements) {
      underWay.delete(settlement.delivery)
      tell(true)
    }
    this.#parts.onChange()
    // Those that have waited for room come before those that have just had it.
    this.#pumpCrowded()
    for (const lane of lanes) if (this.#isCurrent(lane)) this.#pump(lane)
  }

  #write(
    tables: DeliveryTables,
    settlements: Batch['settlements'],
    endedLanes: ReadonlySet<Lane>,
  ): [id: string, dropped: number][] {
    for (const { settlement } of settlements) tables.settle(settlement)
    for (const lane of new Set(settlements.map((settled) => settled.lane)))
      if (this.#isCurrent(lane)) tables.saveHealth(lane.id, healthRow(lane.health))
    const atMs = this.#parts.clock.now()
    return [...endedLanes]
      .filter(({ target }) => target.condition === 'disabled')
      .map(({ id, underWay }) => [id, tables.drop(id, { underWay: [...underWay], reason: 'disabled', atMs })])
  }

  /** Gives what room there is to those that wait for it, each in its turn: whoever wants more queues up again. */
  #pumpCrowded(): void {
    for (const lane of this.#crowded) {
      if (this.#attempts.size >= maxUnderWay) return
      this.#crowded.delete(lane)
      this.#pump(lane)
    }
  }

  /** Whether an endpoint is still there: its lane outlives it while attempts are under way. */
  #isCurrent(lane: Lane): boolean {
    return this.#lanes.get(lane.id) === lane
  }
}

/** The type of the event that tries an endpoint out; no part of the catalogue. */
const testType = 'webhook.test'

/** Timers of Node.js take no more. */
const longestTimerMs = 2 ** 31 - 1

type Fate = Pick<Settlement, 'status' | 'reason' | 'dueMs'>

function ended(status: 'delivered' | 'failed' | 'dropped', reason: string | null): Fate {
  return { status, reason, dueMs: 0 }
}

function fateOfTest(result: AttemptResult): Fate {
  switch (result.kind) {
    case 'delivered':
      return ended('delivered', null)
    case 'gone':
      return ended('failed', 'gone')
    case 'failed':
    case 'retry':
      return ended('failed', result.reason)
  }
}

function attemptRow(result: AttemptResult, endMs: number, { endpoint }: Target): Settlement['attempt'] {
  const durationMs = Math.round(result.durationMs)
  return {
    at_ms: endMs - durationMs,
    duration_ms: durationMs,
    result: result.kind,
    status: result.status ?? null,
    reason: result.kind === 'retry' || result.kind === 'failed' ? result.reason : null,
    error: result.error ?? null,
    answer: redact(result.answer, endpoint),
  }
}

interface Found {
  rows: Waiting[]
  /** When there is more to do, as far as that is known. */
  nextMs?: number | undefined
}

function lookFor({ id, target, underWay }: Lane, tables: DeliveryTables, nowMs: number, room: number): Found {
  if (!target.endpoint.ordered) {
    const rows = tables.due(id, nowMs, room + underWay.size).filter(({ number }) => !underWay.has(number))
    return { rows: rows.slice(0, room), nextMs: tables.nextDueMs(id, nowMs) }
  }
  // The oldest holds back all others, whether or not it is due.
  const head = tables.head(id)
  if (!head) return { rows: [] }
  return head.dueMs > nowMs ? { rows: [], nextMs: head.dueMs } : { rows: [head] }
}

function widthOf({ circuit, target: { endpoint } }: Lane): number {
  return circuit.kind === 'half_open' || endpoint.ordered ? 1 : endpoint.concurrency
}

function circuitFreeAtMs(circuit: Circuit): number {
  return circuit.kind === 'open' ? circuit.untilMs : 0
}

function isSameRate(a: Target['endpoint']['rateLimit'], b: Target['endpoint']['rateLimit']): boolean {
  return a?.limit === b?.limit && a?.windowMs === b?.windowMs
}

function healthOf(row: ReturnType<DeliveryTables['health']>): Health {
  if (!row) return goodHealth
  const { failing_since_ms: failingSinceMs, in_row: failures, warnings } = row
  return { failures, warnings, ...(failingSinceMs !== null && { failingSinceMs }) }
}

function healthRow({ failingSinceMs, failures, warnings }: Health) {
  return { failing_since_ms: failingSinceMs ?? null, in_row: failures, warnings }
}

function newBatch(): Batch {
  return { settlements: [], ended: new Set() }
}
