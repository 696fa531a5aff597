import type { LimitState, LimitVerdict } from './limits.ts'

/** A field of the reply, its name in lower case. */
export type LimitHeader = readonly [name: string, value: string]

/** The largest integer of a structured field (RFC 9651 §3.3.1). */
const maxInteger = 999_999_999_999_999

/**
 * What a client is told of its limits, on replies of either kind: `RateLimit` and `RateLimit-Policy` as of
 * draft-ietf-httpapi-ratelimit-headers-11, every limit by its name and never with a partition key; the older
 * `X-RateLimit-*` for the tightest limit alone; on a refusal `Retry-After` in seconds (RFC 9110 §10.2.3).
 * @returns nothing where no limit applied.
 */
export function limitHeaders({ allowed, states }: LimitVerdict): readonly LimitHeader[] {
  const tightest = tightestOf(states)
  if (!tightest) return []
  const headers: LimitHeader[] = [
    ['ratelimit', states.map(serviceLimit).join(', ')],
    ['ratelimit-policy', states.map(quotaPolicy).join(', ')],
    ['x-ratelimit-limit', `${tightest.limit}`],
    ['x-ratelimit-remaining', `${tightest.remaining}`],
    ['x-ratelimit-reset', `${seconds(tightest.resetMs)}`],
  ]
  if (!allowed) headers.push(['retry-after', `${retryAfterSeconds(states)}`])
  return headers
}

/** Whole seconds until every limit would admit the request, rounded up, at least 1. */
export function retryAfterSeconds(states: readonly LimitState[]): number {
  return Math.max(1, ...states.map(({ retryAfterMs }) => seconds(retryAfterMs)))
}

/** The limit that stops a client first: the one that refuses longest, else the one with the least left. */
export function tightestOf(states: readonly LimitState[]): LimitState | undefined {
  return states.toSorted(
    (a, b) => b.retryAfterMs - a.retryAfterMs || a.remaining - b.remaining || b.resetMs - a.resetMs,
  )[0]
}

/**
 * §4.1. The effective window ends when the whole quota is back; of a limit that refuses, when it would admit the
 * request, because `Retry-After` should not be earlier (§6).
 */
function serviceLimit({ name, remaining, resetMs, retryAfterMs }: LimitState): string {
  return `${sfString(name)};r=${sfInteger(remaining)};t=${sfInteger(seconds(retryAfterMs || resetMs))}`
}

/** §3.1. A window that is no whole number of seconds cannot be told, and `w` may be left out. */
function quotaPolicy({ name, limit, windowMs }: LimitState): string {
  const policy = `${sfString(name)};q=${sfInteger(limit)}`
  return windowMs % 1_000 === 0 ? `${policy};w=${sfInteger(windowMs / 1_000)}` : policy
}

function seconds(ms: number): number {
  return Math.ceil(ms / 1_000)
}

function sfInteger(value: number): number {
  return Math.min(value, maxInteger)
}

/** RFC 9651 §4.1.6. What its strings cannot hold is percent-encoded. */
function sfString(text: string): string {
  const ascii = text.toWellFormed().replaceAll(/[^\x20-\x7e]+/gu, encodeURIComponent)
  return `"${ascii.replaceAll(/["\\]/g, String.raw`\$&`)}"`
}
