import { authFailed } from './auth-failed.ts'
import type { Decision, Deny } from './decision.ts'
import { type Denial, deny, isDenial } from './denials.ts'
import type { Publish } from './events.ts'
import { anonymous, type Caller, identityHeaders } from './identity.ts'
import { type Outcome, requestCompleted } from './outcome.ts'
import type { RequestContext } from './request.ts'
import type { RouteSpec, Routes } from './routes.ts'

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

/** Puts the steps of a decision together: route, identity, scopes. */
export function createGateway(parts: GatewayParts): Gateway {
  const { routes, authenticate, credentialHeaders, publish, onOutcome, randomId } = parts

  function refuse(request: RequestContext, base: Omit<Deny, 'kind'>): Deny {
    publish({
      type: 'auth.failed',
      atMs: request.receivedAtMs,
      requestId: request.requestId,
      data: authFailed(request, base),
    })
    return { kind: 'deny', ...base }
  }

  return {
    async decide(request) {
      const route = routes.match(request.overrides)
      const decisionId = randomId()

      const caller = await authenticate(request, route)
      if (isDenial(caller)) return refuse(request, { decisionId, route, caller: anonymous, denial: caller })

      const denial = authorize(caller, route)
      if (denial) return refuse(request, { decisionId, route, caller, denial })

      const upstreamHeaders = identityHeaders(caller, request.headers.keys(), credentialHeaders)
      return { kind: 'allow', decisionId, route, caller, upstreamHeaders, clientHeaders: [] }
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

/** Asks for every scope of the route. An anonymous caller holds none, and is asked to authenticate instead. */
function authorize(caller: Caller, route: RouteSpec): Denial | undefined {
  if (route.auth === 'none' || route.scopes.length === 0) return undefined
  if (caller.kind === 'anonymous') return deny('missing_token', 'This route asks for a credential.')
  const missing = route.scopes.filter((scope) => !caller.scopes.includes(scope))
  if (missing.length === 0) return undefined
  return deny('insufficient_scope', `The credential lacks the scope ${missing.join(', ')}.`, {
    requiredScopes: route.scopes,
  })
}
