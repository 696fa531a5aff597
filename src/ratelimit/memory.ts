import type { Charge, Limiter, LimitSpec, LimitState, LimitVerdict, Rate } from '../core/limits.ts'
import { algorithms, type Demand, type Evaluation } from './algorithms.ts'
import { type Counter, Counters } from './counters.ts'

/** Bounds of the counters in memory. */
export interface MemoryLimiterOptions {
  /**
   * The most keys with a counter of their own; default 200,000. They take some 50 MB; of a sliding window up to 110 MB.
   * Further ones share the overflow counters.
   */
  maxKeys?: number
  /** Told of each charge that went to an overflow counter, refused ones too. */
  onOverflow?: (spec: LimitSpec) => void
}

/** A counter among the most used. */
export interface UsedCounter extends Omit<LimitState, 'retryAfterMs'> {
  owner: string
  /** The key, a hash; of an overflow counter its place. */
  key: string
  /** What is taken of what there can be at once, from 0 to 1. */
  used: number
}

/** Where a charge is counted, and what the counter said before. */
interface Place {
  counters: Counters
  key: string
  before: Counter | undefined
  /** What a new counter starts from. */
  start: Counter | undefined
}

interface Attempt {
  charge: Charge
  place: Place
  evaluation: Evaluation
  /** Whether something is to be given back if another limit refuses. */
  isTaken: boolean
}

/** How many counters are looked at for expired ones with each charge, and while there is little room left. */
const sweepSteps = { usual: 4, crowded: 16 }

/** Overflow counters of one algorithm and rate: so many groups of limits, each with so many slots for its keys. */
const overflow = { groups: 64, slots: 64 }

/**
 * Counts in this process, exactly and in bounded memory. It belongs to no policy: counters outlive a reload.
 *
 * When it is full of live keys, new ones share a fixed number of overflow counters, chosen by a hash. Who shares is
 * held to the limit together, so the guarantee of each holds. A key that gets a counter of its own later starts from
 * what the shared one says, for its own requests are in there. Only who changes plans meanwhile has the quota of each.
 */
export class MemoryLimiter implements Limiter {
  readonly #own = new Counters()
  readonly #shared = new Counters()
  readonly #maxKeys: number
  readonly #onOverflow: (spec: LimitSpec) => void
  #latestMs = 0

  constructor({ maxKeys = 200_000, onOverflow = () => {} }: MemoryLimiterOptions = {}) {
    this.#maxKeys = maxKeys
    this.#onOverflow = onOverflow
  }

  /** Counters held: at most `maxKeys`, and 4,096 overflow counters for each algorithm and rate. */
  get size(): number {
    return this.#own.size + this.#shared.size
  }

  take(charges: readonly Charge[], nowMs: number): LimitVerdict {
    const atMs = this.#clock(nowMs)
    this.#latestMs = atMs
    this.#sweep(charges.length)
    const attempts = this.#attempt(charges, atMs)
    for (const { charge, place } of attempts) {
      if (place.counters === this.#shared) this.#onOverflow(charge.spec)
    }
    if (!isAllowed(attempts)) {
      undo(attempts)
      return untakenVerdict(attempts, nowMs, atMs)
    }
    const states = attempts.map(({ charge, evaluation }) => stateOf(charge, evaluation, nowMs, 0))
    return { allowed: true, states }
  }

  peek(charges: readonly Charge[], nowMs: number): LimitVerdict {
    const atMs = this.#clock(nowMs)
    const attempts = this.#attempt(charges, atMs)
    undo(attempts)
    return untakenVerdict(attempts, nowMs, atMs)
  }

  /**
   * The counters of which the most is taken, most first. It looks at every counter, which takes some 60 ms
   * for 200,000: not for the path of a request.
   */
  top(count: number, nowMs: number): UsedCounter[] {
    const atMs = this.#clock(nowMs)
    const top: UsedCounter[] = []
    for (const counters of [this.#own, this.#shared]) {
      for (const [key, counter] of counters.entries()) insert(top, usedCounter(key, counter, atMs), count)
    }
    return top
  }

  /** Time never goes back, or what was forgotten as expired could be taken again. */
  #clock(nowMs: number): number {
    return Math.max(this.#latestMs, Math.floor(nowMs))
  }

  #sweep(charges: number): void {
    const isCrowded = this.#own.size >= this.#maxKeys * 0.75
    const steps = isCrowded ? sweepSteps.crowded : sweepSteps.usual
    this.#own.sweep(charges * steps, this.#latestMs)
    this.#shared.sweep(charges * sweepSteps.usual, this.#latestMs)
  }

  get #isFull(): boolean {
    return this.#own.size >= this.#maxKeys
  }

  /** Takes what each limit allows, in order: two charges of one counter add up. */
  #attempt(charges: readonly Charge[], atMs: number): Attempt[] {
    return charges.map((charge) => {
      const { spec, rate, cost } = charge
      const place = this.#place(charge, atMs)
      const evaluation = evaluate(spec, rate, place.start, cost, atMs)
      const { allowed, next, expiresAtMs } = evaluation
      const isTaken = allowed && cost > 0
      if (isTaken && next) place.counters.put(place.key, { state: next, expiresAtMs, spec, rate })
      return { charge, place, evaluation, isTaken }
    })
  }

  #place(charge: Charge, atMs: number): Place {
    const { key } = charge
    const before = this.#own.get(key)
    if (before || !(this.#isFull || this.#shared.size > 0)) {
      return { counters: this.#own, key, before, start: unexpired(before, atMs) }
    }
    const sharedKey = overflowKey(charge)
    const shared = this.#shared.get(sharedKey)
    const start = unexpired(shared, atMs)
    return this.#isFull
      ? { counters: this.#shared, key: sharedKey, before: shared, start }
      : { counters: this.#own, key, before, start }
  }
}

/** One that is not swept out yet counts no more than one that is, also at a rate at which it would not have expired. */
function unexpired(counter: Counter | undefined, atMs: number): Counter | undefined {
  return counter && counter.expiresAtMs > atMs ? counter : undefined
}

function undo(attempts: readonly Attempt[]): void {
  for (const { place, isTaken } of attempts.toReversed()) {
    if (isTaken) place.counters.put(place.key, place.before)
  }
}

/** Where each limit stands with nothing taken. */
function untakenVerdict(attempts: readonly Attempt[], nowMs: number, atMs: number): LimitVerdict {
  const states = attempts.map(({ charge, place, evaluation }) => {
    const { spec, rate } = charge
    // Where two charges have one counter, the first of them saw it untouched.
    const first = attempts.find((other) => other.place.key === place.key) ?? { place }
    const look = evaluate(spec, rate, first.place.start, 0, atMs)
    return stateOf(charge, look, nowMs, evaluation.allowed ? 0 : evaluation.retryAtMs - nowMs)
  })
  return { allowed: isAllowed(attempts), states }
}

function isAllowed(attempts: readonly Attempt[]): boolean {
  return attempts.every(({ evaluation }) => evaluation.allowed)
}

function evaluate(
  { algorithm, burst }: LimitSpec,
  rate: Rate,
  counter: Counter | undefined,
  cost: number,
  nowMs: number,
): Evaluation {
  const demand: Demand = { rate, burst: burst ?? rate.limit, cost }
  return algorithms[algorithm](counter?.state, demand, nowMs)
}

/** Times count from the caller's clock, which may be behind. */
function stateOf(
  { spec: { name }, rate: { limit, windowMs } }: Charge,
  { remaining, resetAtMs }: Evaluation,
  nowMs: number,
  retryAfterMs: number,
): LimitState {
  return { name, limit, windowMs, remaining, resetMs: Math.max(0, resetAtMs - nowMs), retryAfterMs }
}

/**
 * Counters of one algorithm and rate alone are shared: GCRA forgets at the rate it is asked at, so that one asked at a
 * higher rate as well would forget too soon for a lower one.
 */
function overflowKey({ spec: { algorithm, owner, name }, rate, key }: Charge): string {
  const group = hashOf(`${owner} ${name}`) % overflow.groups
  return `${algorithm} ${rate.limit}/${rate.windowMs} ${group} ${hashOf(key) % overflow.slots}`
}

/** FNV-1a, 32 bits: it only spreads. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return hash >>> 0
}

function usedCounter(key: string, counter: Counter, nowMs: number): UsedCounter {
  const { spec, rate } = counter
  const { remaining, resetAtMs } = evaluate(spec, rate, counter, 0, nowMs)
  const { limit, windowMs } = rate
  const used = Math.max(0, 1 - remaining / (spec.burst ?? limit))
  return {
    key,
    owner: spec.owner,
    name: spec.name,
    limit,
    windowMs,
    remaining,
    resetMs: Math.max(0, resetAtMs - nowMs),
    used,
  }
}

/** Keeps a list of the most used, sorted and short. */
function insert(top: UsedCounter[], counter: UsedCounter, count: number): void {
  if (counter.used === 0) return
  const at = top.findIndex(({ used }) => used < counter.used)
  if (at < 0 && top.length >= count) return
  top.splice(at < 0 ? top.length : at, 0, counter)
  top.length = Math.min(top.length, count)
}
