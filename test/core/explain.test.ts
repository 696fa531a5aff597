import { describe, expect, test } from '@jest/globals'
import { type Denial, deny } from '../../src/core/denials.ts'
import { explain } from '../../src/core/explain.ts'
import { type ExplainRequest, explainContext, explainOptions } from '../../src/core/explain-request.ts'
import type { Explanation } from '../../src/core/explanation.ts'
import { Fault } from '../../src/core/fault.ts'
import type { Authenticate } from '../../src/core/gateway.ts'
import { anonymous, type Caller, type Identity } from '../../src/core/identity.ts'
import type { LimitSpec } from '../../src/core/limits.ts'
import { createQuota } from '../../src/core/quota.ts'
import { createRoutes, type RoutePolicy, type RouteSpec } from '../../src/core/routes.ts'
import { MemoryLimiter } from '../../src/ratelimit/memory.ts'
import { specWith } from '../support/circuit-specs.ts'
import { noCircuits } from '../support/circuits.ts'

const nowMs = Date.UTC(2030, 0, 1)

const alice: Identity = {
  kind: 'token',
  issuer: 'https://login.example.com/',
  userId: 'alice',
  clientId: 'shop',
  scopes: ['read:users'],
  claims: { tier: 'gold', email: 'alice@example.com' },
}

function limit(name: string, perMinute: number): LimitSpec {
  return {
    name,
    owner: 'defaults',
    rate: { limit: perMinute, windowMs: 60_000 },
    algorithm: 'gcra',
    by: [{ kind: 'client' }, { kind: 'header', name: 'x-tenant' }],
    cost: 1,
  }
}

const users: RouteSpec = {
  name: 'users',
  service: 'user-service',
  auth: 'required',
  scopes: ['read:users'],
  claims: [{ claim: 'tier', values: ['gold', 'silver'] }],
  limits: [limit('fair', 2), limit('wide', 9)],
  claimHeaders: [{ header: 'x-tier', claim: 'tier' }],
  sources: {
    service: `the policy's route "users"`,
    auth: 'the environment',
    scopes: `the policy's route "users"`,
    claims: `the policy's route "users"`,
    limits: "the policy's defaults",
  },
}

const policy: RoutePolicy = {
  defaults: { name: 'unmatched', auth: 'none', scopes: ['never:asked'] },
  routes: [
    { match: { host: 'api.example.com', path: '/users/{id}', methods: ['GET', 'PUT'] }, spec: users },
    { match: { path: '/cors' }, spec: { ...users, name: 'cors', allowPreflight: true } },
    { match: { path: '/guarded' }, spec: { ...users, name: 'guarded', circuit: specWith() } },
  ],
}

/** Explains a request of a caller, over real routes and counters. */
function setUp(caller: Caller | Denial | Error = alice) {
  const limiter = new MemoryLimiter()
  const told: unknown[] = []
  const quota = createQuota({
    limiter,
    hash: (text) => text,
    publish: (event) => told.push(event),
    events: 'all',
  })
  const authenticate: Authenticate = () => {
    if (caller instanceof Error) throw caller
    return caller
  }
  const parts = {
    routes: createRoutes(policy),
    authenticate,
    credentialHeaders: ['x-api-key'],
    circuits: noCircuits,
    quota,
  }
  return {
    told,
    limiter,
    take: () =>
      quota.take({
        route: users,
        caller: alice,
        request: explainContext({ method: 'GET', path: '/' }, nowMs),
      }),
    explain: (asked: Partial<ExplainRequest> = {}) => {
      const request = { method: 'GET', path: '/users/7', host: 'api.example.com', ...asked }
      return explain(parts, explainContext(request, nowMs), explainOptions(request))
    },
  }
}

/** The steps in a line. */
function course({ steps }: Explanation): string {
  return steps.map(({ step, outcome }) => `${step} ${outcome}`).join(', ')
}

function says({ steps }: Explanation, wanted: string): string | undefined {
  return steps.find(({ step }) => step === wanted)?.says
}

describe('a request that passes', () => {
  test('by a route that Envoy’s names is told so: host and path of the rule are none of its own', async () => {
    const named = await setUp().explain({
      path: '/else',
      host: 'other.example.com',
      route_settings: { route: 'users' },
    })
    const labelled = await setUp().explain({ route_settings: { route: 'a-label' } })

    expect([says(named, 'route'), says(labelled, 'route')]).toEqual([
      "users: named by Envoy's route, methods GET PUT",
      'a-label: host api.example.com, path /users/{id}, methods GET PUT',
    ])
  })

  test('is explained step by step, each with the source of its settings', async () => {
    const { steps, verdict, route } = await setUp().explain()

    expect(steps).toEqual([
      {
        step: 'route',
        outcome: 'passed',
        says: 'users: host api.example.com, path /users/{id}, methods GET PUT',
      },
      {
        step: 'identity',
        outcome: 'passed',
        says: 'by token of https://login.example.com/: user alice, client shop',
        source: 'the environment',
      },
      { step: 'scopes', outcome: 'passed', says: 'holds read:users', source: `the policy's route "users"` },
      {
        step: 'claims',
        outcome: 'passed',
        says: 'tier is one of gold, silver',
        source: `the policy's route "users"`,
      },
      { step: 'circuit', outcome: 'skipped', says: 'there is none' },
      { step: 'limits', outcome: 'passed', says: 'all 2 leave room', source: "the policy's defaults" },
    ])
    expect(verdict).toEqual({
      decision: 'allow',
      reason: 'ok',
      detail: 'The request goes on to the upstream.',
    })
    expect(route).toEqual({
      name: 'users',
      service: 'user-service',
      auth: 'required',
      sources: users.sources,
    })
  })

  test('shows each limit with what is left now', async () => {
    const { explain, take } = setUp()
    await take()

    const { limits } = await explain()

    expect(limits).toEqual([
      {
        name: 'fair',
        limit: '2/1m',
        algorithm: 'gcra',
        by: 'client+header:x-tenant',
        remaining: 1,
        resetSeconds: 30,
      },
      {
        name: 'wide',
        limit: '9/1m',
        algorithm: 'gcra',
        by: 'client+header:x-tenant',
        remaining: 8,
        resetSeconds: 7,
      },
    ])
  })

  test('shows what the upstream and the client would get', async () => {
    const { upstreamHeaders, clientHeaders } = await setUp().explain({
      headers: { 'X-User-Id': 'root', 'x-api-key': 'gp_a_b', 'x-gatepost-x': '1' },
    })

    expect(upstreamHeaders).toEqual({
      set: [
        ['x-user-id', 'alice'],
        ['x-client-id', 'shop'],
        ['x-auth-scopes', 'read:users'],
        ['x-auth-issuer', 'https://login.example.com/'],
        ['x-tier', 'gold'],
      ],
      remove: ['x-api-key', 'x-gatepost-x'],
    })
    expect(clientHeaders.map(([name]) => name)).toEqual([
      'ratelimit',
      'ratelimit-policy',
      'x-ratelimit-limit',
      'x-ratelimit-remaining',
      'x-ratelimit-reset',
    ])
  })

  test('where no route fits says so, and asks what the defaults ask', async () => {
    const explanation = await setUp(anonymous).explain({ path: '/else' })

    expect(course(explanation)).toBe(
      'route passed, identity passed, scopes skipped, claims skipped, circuit skipped, limits skipped',
    )
    expect(says(explanation, 'route')).toBe('unmatched: no route of the policy fits, the defaults hold')
    expect(says(explanation, 'identity')).toBe('anonymous: no credential was shown, and none is needed')
    expect(says(explanation, 'limits')).toBe('there are none')
    expect(explanation.caller).toEqual({ kind: 'anonymous' })
  })

  test('with a circuit that no request has made yet says that the service may be asked', async () => {
    const explanation = await setUp().explain({ path: '/guarded' })

    expect(explanation.steps.find(({ step }) => step === 'circuit')).toMatchObject({
      outcome: 'passed',
      says: 'the service user-service may be asked',
    })
  })

  test('as a preflight needs nobody', async () => {
    const explanation = await setUp(new Fault('auth', 'asked')).explain({
      path: '/cors',
      method: 'OPTIONS',
      headers: {
        origin: 'https://app.example.com',
        'access-control-request-method': 'PUT',
        'x-tier': 'gold',
      },
    })

    expect(course(explanation)).toBe(
      'route passed, identity passed, scopes skipped, claims skipped, circuit skipped, limits skipped',
    )
    expect(explanation).toMatchObject({
      verdict: { decision: 'allow' },
      upstreamHeaders: { set: [], remove: expect.arrayContaining(['x-tier']) },
    })
    expect(says(explanation, 'identity')).toBe('a CORS preflight passes without identity here')
  })
})

describe('a request that is refused', () => {
  const poor: Identity = { ...alice, scopes: [], claims: {} }
  const bad = { ...deny('invalid_token', 'The token has expired.'), cause: 'expired' }

  test.each<[string, Caller | Denial, Partial<ExplainRequest>, string, object]>([
    [
      'by its method',
      alice,
      { method: 'DELETE' },
      'route refused, identity skipped, scopes skipped, claims skipped, circuit skipped, limits skipped',
      { status: 405, reason: 'method_not_allowed' },
    ],
    [
      'by its path',
      alice,
      { path: '/users%2f7' },
      'route refused, identity skipped, scopes skipped, claims skipped, circuit skipped, limits skipped',
      { status: 400, reason: 'invalid_path' },
    ],
    [
      'for its credential',
      bad,
      {},
      'route passed, identity refused, scopes skipped, claims skipped, circuit skipped, limits skipped',
      { status: 401, reason: 'invalid_token', cause: 'expired' },
    ],
    [
      'for want of a scope',
      poor,
      {},
      'route passed, identity passed, scopes refused, claims skipped, circuit skipped, limits skipped',
      { status: 403, reason: 'insufficient_scope', detail: 'The credential lacks the scope read:users.' },
    ],
    [
      'for want of a claim',
      { ...alice, claims: {} },
      {},
      'route passed, identity passed, scopes passed, claims refused, circuit skipped, limits skipped',
      { status: 403, reason: 'insufficient_claims' },
    ],
  ])('%s ends there, with the reason', async (_what, caller, asked, steps, verdict) => {
    const explanation = await setUp(caller).explain(asked)

    expect(course(explanation)).toBe(steps)
    expect(explanation.verdict).toMatchObject({ decision: 'deny', ...verdict })
    expect(explanation.upstreamHeaders).toBeUndefined()
  })

  test('for want of a credential, where claims alone are asked for, is refused for the claims', async () => {
    const explanation = await setUp(anonymous).explain({ route_settings: { auth: 'optional', scopes: '' } })

    expect(course(explanation)).toBe(
      'route passed, identity passed, scopes skipped, claims refused, circuit skipped, limits skipped',
    )
    expect(explanation.verdict).toMatchObject({ status: 401, reason: 'missing_token' })
  })

  test('for asking too often tells which limits refuse, and when to come again', async () => {
    const { explain, take } = setUp()
    await take()
    await take()

    const explanation = await explain()

    expect(course(explanation)).toBe(
      'route passed, identity passed, scopes passed, claims passed, circuit skipped, limits refused',
    )
    expect(explanation.verdict).toEqual({
      decision: 'deny',
      status: 429,
      reason: 'rate_limited',
      detail: 'Too many requests: try again in 30 s.',
      cause: 'fair',
    })
    expect(explanation.limits).toMatchObject([
      { name: 'fair', remaining: 0, retryAfterSeconds: 30 },
      { name: 'wide', remaining: 7 },
    ])
    expect(explanation.limits[1]).not.toHaveProperty('retryAfterSeconds')
  })
})

describe('a request without a verdict', () => {
  test.each<[string, Caller | Denial | Error, Partial<ExplainRequest>, string, RegExp]>([
    [
      'for a bad setting of Envoy’s route',
      alice,
      { route_settings: { auth: 'off' } },
      'route fault',
      /setting auth/,
    ],
    [
      'for an issuer that cannot tell',
      new Fault('auth', 'it has no keys'),
      {},
      'identity fault',
      /it has no keys/,
    ],
  ])('%s', async (_what, caller, asked, step, cause) => {
    const explanation = await setUp(caller).explain(asked)

    expect(course(explanation)).toContain(step)
    expect(explanation.verdict).toMatchObject({
      decision: 'fault',
      detail: "There is no verdict: Envoy's failure_mode_allow decides.",
      cause: expect.stringMatching(cause),
    })
    expect(explanation.verdict.status).toBeUndefined()
  })
})

describe('explaining changes nothing', () => {
  test('of any verdict takes no quota, makes no counter and tells nobody', async () => {
    const { explain, take, told, limiter } = setUp()
    for (let at = 0; at < 20; at += 1) await explain()
    const sizeBefore = limiter.size

    const kinds = [await take(), await take(), await take()].map(({ kind }) => kind)
    const toldByTaking = told.length
    for (let at = 0; at < 20; at += 1) await explain()

    expect(sizeBefore).toBe(0)
    expect(kinds).toEqual(['granted', 'granted', 'denial'])
    expect([toldByTaking, told.length]).toEqual([1, 1])
  })
})

describe('claims', () => {
  test('are shown by their names alone', async () => {
    const explanation = await setUp().explain()

    expect(explanation.caller.claims).toEqual(['tier', 'email'])
    expect(JSON.stringify(explanation)).not.toContain('alice@example.com')
  })

  test('are shown with their values where that is asked for', async () => {
    expect((await setUp().explain({ show_values: true })).caller.claims).toEqual(alice.claims)
  })
})

describe('the request to be explained', () => {
  test('has defaults for all but method and path', () => {
    expect(explainContext({ method: 'GET', path: '/a?b' }, nowMs)).toEqual({
      door: 'ext_authz',
      receivedAtMs: nowMs,
      requestId: '',
      method: 'GET',
      authority: '',
      path: '/a?b',
      headers: new Map(),
      overrides: {},
      clientAddress: undefined,
      principal: undefined,
    })
  })

  test('has its headers as a door would have them: lower-case, repeated ones in one', () => {
    const { headers, authority, requestId } = explainContext(
      {
        method: 'GET',
        path: '/',
        headers: {
          Authorization: 'Bearer a',
          authorization: ['Bearer b', 'Bearer c'],
          Host: 'h',
          'X-Request-ID': '7',
        },
      },
      nowMs,
    )

    expect(headers.get('authorization')).toBe('Bearer a,Bearer b,Bearer c')
    expect([authority, requestId]).toEqual(['h', '7'])
  })
})
