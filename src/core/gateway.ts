import { authFailed } from './auth-failed.ts'
import { type Admission, type Circuits, unguarded } from './circuits.ts'
import { claimHeader, unmetClaims } from './claims.ts'
import type { Allow, Decision, Deny } from './decision.ts'
import { type Denial, deny, isDenial } from './denials.ts'
import type { Publish } from './events.ts'
import { anonymous, type Caller, type HeaderChanges, identityHeaders } from './identity.ts'
import { type Outcome, requestCompleted } from './outcome.ts'
import type { ClientHeaders, Quota, QuotaResult } from './quota.ts'
import type { RequestContext } from './request.ts'
import { type RouteSpec, type Routes, unmatchedRoute } from './routes.ts'
import { createShadow, isShadowing, type Shadow, tellShadow } from './shadow.ts'

/** Establishes who is calling; a bad credential is a denial, an unreachable issuer a thrown fault. */
export type Authenticate = (
  request: Pick<RequestContext, 'headers' | 'receivedAtMs' | 'principal'>,
  route: RouteSpec,
) => Caller | Denial | Promise<Caller | Denial>

/** The parts of the gateway, each handed over. */
export interface GatewayParts {
  routes: Routes
  authenticate: Authenticate
  /** Headers that carry credentials for Gatepost alone: no upstream gets them. */
  credentialHeaders: readonly string[]
  circuits: Circuits
  quota: Pick<Quota, 'take'>
  publish: Publish
  /** Told of each outcome beside the event; for metrics. */
  onOutcome: (outcome: Outcome) => void
  /** Told where a part could not tell, of a request that goes on because the part is in shadow mode. */
  onShadowFault: (error: unknown, request: RequestContext) => void
  /** Whether clients are told, by {@link shadowHeader}, what would have refused them. */
  tellsShadow: boolean
  /** 128 random bits in hex. */
  randomId: () => string
  /** Milliseconds since the epoch. */
  now: () => number
}

/** Decides over requests and learns how they ended, whichever door they came in by. */
export interface Gateway {
  /** @throws Fault where no verdict can be reached. */
  decide(request: RequestContext): Promise<Decision>
  /** Takes the outcome of a request that has ended. */
  observe(outcome: Outcome): void
}

/** Puts the steps of a decision together: route, identity, scopes and claims, circuit, quota. */
export function createGateway(parts: GatewayParts): Gateway {
  const { routes, authenticate, circuits, quota, publish, onOutcome, onShadowFault, randomId, now } = parts

  /** Establishes who is calling and whether they may; tells of a refusal, also of one that is only reported. */
  async function identify({ request, route, shadow }: Asked): Promise<{ caller: Caller; denial?: Denial }> {
    const judged = await shadow.survive('auth', () => authenticate(request, route))
    if (judged === undefined) return { caller: anonymous }
    const caller = isDenial(judged) ? anonymous : judged
    const denial = isDenial(judged) ? judged : authorize(judged, route)
    if (!denial) return { caller }
    const isReported = shadow.reports('auth', denial)
    publish({
      type: 'auth.failed',
      atMs: request.receivedAtMs,
      requestId: request.requestId,
      data: authFailed(request, { denial, route, caller }, isReported),
    })
    return isReported ? { caller } : { caller, denial }
  }

  /** Says whether the upstream is fit, which costs nothing: nobody should pay quota for one that is down. */
  function checkFitness({ request, route, shadow }: Asked): Denial | undefined {
    const { denial } = circuits.peek(route, request.receivedAtMs)
    return denial && shadow.reports('circuit', denial) ? undefined : denial
  }

  async function takeQuota({ request, route, shadow }: Asked, caller: Caller): Promise<QuotaResult> {
    const taken = await shadow.survive('rate_limit', () => quota.take({ route, caller, request }))
    if (taken === undefined) return ungranted
    return isDenial(taken) && shadow.reports('rate_limit', taken) ? ungranted : taken
  }

  /** Only once the quota is taken: a request that it stops must not use up a probe's turn. */
  function admit({ request, route }: Asked): Admission {
    const isReportOnly = isShadowing('circuit', route)
    return circuits[isReportOnly ? 'pass' : 'admit'](route, request.receivedAtMs)
  }

  function allow(passage: Passage, request: RequestContext, granted: ClientHeaders = []): Allow {
    const { caller, route, shadow } = passage
    const guarded = { credentials: parts.credentialHeaders, claims: routes.claimHeaders }
    return {
      kind: 'allow',
      ...passage,
      upstreamHeaders: headersForUpstream(caller, request, route, guarded),
      clientHeaders: parts.tellsShadow && shadow.length > 0 ? [...granted, tellShadow(shadow)] : granted,
    }
  }

  /** Goes through the steps of one route: the first that refuses has decided. */
  async function decideOn(route: RouteSpec, request: RequestContext, decisionId: string): Promise<Decision> {
    const shadow = createShadow(route, (error) => onShadowFault(error, request))
    const asked = { request, route, shadow }

    const { caller, denial } = await identify(asked)
    const base = { decisionId, route, caller }
    if (denial) return refuse(base, denial)

    const unfit = checkFitness(asked)
    if (unfit) return refuse(base, unfit)

    const granted = await takeQuota(asked, caller)
    if (isDenial(granted)) return refuse(base, granted)

    const admission = admit(asked)
    if (admission.denial) return refuse(base, admission.denial)
    return allow({ ...base, admission, shadow: shadow.reported }, request, granted.headers)
  }

  return {
    async decide(request) {
      const decisionId = randomId()
      const match = routes.match(request)
      if (isDenial(match)) return refuse({ decisionId, route: nowhere, caller: anonymous }, match)
      const { spec: route, preflight } = match
      if (!preflight) return decideOn(route, request, decisionId)
      return allow({ decisionId, route, caller: anonymous, admission: unguarded, shadow: [] }, request)
    },

    observe(outcome) {
      publish({
        type: 'request.completed',
        atMs: outcome.startedAtMs + outcome.durationMs,
        requestId: outcome.requestId,
        data: requestCompleted(outcome),
      })
      onOutcome(outcome)
      circuits.record(outcome, now())
    },
  }
}

/** A request on its way through the steps. */
interface Asked {
  request: RequestContext
  route: RouteSpec
  shadow: Shadow
}

/** What stands in for a quota that only reports. */
const ungranted: QuotaResult = { kind: 'granted', headers: [] }

function refuse(base: Omit<Deny, 'kind' | 'denial'>, denial: Denial): Deny {
  return { kind: 'deny', ...base, denial }
}

/** An allow before its headers are made. */
type Passage = Omit<Allow, 'kind' | 'upstreamHeaders' | 'clientHeaders'>

/** Headers that no client's copy of may pass. */
export interface GuardedHeaders {
  /** Those that carry credentials for Gatepost alone. */
  credentials: readonly string[]
  /** Those that some route fills from claims. */
  claims: readonly string[]
}

/** Says how the upstream's request differs from the client's. */
export function headersForUpstream(
  caller: Caller,
  { headers }: Pick<RequestContext, 'headers'>,
  route: RouteSpec,
  guarded: GuardedHeaders,
): HeaderChanges {
  const { set, remove } = identityHeaders(caller, headers.keys(), guarded.credentials)
  const mapped = (route.claimHeaders ?? []).map(
    ({ header, claim }) => [header, claimHeader(caller, claim)] as const,
  )
  const filled = mapped.filter((entry): entry is readonly [string, string] => entry[1] !== undefined)
  const forged = guarded.claims.filter((name) => headers.has(name) && !filled.some(([own]) => own === name))
  return { set: [...set, ...filled], remove: [...remove, ...forged] }
}

/** Stands for the route of a request that could not be matched. */
export const nowhere: RouteSpec = { name: unmatchedRoute, auth: 'required', scopes: [] }

/**
 * Asks for every scope and claim of the route. An anonymous caller has none, and is asked to authenticate instead.
 */
export function authorize(caller: Caller, { auth, scopes, claims = [] }: RouteSpec): Denial | undefined {
  if (auth === 'none' || scopes.length + claims.length === 0) return undefined
  if (caller.kind === 'anonymous') return deny('missing_token', 'This route asks for a credential.')
  const missing = scopes.filter((scope) => !caller.scopes.includes(scope))
  if (missing.length > 0) {
    return deny('insufficient_scope', `The credential lacks the scope ${missing.join(', ')}.`, {
      requiredScopes: scopes,
    })
  }
  const [unmet] = unmetClaims(caller, claims)
  return (
    unmet &&
    deny('insufficient_claims', `The credential lacks the claim ${unmet.claim} that this route asks for.`)
  )
}
