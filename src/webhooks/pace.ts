import type { Rate } from '../core/rates.ts'

/** When the next attempt may begin, by GCRA: a whole quota at once, then one for each share of the window. */
export class Pace {
  readonly #rate: Rate | undefined
  /** The theoretical arrival time; milliseconds since the epoch, with fractions. */
  #arrivalMs = 0

  /** @param rate none for no limit. */
  constructor(rate: Rate | undefined) {
    this.#rate = rate
  }

  /** The moment from which on an attempt may begin; `nowMs` or before it for "now". */
  freeAtMs(): number {
    if (!this.#rate) return 0
    const { limit, windowMs } = this.#rate
    return Math.ceil(this.#arrivalMs - (windowMs - windowMs / limit))
  }

  /** Counts an attempt. */
  take(nowMs: number): void {
    if (!this.#rate) return
    const { limit, windowMs } = this.#rate
    this.#arrivalMs = Math.max(this.#arrivalMs, nowMs) + windowMs / limit
  }
}
