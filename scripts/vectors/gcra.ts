import type { Charge, LimitSpec, LimitState } from '../../src/core/limits.ts'
import { MemoryLimiter } from '../../src/ratelimit/memory.ts'
import { outcomeOf, readJson, unless, type VectorSet } from './report.ts'

interface Row {
  nowMs: number
  cost: number
  remaining: number
  resetMs: number
  /** -1 where it was not refused, and where it never will be admitted. */
  retryMs: number
  limited: boolean
}

interface Steps {
  /** The most at once: one more than that suite's burst. */
  limit: number
  ratePerSec: number
  cases: Row[]
}

/** Requests to one counter one after the other, as Go's throttled answers them. */
export const gcra: VectorSet = {
  entry: 'gcra-throttled.json',
  async run(path) {
    const { limit, ratePerSec, cases } = readJson<Steps>(path)
    const rate = { limit, windowMs: (limit / ratePerSec) * 1_000 }
    const spec: LimitSpec = { name: 'steps', owner: 'defaults', rate, algorithm: 'gcra', by: [], cost: 1 }
    const limiter = new MemoryLimiter()
    const outcomes = cases.map((row, at) => {
      const charge: Charge = { spec, rate, key: 'one', cost: row.cost }
      const { allowed, states } = limiter.take([charge], row.nowMs)
      return outcomeOf(`step ${at + 1}`, () => check(row, allowed, states[0], rate.windowMs))
    })
    return { outcomes: await Promise.all(outcomes) }
  },
}

function check(
  { remaining, resetMs, retryMs, limited }: Row,
  allowed: boolean,
  state: LimitState | undefined,
  windowMs: number,
): string | undefined {
  // That suite has no answer to what can never be admitted; ours is a window.
  const never = limited ? windowMs : 0
  return (
    unless(allowed, !limited) ??
    unless(state?.remaining, remaining) ??
    unless(state?.resetMs, resetMs) ??
    unless(state?.retryAfterMs, retryMs < 0 ? never : retryMs)
  )
}
