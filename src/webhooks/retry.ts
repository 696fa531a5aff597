import type { RetryPolicy } from '../core/webhooks.ts'

/** The longest wait between two attempts, in milliseconds. */
const maxBackoffMs = 24 * 3_600_000

/** How far a wait strays from its length, in either direction: deliveries that failed together do not return together. */
const jitter = 0.2

/** When the next attempt is due, in milliseconds from now; `dead` where there is none. */
export type NextAttempt = number | 'dead'

/**
 * Says when a delivery is tried again: after the policy's backoff, doubled with each failure, ±20 %, at most 24 hours. A
 * receiver that said when is taken at its word in place of that.
 * @param failures attempts that have failed, this one included; from 1 on.
 * @param random from 0 to below 1.
 * @param retryAfterMs what the receiver asked for, if it did.
 */
export function nextAttempt(
  failures: number,
  { maxRetries, backoffMs }: RetryPolicy,
  random: () => number,
  retryAfterMs?: number,
): NextAttempt {
  if (failures > maxRetries) return 'dead'
  if (retryAfterMs !== undefined) return retryAfterMs
  const strayed = backoffMs * 2 ** (failures - 1) * (1 - jitter + 2 * jitter * random())
  return Math.round(Math.min(strayed, maxBackoffMs))
}

/** The longest wait that a receiver can ask for, in milliseconds; a longer one counts as this. */
const maxRetryAfterMs = 24 * 3_600_000

/** The shortest, in milliseconds: who asks for none at all gets this. */
const minRetryAfterMs = 1_000

/**
 * Reads `Retry-After` (RFC 9110 §10.2.3): seconds, or a date in any of HTTP's three forms. Between one second and 24
 * hours.
 * @returns undefined where it is absent or neither.
 */
export function parseRetryAfter(text: string | undefined, nowMs: number): number | undefined {
  const waitMs = waitOf(text?.trim() ?? '', nowMs)
  if (waitMs === undefined) return undefined
  return Math.min(Math.max(waitMs, minRetryAfterMs), maxRetryAfterMs)
}

function waitOf(text: string, nowMs: number): number | undefined {
  if (/^\d+$/.test(text)) return Number(text) * 1_000
  // RFC 9110 §5.6.7. The oldest of the forms names no zone, and means GMT.
  const isDate = /^[A-Z][a-z]{2,8},? [\w -]+ \d\d:\d\d:\d\d(?: GMT| \d{4})$/.test(text)
  const atMs = isDate ? Date.parse(text.endsWith('GMT') ? text : `${text} GMT`) : Number.NaN
  return Number.isNaN(atMs) ? undefined : atMs - nowMs
}
