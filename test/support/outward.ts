import { createOutward, type Outward, type ResilienceOptions } from '../../src/outward/resilience.ts'

/** A way out that tries once, within this time, and never stops trying; `more` replaces what a test wants otherwise. */
export function outwardWithin(timeoutMs: number, more: Partial<ResilienceOptions> = {}): Outward {
  const options = {
    target: 'test',
    timeoutMs,
    attempts: 1,
    backoffMs: 1,
    maxBackoffMs: 1,
    maxConcurrent: 100,
    maxQueued: 100,
    breakAfter: 1_000,
    openMs: 1_000,
    ...more,
  }
  return createOutward(options, { ended: () => undefined, retried: () => undefined }, () => 0)
}
