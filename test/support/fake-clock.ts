import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '../../src/core/clock.ts'

interface Timer {
  dueMs: number
  action: () => void
}

/** A clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  readonly #timers = new Set<Timer>()
  #nowMs: number

  /** @param nowMs milliseconds since the epoch at which it begins. */
  constructor(nowMs = Date.UTC(2030, 0, 1)) {
    this.#nowMs = nowMs
  }

  // A bound function, because parts take `clock.now` by itself.
  readonly now = (): number => this.#nowMs

  after(delayMs: number, action: () => void): () => void {
    const timer = { dueMs: this.#nowMs + delayMs, action }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** Milliseconds until each timer is due, soonest first. */
  get pending(): number[] {
    return [...this.#timers].map(({ dueMs }) => dueMs - this.#nowMs).sort((a, b) => a - b)
  }

  /**
   * Moves the time on. Each timer that falls due runs at its own moment and in its turn; promises that settle without
   * I/O do so before the first, between two and after the last.
   */
  async advance(ms: number): Promise<void> {
    await nextTurn()
    const endMs = this.#nowMs + ms
    for (let timer = this.#nextBy(endMs); timer; timer = this.#nextBy(endMs)) {
      this.#timers.delete(timer)
      this.#nowMs = Math.max(this.#nowMs, timer.dueMs)
      timer.action()
      await nextTurn()
    }
    this.#nowMs = endMs
    await nextTurn()
  }

  #nextBy(endMs: number): Timer | undefined {
    const due = [...this.#timers].filter(({ dueMs }) => dueMs <= endMs)
    return due.sort((a, b) => a.dueMs - b.dueMs)[0]
  }
}
