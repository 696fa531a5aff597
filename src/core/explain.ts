import type { Circuits } from './circuits.ts'
import { attempt, createJournal, type Failure, isFailure } from './explain-journal.ts'
import type { Explanation, StepName } from './explanation.ts'
import { type Authenticate, authorize, type GuardedHeaders, headersForUpstream } from './gateway.ts'
import { anonymous, type Caller } from './identity.ts'
import { limitHeaders } from './limit-headers.ts'
import type { Quota } from './quota.ts'
import type { RequestContext } from './request.ts'
import type { Routes } from './routes.ts'
import { isShadowing } from './shadow.ts'

/** What explaining is made of: the steps of the gateway, in forms that change nothing. */
export interface ExplainParts {
  routes: Pick<Routes, 'match' | 'claimHeaders'>
  authenticate: Authenticate
  credentialHeaders: readonly string[]
  circuits: Pick<Circuits, 'peek'>
  quota: Pick<Quota, 'peek'>
}

/** What an explanation may show. */
export interface ExplainOptions {
  /** Claims with their values; else their names alone. */
  showValues: boolean
}

/** Goes the way of a decision and writes down each step. */
export async function explain(
  { routes, authenticate, credentialHeaders, circuits, quota }: ExplainParts,
  request: RequestContext,
  { showValues }: ExplainOptions,
): Promise<Explanation> {
  const journal = createJournal(request, showValues)
  const guarded: GuardedHeaders = { credentials: credentialHeaders, claims: routes.claimHeaders }

  const match = await attempt(() => routes.match(request))
  if (match.kind !== 'route') return journal.close('route', match)
  const { spec: route } = match
  journal.routed(match)
  if (match.preflight) {
    journal.preflight()
    return journal.allowed(headersForUpstream(anonymous, request, route, guarded))
  }

  let caller: Caller = anonymous
  let headers: Explanation['clientHeaders'] = []

  async function identify(): Promise<Failure | undefined> {
    const judged = await attempt(() => authenticate(request, route))
    if (isFailure(judged)) return judged
    caller = judged
    return journal.identified(judged)
  }

  async function takeQuota(): Promise<Failure | undefined> {
    const verdict = await attempt(() => quota.peek({ route, caller, request }))
    if ('kind' in verdict) return verdict
    if (verdict.allowed && !isShadowing('rate_limit', route)) headers = limitHeaders(verdict)
    return journal.limited(verdict)
  }

  // The order in which the gateway goes; the first that refuses has decided.
  const steps: readonly (readonly [StepName, () => MaybePromise<Failure | undefined>])[] = [
    ['identity', identify],
    ['scopes', () => journal.authorized(caller, authorize(caller, route))],
    ['circuit', () => journal.admitted(circuits.peek(route, request.receivedAtMs))],
    ['limits', takeQuota],
  ]
  for (const [step, run] of steps) {
    const failure = await run()
    if (failure && !journal.reports(step, failure)) return journal.close(step, failure)
  }
  return journal.allowed(headersForUpstream(caller, request, route, guarded), headers)
}

type MaybePromise<T> = T | Promise<T>
