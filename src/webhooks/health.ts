/** How long an endpoint has been failing. */
export interface Health {
  /** When the first attempt failed since the last good one; absent where the last one was good. */
  failingSinceMs?: number
  /** Attempts that failed since. */
  failures: number
  /** Warnings given since. */
  warnings: number
}

/** What is to be done about an endpoint. */
export type Verdict = 'nothing' | 'warn' | 'disable'

/** Nothing but failures for so long is worth a warning, and later another; in milliseconds. */
const warnAfterMs = [24 * 3_600_000, 72 * 3_600_000]

/** Nothing but failures for so long, and at least so many, disables the endpoint. */
const disableAfter = { ms: 5 * 24 * 3_600_000, failures: 20 }

/** An endpoint that nothing is known against. */
export const goodHealth: Health = { failures: 0, warnings: 0 }

/**
 * Learns how an attempt ended, and says what is to be done: after a day of nothing but failures and again after three a
 * warning, after five days and twenty attempts an end.
 */
export function judge(health: Health, isGood: boolean, nowMs: number): { health: Health; verdict: Verdict } {
  if (isGood) return { health: goodHealth, verdict: 'nothing' }
  const failingSinceMs = health.failingSinceMs ?? nowMs
  const failures = health.failures + 1
  const forMs = nowMs - failingSinceMs
  if (forMs >= disableAfter.ms && failures >= disableAfter.failures) {
    return { health: { ...health, failingSinceMs, failures }, verdict: 'disable' }
  }
  const warnings = warnAfterMs.filter((afterMs) => forMs >= afterMs).length
  return {
    health: { failingSinceMs, failures, warnings: Math.max(warnings, health.warnings) },
    verdict: warnings > health.warnings ? 'warn' : 'nothing',
  }
}
