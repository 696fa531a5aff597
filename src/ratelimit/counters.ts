import type { LimitSpec, Rate } from '../core/limits.ts'
import type { CounterState } from './algorithms.ts'

/** What is kept of a counter. Never changed, only replaced, so that what was can be put back. */
export interface Counter {
  state: CounterState
  /** Milliseconds since the epoch from which on the state means nothing. */
  expiresAtMs: number
  /** The limit that was asked last. */
  spec: LimitSpec
  /** The rate at which it was asked. */
  rate: Rate
}

/**
 * Counters by key, the expired ones swept out a few at a time. The sweep goes round and round: at four steps for every
 * counter that is added, at most about a third as many expired ones as live ones are left lying.
 */
export class Counters {
  readonly #byKey = new Map<string, Counter>()
  #rest = this.#byKey.entries()

  get size(): number {
    return this.#byKey.size
  }

  get(key: string): Counter | undefined {
    return this.#byKey.get(key)
  }

  /** Keeps a counter, or forgets the key where there is none. */
  put(key: string, counter: Counter | undefined): void {
    if (counter) this.#byKey.set(key, counter)
    else this.#byKey.delete(key)
  }

  entries(): Iterable<[key: string, counter: Counter]> {
    return this.#byKey.entries()
  }

  /**
   * Looks at the next few counters and forgets the expired.
   * @param steps how many to look at.
   */
  sweep(steps: number, nowMs: number): void {
    for (let step = 0; step < steps; step += 1) {
      const { done, value } = this.#rest.next()
      if (done) {
        this.#rest = this.#byKey.entries()
        return
      }
      if (value[1].expiresAtMs <= nowMs) this.#byKey.delete(value[0])
    }
  }
}
