import type { Charge, LimitAlgorithm } from '../../src/core/limits.ts'

/** Units that were admitted at a moment. */
interface Admitted {
  atMs: number
  units: number
}

type Admits = (history: readonly Admitted[], charge: Charge, atMs: number) => boolean

/**
 * What each algorithm promises, word for word and as slow as it comes: it remembers everything that was ever admitted.
 * BigInt, so that it cannot round.
 */
const promises: Record<LimitAlgorithm, Admits> = {
  // No time that ends now holds more than burst + rate·t.
  gcra: (history, { rate, spec, cost }, atMs) => {
    const burst = BigInt(spec.burst ?? rate.limit)
    return [...history, { atMs, units: cost }].every(({ atMs: fromMs }, at, all) => {
      const units = BigInt(sum(all.slice(at)))
      const leaked = BigInt(rate.limit) * BigInt(atMs - fromMs)
      return units * BigInt(rate.windowMs) <= burst * BigInt(rate.windowMs) + leaked
    })
  },
  // The window that now is in holds no more than the limit.
  'fixed-window': (history, { rate, cost }, atMs) => {
    const windowOf = (ms: number) => Math.floor(ms / rate.windowMs)
    return sum(history.filter((one) => windowOf(one.atMs) === windowOf(atMs))) + cost <= rate.limit
  },
  // All tenths of which any unit is in the window that ends now hold no more than the limit, each counted whole.
  'sliding-window': (history, { rate, cost }, atMs) => {
    const tenthOf = (ms: number) => Math.floor(ms / Math.ceil(rate.windowMs / 10))
    const inWindow = history.filter((one) => one.atMs > atMs - rate.windowMs)
    const tenths = new Set(inWindow.map((one) => tenthOf(one.atMs)))
    return sum(history.filter((one) => tenths.has(tenthOf(one.atMs)))) + cost <= rate.limit
  },
}

/**
 * The slow obvious counter that the fast ones are held against. Its time is the latest that it was told: where a clock
 * is set back, it stands still.
 */
export class Model {
  readonly #histories = new Map<string, Admitted[]>()
  #latestMs = 0

  /** Tells the time. @returns how far the clock is behind the latest time that it showed, in milliseconds. */
  tell(nowMs: number): number {
    this.#latestMs = Math.max(this.#latestMs, nowMs)
    return this.#latestMs - nowMs
  }

  /** Whether every limit admits what is asked of it. */
  admits(charges: readonly Charge[], nowMs: number): boolean {
    return charges.every((charge) => this.admitsOne(charge, nowMs))
  }

  /** Whether one limit does. */
  admitsOne(charge: Charge, nowMs: number): boolean {
    if (charge.cost === 0) return true
    return promises[charge.spec.algorithm](this.#historyOf(charge), charge, Math.max(this.#latestMs, nowMs))
  }

  /** Remembers what was admitted just now. */
  record(charges: readonly Charge[]): void {
    for (const charge of charges) {
      if (charge.cost > 0) this.#historyOf(charge).push({ atMs: this.#latestMs, units: charge.cost })
    }
  }

  /** The most that a limit would admit at once. */
  remaining(charge: Charge, nowMs: number): number {
    let units = 0
    while (this.admitsOne({ ...charge, cost: units + 1 }, nowMs)) units += 1
    return units
  }

  #historyOf({ key }: Charge): Admitted[] {
    const known = this.#histories.get(key)
    if (known) return known
    const history: Admitted[] = []
    this.#histories.set(key, history)
    return history
  }
}

function sum(admitted: readonly Admitted[]): number {
  return admitted.reduce((total, { units }) => total + units, 0)
}
