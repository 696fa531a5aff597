import { type Denial, deny } from './denials.ts'
import type { Publish } from './events.ts'
import type { Caller } from './identity.ts'
import { limitHeaders, retryAfterSeconds } from './limit-headers.ts'
import { type Charge, chargeOf, type Limiter, type LimitState, type LimitVerdict } from './limits.ts'
import { showWindow } from './rates.ts'
import type { RequestContext } from './request.ts'
import type { RouteSpec } from './routes.ts'

/** Headers for the client. */
export type ClientHeaders = readonly (readonly [name: string, value: string])[]

/** What the quota of a request came to. */
export type QuotaResult = { kind: 'granted'; headers: ClientHeaders } | Denial

/** What one request puts to its limits. */
export interface QuotaRequest {
  route: RouteSpec
  caller: Caller
  request: RequestContext
}

/** Which refusals become events: one for each key and window, or all. */
export type ExceededEvents = 'first' | 'all'

/** What the quota step is made of. */
export interface QuotaParts {
  limiter: Limiter
  /** Free of collisions, as SHA-256 is. */
  hash: (text: string) => string
  publish: Publish
  events: ExceededEvents
}

/** Asks the limits of a route. */
export interface Quota {
  /** Takes from every limit, or from none where one refuses. */
  take(asked: QuotaRequest): QuotaResult | Promise<QuotaResult>
  /** Tells where every limit stands, and takes nothing. */
  peek(asked: QuotaRequest): LimitVerdict | Promise<LimitVerdict>
}

const unlimited: QuotaResult = { kind: 'granted', headers: [] }

/** Makes the quota step. */
export function createQuota({ limiter, hash, publish, events }: QuotaParts): Quota {
  const isNews = events === 'all' ? () => true : createNewsFilter()

  function chargesOf({ route, caller, request }: QuotaRequest): Charge[] {
    return (route.limits ?? []).map((spec) => chargeOf(spec, { caller, request, route }, hash))
  }

  function tell(asked: QuotaRequest, charges: readonly Charge[], { states }: LimitVerdict): void {
    const { receivedAtMs: atMs, requestId } = asked.request
    for (const [at, state] of states.entries()) {
      const key = charges[at]?.key ?? ''
      if (state.retryAfterMs === 0 || !isNews(key, atMs, atMs + Math.min(state.resetMs, state.windowMs)))
        continue
      publish({ type: 'rate_limit.exceeded', atMs, requestId, data: exceeded(asked, state, atMs) })
    }
  }

  function conclude(asked: QuotaRequest, charges: readonly Charge[], verdict: LimitVerdict): QuotaResult {
    const headers = limitHeaders(verdict)
    if (verdict.allowed) return { kind: 'granted', headers: isShadow(asked) ? [] : headers }
    tell(asked, charges, verdict)
    return deny('rate_limited', refusalText(verdict), { headers, cause: refusing(verdict) })
  }

  return {
    take(asked) {
      if (!asked.route.limits || asked.route.limits.length === 0) return unlimited
      const charges = chargesOf(asked)
      const verdict = limiter.take(charges, asked.request.receivedAtMs)
      if (verdict instanceof Promise) return verdict.then((settled) => conclude(asked, charges, settled))
      return conclude(asked, charges, verdict)
    },

    peek(asked) {
      if (!asked.route.limits || asked.route.limits.length === 0) return { allowed: true, states: [] }
      return limiter.peek(chargesOf(asked), asked.request.receivedAtMs)
    },
  }
}

function refusalText({ states }: LimitVerdict): string {
  return `Too many requests: try again in ${retryAfterSeconds(states)} s.`
}

function refusing({ states }: LimitVerdict): string {
  return states
    .filter(({ retryAfterMs }) => retryAfterMs > 0)
    .map(({ name }) => name)
    .join(' ')
}

function exceeded({ route, caller }: QuotaRequest, state: LimitState, atMs: number) {
  const clientId = caller.kind === 'anonymous' ? undefined : caller.clientId
  return {
    ...(clientId !== undefined && { client_id: clientId }),
    route: route.name,
    name: state.name,
    limit: state.limit,
    window: showWindow(state.windowMs),
    requests_made: Math.max(0, state.limit - state.remaining),
    reset_at: new Date(atMs + state.resetMs).toISOString(),
    ...(isShadow({ route }) && { shadow: true as const }),
  }
}

/** A limit in shadow mode is nothing that clients should heed, so they are not told of it. */
function isShadow({ route: { shadow = [] } }: Pick<QuotaRequest, 'route'>): boolean {
  return shadow.includes('rate_limit')
}

/** The most keys that are remembered as told; beyond it a refusal is told again. */
const maxTold = 10_000

/** Makes a filter that lets the first of each key through until its time is up. */
function createNewsFilter(): (key: string, nowMs: number, untilMs: number) => boolean {
  const told = new Map<string, number>()
  return (key, nowMs, untilMs) => {
    if (nowMs < (told.get(key) ?? 0)) return false
    told.delete(key)
    for (const [oldest] of told) {
      if (told.size < maxTold) break
      told.delete(oldest)
    }
    told.set(key, untilMs)
    return true
  }
}
