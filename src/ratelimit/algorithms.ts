import { type LimitAlgorithm, type Rate, tickRate } from '../core/limits.ts'

/**
 * What a counter remembers: a few numbers whose meaning only its algorithm knows. It is never changed, only replaced.
 */
export type CounterState = readonly number[]

/** What is asked of a counter. */
export interface Demand {
  rate: Rate
  /** The most units at once, for GCRA alone; the others have no use for it. */
  burst: number
  /** Units asked for: a whole number from 0 on. 0 only looks, and is always allowed. */
  cost: number
}

/** What a counter answers. Times are whole milliseconds since the epoch. */
export interface Evaluation {
  allowed: boolean
  /** The state to keep if the units are taken; where none are, it says what the old one said. */
  next: CounterState | undefined
  /** Units left after that. */
  remaining: number
  /** When the whole quota is there again if nobody asks; of a fixed window, when it ends. */
  resetAtMs: number
  /**
   * The first moment at which the demand is allowed if nobody else asks. It means something only where it was refused.
   */
  retryAtMs: number
  /** From when on the next state means nothing and can be forgotten. */
  expiresAtMs: number
}

/**
 * Asks a counter. Pure: nothing is taken until the caller keeps the next state.
 *
 * Time does not go back: a state made at a later moment than `nowMs` counts from that moment. A cost that can never be
 * admitted is refused and told to come back after a whole window.
 * @param state undefined for a counter that was never asked, or whose state has expired.
 * @param nowMs whole milliseconds since the epoch.
 */
export type Evaluate = (state: CounterState | undefined, demand: Demand, nowMs: number) => Evaluation

/**
 * The algorithms. Their guarantees, whatever is asked and when:
 * - `gcra`: at most `burst + rate·t` units in any time t. A counter that is asked at several rates in turn, as those of
 *   plans or before and after a reload, admits no more than the largest burst and the largest rate allow.
 * - `fixed-window`: at most `limit` units in each window; windows begin at the epoch, so a day's begin at midnight UTC.
 * - `sliding-window`: at most `limit` units in any time of a window's length.
 */
export const algorithms: Readonly<Record<LimitAlgorithm, Evaluate>> = {
  gcra: evaluateGcra,
  'fixed-window': evaluateFixedWindow,
  'sliding-window': evaluateSlidingWindow,
}

/**
 * GCRA (ITU-T I.371) as a bucket that leaks: its level rises with every unit and falls with time. The state is the
 * moment, the level then, and the height of one unit. Level and heights are whole ticks, so nothing is ever rounded
 * away; no origin of time enters, so nothing grows with the years.
 */
function evaluateGcra(state: CounterState | undefined, demand: Demand, nowMs: number): Evaluation {
  const { rate, burst, cost } = demand
  const { perMs, perUnit } = tickRate(rate)
  const atMs = Math.max(nowMs, state?.[0] ?? nowMs)
  const level = levelAt(atMs, state, perMs, perUnit)
  const excess = level + cost * perUnit - burst * perUnit
  const allowed = cost === 0 || excess <= 0
  const levelAfter = allowed ? level + cost * perUnit : level
  const resetAtMs = atMs + Math.ceil(levelAfter / perMs)
  return {
    allowed,
    next: allowed && cost > 0 ? [atMs, levelAfter, perUnit] : state,
    remaining: Math.max(0, Math.floor((burst * perUnit - levelAfter) / perUnit)),
    resetAtMs,
    retryAtMs: cost > burst ? nowMs + rate.windowMs : atMs + Math.ceil(excess / perMs),
    expiresAtMs: resetAtMs,
  }
}

/** The level in ticks. What leaked meanwhile leaked at the rate that is asked about. */
function levelAt(atMs: number, state: CounterState | undefined, perMs: number, perUnit: number): number {
  if (!state) return 0
  const [madeAtMs = 0, level = 0, unit = perUnit] = state
  const now = unit === perUnit ? level : rescale(level, perUnit, unit)
  return Math.max(0, now - (atMs - madeAtMs) * perMs)
}

/** The same number of units at another height of a unit, rounded up. The product may be too large for a double. */
function rescale(level: number, perUnit: number, unit: number): number {
  const product = BigInt(level) * BigInt(perUnit)
  const rounded = (product + BigInt(unit) - 1n) / BigInt(unit)
  return Math.min(Number(rounded), Number.MAX_SAFE_INTEGER)
}

/** The state is the beginning of a window and the units taken in it. */
function evaluateFixedWindow(state: CounterState | undefined, demand: Demand, nowMs: number): Evaluation {
  const { cost } = demand
  const { limit, windowMs } = demand.rate
  const [madeInMs = 0, taken = 0] = state ?? []
  const beginsAtMs = Math.max(nowMs - (nowMs % windowMs), madeInMs)
  const used = beginsAtMs === madeInMs ? taken : 0
  const allowed = cost === 0 || used + cost <= limit
  const usedAfter = allowed ? used + cost : used
  const endsAtMs = beginsAtMs + windowMs
  return {
    allowed,
    next: allowed && cost > 0 ? [beginsAtMs, usedAfter] : state,
    remaining: Math.max(0, limit - usedAfter),
    resetAtMs: endsAtMs,
    retryAtMs: cost > limit ? nowMs + windowMs : endsAtMs,
    expiresAtMs: endsAtMs,
  }
}

/** A window is divided into so many buckets: more are finer and take more memory. */
const bucketsPerWindow = 10

/**
 * The state is a list of buckets, oldest first: of each the moment of its newest unit and how many it holds. A bucket
 * counts whole until that moment has left the window: never too little, and at most a tenth of the window too long.
 */
function evaluateSlidingWindow(state: CounterState = [], demand: Demand, nowMs: number): Evaluation {
  const { cost } = demand
  const { limit, windowMs } = demand.rate
  const atMs = Math.max(nowMs, state.at(-2) ?? nowMs)
  const live = liveBuckets(state, atMs - windowMs)
  const used = heldBy(live)
  const allowed = cost === 0 || used + cost <= limit
  const taken = allowed ? cost : 0
  const buckets = taken > 0 ? withUnits(live, taken, atMs, windowMs) : live
  const resetAtMs = (buckets.at(-2) ?? atMs - windowMs) + windowMs
  return {
    allowed,
    next: buckets,
    remaining: Math.max(0, limit - used - taken),
    resetAtMs,
    retryAtMs: cost > limit ? nowMs + windowMs : leavesAt(live, used + cost - limit) + windowMs,
    expiresAtMs: resetAtMs,
  }
}

/** The buckets whose newest unit came after a moment. */
function liveBuckets(buckets: CounterState, afterMs: number): CounterState {
  let at = 0
  while (at < buckets.length && Number(buckets[at]) <= afterMs) at += 2
  return at === 0 ? buckets : buckets.slice(at)
}

function heldBy(buckets: CounterState): number {
  let units = 0
  for (let at = 1; at < buckets.length; at += 2) units += Number(buckets[at])
  return units
}

/** Adds to the newest bucket, or to a new one where the time of that has passed. */
function withUnits(buckets: CounterState, units: number, atMs: number, windowMs: number): CounterState {
  const bucketMs = Math.ceil(windowMs / bucketsPerWindow)
  const [newestMs = Number.NaN, held = 0] = buckets.slice(-2)
  const isSame = Math.floor(newestMs / bucketMs) === Math.floor(atMs / bucketMs)
  return isSame ? [...buckets.slice(0, -2), atMs, held + units] : [...buckets, atMs, units]
}

/** The newest moment of the bucket with which at least so many units, counted from the oldest, will have left. */
function leavesAt(buckets: CounterState, units: number): number {
  let left = 0
  let leavesAtMs = 0
  for (let at = 0; at < buckets.length && left < units; at += 2) {
    leavesAtMs = Number(buckets[at])
    left += Number(buckets[at + 1])
  }
  return leavesAtMs
}
