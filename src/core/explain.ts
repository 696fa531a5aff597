import type { Denial } from './denials.ts'
import { denialRow, isDenial } from './denials.ts'
import { type Authenticate, authorize, type GuardedHeaders, headersForUpstream, nowhere } from './gateway.ts'
import { anonymous, type Caller } from './identity.ts'
import { limitHeaders, retryAfterSeconds } from './limit-headers.ts'
import type { LimitState } from './limits.ts'
import type { Quota } from './quota.ts'
import { showRate } from './rates.ts'
import type { RequestContext } from './request.ts'
import type { MatchedRoute, RouteSpec, Routes, SettingName } from './routes.ts'

/** How one step of a decision went. `skipped` where an earlier one has decided, or the route asks nothing of it. */
export interface ExplainedStep {
  step: 'route' | 'identity' | 'scopes' | 'claims' | 'limits'
  outcome: 'passed' | 'refused' | 'fault' | 'skipped'
  /** What was found, in one sentence or a few. */
  says: string
  /** Where the settings come from that this step goes by. */
  source?: string
}

/** A limit and what is left of it. */
export interface ExplainedLimit {
  name: string
  /** As its setting spells it, such as `100/1m`. */
  limit: string
  algorithm: string
  /** What it counts by. */
  by: string
  remaining: number
  /** Seconds until the whole quota is there again. */
  resetSeconds: number
  /** Seconds until this request would pass; absent where the limit leaves room. */
  retryAfterSeconds?: number
}

/** Why a request gets the answer that it gets. It is computed, not done: nothing is taken, counted or told. */
export interface Explanation {
  request: { method: string; authority: string; path: string }
  steps: ExplainedStep[]
  route: { name: string; service?: string; auth: string; sources: Partial<Record<SettingName, string>> }
  /** Who is calling, as far as that was established. */
  caller: {
    kind: string
    issuer?: string
    userId?: string
    clientId?: string
    scopes?: readonly string[]
    claims?: unknown
  }
  limits: ExplainedLimit[]
  /** How the upstream's request would differ from the client's; absent where it would not get it. */
  upstreamHeaders?: { set: readonly (readonly [string, string])[]; remove: readonly string[] }
  /** What the client would get beside the answer of the upstream. */
  clientHeaders: readonly (readonly [string, string])[]
  verdict: {
    decision: 'allow' | 'deny' | 'fault'
    status?: number
    reason: string
    detail: string
    cause?: string
  }
}

/** What explaining is made of: the steps of the gateway, in forms that change nothing. */
export interface ExplainParts {
  routes: Pick<Routes, 'match' | 'claimHeaders'>
  authenticate: Authenticate
  credentialHeaders: readonly string[]
  quota: Pick<Quota, 'peek'>
}

/** What an explanation may show. */
export interface ExplainOptions {
  /** Claims with their values; else their names alone. */
  showValues: boolean
}

/** Goes the way of a decision and writes down each step. */
export async function explain(
  { routes, authenticate, credentialHeaders, quota }: ExplainParts,
  request: RequestContext,
  { showValues }: ExplainOptions,
): Promise<Explanation> {
  const journal = createJournal(request, showValues)
  const guarded: GuardedHeaders = { credentials: credentialHeaders, claims: routes.claimHeaders }

  const match = attempt(() => routes.match(request))
  if (match.kind === 'fault') return journal.faulted('route', match.error)
  if (isDenial(match)) return journal.refused('route', match)
  const { spec: route } = match
  journal.routed(match)
  if (match.preflight) {
    journal.passed('identity', 'a CORS preflight passes without identity here')
    return journal.allowed(headersForUpstream(anonymous, request, route, guarded))
  }

  const caller = await attemptAsync(async () => authenticate(request, route))
  if (caller.kind === 'fault') return journal.faulted('identity', caller.error)
  if (isDenial(caller)) return journal.refused('identity', caller)
  journal.identified(caller)

  const lacking = journal.authorized(route, authorize(caller, route))
  if (lacking) return lacking

  const verdict = await attemptAsync(async () => ({
    kind: 'verdict' as const,
    ...(await quota.peek({ route, caller, request })),
  }))
  if (verdict.kind === 'fault') return journal.faulted('limits', verdict.error)
  journal.limited(route, verdict.states)
  if (!verdict.allowed) return journal.refused('limits', tooMany(verdict.states))
  return journal.allowed(
    headersForUpstream(caller, request, route, guarded),
    limitHeaders({ allowed: true, states: verdict.states }),
  )
}

interface Faulted {
  kind: 'fault'
  error: Error
}

function attempt<T>(step: () => T): T | Faulted {
  try {
    return step()
  } catch (error) {
    return { kind: 'fault', error: error as Error }
  }
}

async function attemptAsync<T>(step: () => Promise<T>): Promise<T | Faulted> {
  try {
    return await step()
  } catch (error) {
    return { kind: 'fault', error: error as Error }
  }
}

function tooMany(states: readonly LimitState[]): Denial {
  const names = states.filter(({ retryAfterMs }) => retryAfterMs > 0).map(({ name }) => name)
  const detail = `Too many requests: try again in ${retryAfterSeconds(states)} s.`
  return { kind: 'denial', reason: 'rate_limited', detail, cause: names.join(' ') }
}

const order = ['route', 'identity', 'scopes', 'claims', 'limits'] as const

type StepName = (typeof order)[number]

/** Keeps what each step found, and closes the explanation with a verdict. */
function createJournal({ method, authority, path }: RequestContext, showValues: boolean) {
  const explanation: Explanation = {
    request: { method, authority, path },
    steps: [],
    route: describeRoute(nowhere),
    caller: { kind: 'unknown' },
    limits: [],
    clientHeaders: [],
    verdict: { decision: 'allow', reason: 'ok', detail: 'The request goes on to the upstream.' },
  }

  function add(step: StepName, outcome: ExplainedStep['outcome'], says: string, source?: string): void {
    explanation.steps.push({ step, outcome, says, ...(source !== undefined && { source }) })
  }

  function close(): Explanation {
    for (const step of order) {
      if (!explanation.steps.some((done) => done.step === step)) add(step, 'skipped', 'not reached')
    }
    return explanation
  }

  function addScopes({ auth, scopes, sources }: RouteSpec): void {
    const asks = auth !== 'none' && scopes.length > 0
    const says = asks ? `holds ${scopes.join(' ')}` : 'none are asked for'
    add('scopes', asks ? 'passed' : 'skipped', says, sources?.scopes)
  }

  function addClaims({ auth, claims = [], sources }: RouteSpec): void {
    const asks = auth !== 'none' && claims.length > 0
    const shown = claims.map(({ claim, values }) => `${claim} is one of ${values.join(', ')}`)
    add(
      'claims',
      asks ? 'passed' : 'skipped',
      asks ? shown.join('; ') : 'none are asked for',
      sources?.claims,
    )
  }

  function refused(step: StepName, denial: Denial): Explanation {
    const sources: Partial<Record<StepName, string | undefined>> = {
      ...explanation.route.sources,
      identity: explanation.route.sources.auth,
    }
    add(step, 'refused', denial.detail, sources[step])
    const { reason, detail, cause } = denial
    explanation.verdict = {
      decision: 'deny',
      status: denialRow(denial).httpStatus,
      reason,
      detail,
      ...(cause !== undefined && { cause }),
    }
    return close()
  }

  return {
    passed: (step: StepName, says: string) => add(step, 'passed', says),

    routed(match: MatchedRoute): void {
      explanation.route = describeRoute(match.spec)
      add('route', 'passed', `${match.spec.name}: ${showMatch(match)}`)
    },

    identified(caller: Caller): void {
      explanation.caller = describeCaller(caller, showValues)
      add('identity', 'passed', showCaller(caller), explanation.route.sources.auth)
    },

    /** @returns the closed explanation where a scope or a claim is lacking. */
    authorized(route: RouteSpec, denial: Denial | undefined): Explanation | undefined {
      const isForClaims = denial?.reason === 'insufficient_claims' || route.scopes.length === 0
      if (denial && !isForClaims) return refused('scopes', denial)
      addScopes(route)
      if (denial) return refused('claims', denial)
      addClaims(route)
      return undefined
    },

    limited({ limits = [] }: RouteSpec, states: readonly LimitState[]): void {
      explanation.limits = states.map((state, at) => describeLimit(limits[at], state))
      if (states.length === 0) add('limits', 'skipped', 'there are none', explanation.route.sources.limits)
      else if (states.every(({ retryAfterMs }) => retryAfterMs === 0)) {
        add(
          'limits',
          'passed',
          states.length === 1 ? 'it leaves room' : `all ${states.length} leave room`,
          explanation.route.sources.limits,
        )
      }
    },

    refused,

    faulted(step: StepName, error: Error): Explanation {
      add(step, 'fault', error.message)
      const detail = "There is no verdict: Envoy's failure_mode_allow decides."
      explanation.verdict = { decision: 'fault', reason: 'fault', detail, cause: error.message }
      return close()
    },

    allowed(
      upstreamHeaders: NonNullable<Explanation['upstreamHeaders']>,
      clientHeaders: Explanation['clientHeaders'] = [],
    ): Explanation {
      explanation.upstreamHeaders = upstreamHeaders
      explanation.clientHeaders = clientHeaders
      return close()
    },
  }
}

function describeRoute({ name, service, auth, sources = {} }: RouteSpec): Explanation['route'] {
  return { name, ...(service !== undefined && { service }), auth, sources }
}

function showMatch({ rule, named }: MatchedRoute): string {
  if (!rule) return 'no route of the policy fits, the defaults hold'
  const { host = 'any', path = 'any', methods = ['any'] } = rule
  const where = named ? "named by Envoy's route" : `host ${host}, path ${path}`
  return `${where}, methods ${methods.join(' ')}`
}

function describeCaller(caller: Caller, showValues: boolean): Explanation['caller'] {
  if (caller.kind === 'anonymous') return { kind: 'anonymous' }
  const { kind, issuer, userId, clientId, scopes, claims } = caller
  return {
    kind,
    issuer,
    ...(userId !== undefined && { userId }),
    ...(clientId !== undefined && { clientId }),
    scopes,
    claims: showValues ? claims : Object.keys(claims),
  }
}

function showCaller(caller: Caller): string {
  if (caller.kind === 'anonymous') return 'anonymous: no credential was shown, and none is needed'
  const who = [
    caller.userId && `user ${caller.userId}`,
    caller.clientId && `client ${caller.clientId}`,
  ].filter(Boolean)
  return `by ${caller.kind} of ${caller.issuer}: ${who.join(', ') || 'nobody by name'}`
}

function describeLimit(
  spec: NonNullable<RouteSpec['limits']>[number] | undefined,
  state: LimitState,
): ExplainedLimit {
  const { name, limit, windowMs, remaining, resetMs, retryAfterMs } = state
  const by = (spec?.by ?? [])
    .map((part) => ('name' in part ? `${part.kind}:${part.name}` : part.kind))
    .join('+')
  return {
    name,
    limit: showRate({ limit, windowMs }),
    algorithm: spec?.algorithm ?? '',
    by,
    remaining,
    resetSeconds: Math.ceil(resetMs / 1_000),
    ...(retryAfterMs > 0 && { retryAfterSeconds: Math.max(1, Math.ceil(retryAfterMs / 1_000)) }),
  }
}
