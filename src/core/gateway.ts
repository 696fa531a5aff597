import { authFailed } from './auth-failed.ts'
import { claimHeader, unmetClaims } from './claims.ts'
import type { Allow, Decision, Deny } from './decision.ts'
import { type Denial, deny, isDenial } from './denials.ts'
import type { Publish } from './events.ts'
import { anonymous, type Caller, type HeaderChanges, identityHeaders } from './identity.ts'
import { type Outcome, requestCompleted } from './outcome.ts'
import type { ClientHeaders, Quota } from './quota.ts'
import type { RequestContext } from './request.ts'
import { type RouteSpec, type Routes, unmatchedRoute } from './routes.ts'

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
  quota: Pick<Quota, 'take'>
  publish: Publish
  /** Told of each outcome beside the event; for metrics. */
  onOutcome: (outcome: Outcome) => void
  /** 128 random bits in hex. */
  randomId: () => string
}

/** Decides over requests and learns how they ended, whichever door they came in by. */
export interface Gateway {
  /** @throws Fault where no verdict can be reached. */
  decide(request: RequestContext): Promise<Decision>
  /** Takes the outcome of a request that has ended. */
  observe(outcome: Outcome): void
}

/** Puts the steps of a decision together: route, identity, scopes and claims, quota. */
export function createGateway(parts: GatewayParts): Gateway {
  const { routes, authenticate, credentialHeaders, quota, publish, onOutcome, randomId } = parts

  function refuse(request: RequestContext, base: Omit<Deny, 'kind'>): Deny {
    publish({
      type: 'auth.failed',
      atMs: request.receivedAtMs,
      requestId: request.requestId,
      data: authFailed(request, base),
    })
    return { kind: 'deny', ...base }
  }

  function allow(
    base: Omit<Allow, 'kind' | 'upstreamHeaders' | 'clientHeaders'>,
    request: RequestContext,
    clientHeaders: ClientHeaders = [],
  ): Allow {
    return {
      kind: 'allow',
      ...base,
      upstreamHeaders: headersForUpstream(base.caller, request, base.route, {
        credentials: credentialHeaders,
        claims: routes.claimHeaders,
      }),
      clientHeaders,
    }
  }

  return {
    async decide(request) {
      const decisionId = randomId()
      const match = routes.match(request)
      if (isDenial(match))
        return { kind: 'deny', decisionId, route: nowhere, caller: anonymous, denial: match }
      const { spec: route, preflight } = match
      if (preflight) return allow({ decisionId, route, caller: anonymous }, request)

      const caller = await authenticate(request, route)
      if (isDenial(caller)) return refuse(request, { decisionId, route, caller: anonymous, denial: caller })

      const denial = authorize(caller, route)
      if (denial) return refuse(request, { decisionId, route, caller, denial })

      const granted = await quota.take({ route, caller, request })
      if (isDenial(granted)) return { kind: 'deny', decisionId, route, caller, denial: granted }
      return allow({ decisionId, route, caller }, request, granted.headers)
    },

    observe(outcome) {
      publish({
        type: 'request.completed',
        atMs: outcome.startedAtMs + outcome.durationMs,
        requestId: outcome.requestId,
        data: requestCompleted(outcome),
      })
      onOutcome(outcome)
    },
  }
}

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
