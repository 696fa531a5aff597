import type { Clock } from './core/clock.ts'
import type { Loggers } from './observability/logger.ts'

/** What the process around the application gives it. */
export interface Surroundings {
  clock: Clock
  /** Milliseconds that only grow. */
  monotonicMs: () => number
  loggers: Loggers
}

/** The machine's clock. */
export const systemClock: Clock = {
  now: Date.now,
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs).unref()
    return () => clearTimeout(timer)
  },
}
