import type { Admission } from './circuits.ts'
import { type Denial, denialRow, deny } from './denials.ts'
import {
  type ExplainedLimit,
  type ExplainedStep,
  type Explanation,
  type StepName,
  stepNames,
} from './explanation.ts'
import { nowhere } from './gateway.ts'
import { anonymous, type Caller } from './identity.ts'
import { retryAfterSeconds } from './limit-headers.ts'
import type { LimitState, LimitVerdict } from './limits.ts'
import { showRate } from './rates.ts'
import type { RequestContext } from './request.ts'
import type { MatchedRoute, RouteSpec, SettingName } from './routes.ts'
import { isShadowed, isShadowing, type ShadowDenial, type ShadowPart } from './shadow.ts'

/** A step that could not tell. */
export interface Faulted {
  kind: 'fault'
  error: Error
}

/** Why a step does not pass. */
export type Failure = Denial | Faulted

/** Tells a failure from what a step finds. */
export function isFailure(value: { kind: string }): value is Failure {
  return value.kind === 'fault' || value.kind === 'denial'
}

/** Runs a step; what it throws is a failure like another. */
export async function attempt<T>(step: () => T | Promise<T>): Promise<T | Faulted> {
  try {
    return await step()
  } catch (error) {
    return { kind: 'fault', error: error as Error }
  }
}

/** The part of the decision that a step belongs to; finding the route is none that could report only. */
const partOf: Readonly<Record<StepName, ShadowPart | undefined>> = {
  route: undefined,
  identity: 'auth',
  scopes: 'auth',
  claims: 'auth',
  circuit: 'circuit',
  limits: 'rate_limit',
}

const settingOf: Readonly<Record<StepName, SettingName | undefined>> = {
  route: undefined,
  identity: 'auth',
  scopes: 'scopes',
  claims: 'claims',
  circuit: 'circuit',
  limits: 'limits',
}

/** Keeps what each step found, and closes the explanation with a verdict. */
export function createJournal({ method, authority, path }: RequestContext, showValues: boolean) {
  const explanation: Explanation = {
    request: { method, authority, path },
    steps: [],
    route: describeRoute(nowhere),
    caller: { kind: 'unknown' },
    limits: [],
    clientHeaders: [],
    verdict: { decision: 'allow', reason: 'ok', detail: 'The request goes on to the upstream.' },
  }
  const shadow: ShadowDenial[] = []
  let route: RouteSpec = nowhere

  function add(step: StepName, outcome: ExplainedStep['outcome'], says: string): void {
    const setting = settingOf[step]
    const source = setting && route.sources?.[setting]
    explanation.steps.push({ step, outcome, says, ...(source !== undefined && { source }) })
  }

  function isDone(step: StepName): boolean {
    return explanation.steps.some((done) => done.step === step)
  }

  /** Scopes and claims are asked for together, and told apart. */
  function exactStep(step: StepName, failure: Failure): StepName {
    return step === 'scopes' && isForClaims(failure, route) ? 'claims' : step
  }

  /** Notes a step that passes, or that has nothing to ask. */
  function noteAsked(step: StepName, asks: boolean, says: string, nothing: string): void {
    add(step, asks ? 'passed' : 'skipped', asks ? says : nothing)
  }

  function closeSteps(): Explanation {
    for (const step of stepNames) if (!isDone(step)) add(step, 'skipped', 'not reached')
    return explanation
  }

  return {
    preflight(): void {
      explanation.caller = describeCaller(anonymous, showValues)
      add('identity', 'passed', 'a CORS preflight passes without identity here')
    },

    routed(match: MatchedRoute): void {
      route = match.spec
      explanation.route = describeRoute(route)
      add('route', 'passed', `${route.name}: ${showMatch(match)}`)
    },

    identified(caller: Caller): undefined {
      explanation.caller = describeCaller(caller, showValues)
      add('identity', 'passed', showCaller(caller))
    },

    /** Scopes and claims; where the identity itself was only reported, there is nothing to ask them of. */
    authorized(caller: Caller, denial: Denial | undefined): Failure | undefined {
      if (shadow.length > 0) return undefined
      const { scopes, claims = [] } = route
      if (denial && !isForClaims(denial, route)) return denial
      const asks = caller.kind !== 'anonymous'
      noteAsked('scopes', asks && scopes.length > 0, `holds ${scopes.join(' ')}`, 'none are asked for')
      const shown = claims.map(({ claim, values }) => `${claim} is one of ${values.join(', ')}`)
      if (!denial) noteAsked('claims', asks && claims.length > 0, shown.join('; '), 'none are asked for')
      return denial
    },

    admitted({ denial }: Admission): Failure | undefined {
      const { service, circuit } = route
      const why = service === undefined ? 'the route names no service' : 'there is none'
      const asks = service !== undefined && circuit !== undefined
      if (!denial) noteAsked('circuit', asks, `the service ${service} may be asked`, why)
      return denial
    },

    /** @returns the refusal of limits that leave no room. */
    limited({ allowed, states }: LimitVerdict): Failure | undefined {
      explanation.limits = states.map((state, at) => describeLimit(route.limits?.[at], state))
      if (!allowed) return tooMany(states)
      const says = states.length === 1 ? 'it leaves room' : `all ${states.length} leave room`
      noteAsked('limits', states.length > 0, says, 'there are none')
      return undefined
    },

    /** Notes a step that does not pass where its part only reports. @returns whether the request goes on. */
    reports(step: StepName, failure: Failure): boolean {
      const part = partOf[step]
      if (part === undefined || !isReported(part, route, failure)) return false
      add(exactStep(step, failure), 'reported', `would be refused: ${sentenceOf(failure)}`)
      shadow.push({ part, reason: failure.kind === 'fault' ? 'fault' : failure.reason })
      if (step === 'identity') explanation.caller = { kind: 'anonymous' }
      return true
    },

    /** Notes the step that decides, and closes the explanation. */
    close(step: StepName, failure: Failure): Explanation {
      add(exactStep(step, failure), failure.kind === 'fault' ? 'fault' : 'refused', sentenceOf(failure))
      explanation.verdict = verdictOf(failure)
      return closeSteps()
    },

    allowed(
      upstreamHeaders: NonNullable<Explanation['upstreamHeaders']>,
      clientHeaders: Explanation['clientHeaders'] = [],
    ): Explanation {
      explanation.upstreamHeaders = upstreamHeaders
      explanation.clientHeaders = clientHeaders
      if (shadow.length > 0) explanation.verdict = { ...explanation.verdict, shadow }
      return closeSteps()
    },
  }
}

function isReported(part: ShadowPart, route: RouteSpec, failure: Failure): boolean {
  return failure.kind === 'fault' ? isShadowing(part, route) : isShadowed(part, route, failure)
}

function isForClaims(failure: Failure, { scopes }: RouteSpec): boolean {
  return scopes.length === 0 || (failure.kind === 'denial' && failure.reason === 'insufficient_claims')
}

function sentenceOf(failure: Failure): string {
  return failure.kind === 'fault' ? failure.error.message : failure.detail
}

function verdictOf(failure: Failure): Explanation['verdict'] {
  if (failure.kind === 'fault') {
    const detail = "There is no verdict: Envoy's failure_mode_allow decides."
    return { decision: 'fault', reason: 'fault', detail, cause: failure.error.message }
  }
  const { reason, detail, cause } = failure
  const status = denialRow(failure).httpStatus
  return { decision: 'deny', status, reason, detail, ...(cause !== undefined && { cause }) }
}

function tooMany(states: readonly LimitState[]): Denial {
  const names = states.filter(({ retryAfterMs }) => retryAfterMs > 0).map(({ name }) => name)
  const detail = `Too many requests: try again in ${retryAfterSeconds(states)} s.`
  return deny('rate_limited', detail, { cause: names.join(' ') })
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
