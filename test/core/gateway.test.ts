import { describe, expect, test } from '@jest/globals'
import { type Denial, deny } from '../../src/core/denials.ts'
import { Fault } from '../../src/core/fault.ts'
import { type Authenticate, createGateway } from '../../src/core/gateway.ts'
import { anonymous, type Caller, type Identity } from '../../src/core/identity.ts'
import type { QuotaResult } from '../../src/core/quota.ts'
import type { RouteOverrides } from '../../src/core/request.ts'
import { createRoutes, type RoutePolicy, type RouteSpec } from '../../src/core/routes.ts'
import { noCircuits } from '../support/circuits.ts'
import { requestWith } from '../support/requests.ts'

const token: Identity = {
  kind: 'token',
  issuer: 'https://login.example.com/',
  userId: 'auth0|42',
  scopes: ['read:a', 'read:b'],
  claims: {},
}

const ignore = () => undefined

const quiet = { circuits: noCircuits, onShadowFault: ignore, tellsShadow: false, now: () => 0 }

function gateway(authenticate: Authenticate, scopes: readonly string[] = []) {
  let ids = 0
  const randomId = () => {
    ids += 1
    return `id-${ids}`
  }
  const routes = createRoutes({ defaults: { name: 'unmatched', auth: 'required', scopes }, routes: [] })
  return createGateway({
    routes,
    authenticate,
    credentialHeaders: [],
    ...quiet,
    quota: { take: () => ({ kind: 'granted', headers: [] }) },
    randomId,
    publish: ignore,
    onOutcome: ignore,
  })
}

const badToken = deny('invalid_token', 'The token has expired.')

describe('decides', () => {
  test.each<[string, Caller | Denial, RouteOverrides, string]>([
    ['a token where none of its scopes is asked for', token, {}, 'allow'],
    ['a token that holds the one scope', token, { scopes: 'read:a' }, 'allow'],
    ['a token that holds every scope', token, { scopes: 'read:b,read:a' }, 'allow'],
    ['a token that lacks one of two scopes', token, { scopes: 'read:a,write:a' }, 'insufficient_scope'],
    ['a scope in other letters', token, { scopes: 'READ:A' }, 'insufficient_scope'],
    ['a refused token', badToken, {}, 'invalid_token'],
    ['a refused token on an optional route', badToken, { auth: 'optional' }, 'invalid_token'],
    ['an anonymous caller on an optional route', anonymous, { auth: 'optional' }, 'allow'],
    [
      'an anonymous caller where scopes are',
      anonymous,
      { auth: 'optional', scopes: 'read:a' },
      'missing_token',
    ],
    ['an anonymous caller on an open route', anonymous, { auth: 'none', scopes: 'read:a' }, 'allow'],
  ])('%s', async (_who, caller, overrides, verdict) => {
    const { decide } = gateway(() => caller)

    const decision = await decide(requestWith({}, { overrides }))

    expect(decision.kind === 'allow' ? 'allow' : decision.denial.reason).toBe(verdict)
  })
})

test('the scopes of the environment hold where the route says nothing, and yield where it does', async () => {
  const { decide } = gateway(() => token, ['write:all'])

  const unsaid = await decide(requestWith())
  const cleared = await decide(requestWith({}, { overrides: { scopes: '' } }))

  expect(unsaid).toMatchObject({ kind: 'deny', denial: { reason: 'insufficient_scope' } })
  expect(cleared.kind).toBe('allow')
})

test('the denial for missing scopes names all that are asked for, and says which are missing', async () => {
  const { decide } = gateway(() => token)

  const decision = await decide(requestWith({}, { overrides: { scopes: 'read:a,write:a,write:b' } }))

  expect(decision).toMatchObject({
    caller: token,
    denial: {
      requiredScopes: ['read:a', 'write:a', 'write:b'],
      detail: 'The credential lacks the scope write:a, write:b.',
    },
  })
})

test('an allow tells the upstream who is calling and takes forged headers away', async () => {
  const { decide } = gateway(() => token)

  const decision = await decide(requestWith({ 'x-user-id': 'root', 'x-gatepost-probe': '1' }))

  expect(decision).toMatchObject({
    kind: 'allow',
    upstreamHeaders: {
      set: [
        ['x-user-id', 'auth0|42'],
        ['x-auth-scopes', 'read:a read:b'],
        ['x-auth-issuer', 'https://login.example.com/'],
      ],
      remove: ['x-client-id', 'x-gatepost-probe'],
    },
  })
})

test('a refused caller is nobody: nothing of an unverified token is repeated', async () => {
  const { decide } = gateway(() => badToken)

  await expect(decide(requestWith())).resolves.toMatchObject({ kind: 'deny', caller: anonymous })
})

test('the step that authenticates sees the request and its route', async () => {
  const seen: unknown[] = []
  const { decide } = gateway((request, route) => {
    seen.push(request, route.name)
    return token
  })
  const request = requestWith({ accept: '*/*' }, { overrides: { route: 'users' } })

  await decide(request)

  expect(seen).toEqual([request, 'users'])
})

test('every decision has an id of its own', async () => {
  const { decide } = gateway(() => token)

  const ids = [await decide(requestWith()), await decide(requestWith())].map(({ decisionId }) => decisionId)

  expect(ids).toEqual(['id-1', 'id-2'])
})

describe('gives no verdict', () => {
  test('where the caller cannot be established', async () => {
    const { decide } = gateway(() => Promise.reject(new Fault('auth', 'no keys')))

    await expect(decide(requestWith())).rejects.toThrow('no keys')
  })

  test('where the route’s settings make no sense, and asks nobody who they are', async () => {
    let asked = false
    const { decide } = gateway(() => {
      asked = true
      return token
    })

    await expect(decide(requestWith({}, { overrides: { auth: 'off' } }))).rejects.toThrow(Fault)
    expect(asked).toBe(false)
  })
})

describe('by the policy', () => {
  const required: RouteSpec = { name: 'unmatched', auth: 'required', scopes: [] }
  const gold = { ...token, claims: { tier: 'gold', org: { id: 'acme' }, bad: 'a\nb' } }
  const policy: RoutePolicy = {
    defaults: required,
    routes: [
      {
        match: { path: '/gold', methods: ['GET'] },
        spec: {
          ...required,
          name: 'gold',
          claims: [
            { claim: 'tier', values: ['gold'] },
            { claim: 'org.id', values: ['acme', 'other'] },
          ],
        },
      },
      {
        match: { path: '/filled' },
        spec: {
          ...required,
          name: 'filled',
          auth: 'optional',
          allowPreflight: true,
          claimHeaders: [
            { header: 'x-tier', claim: 'tier' },
            { header: 'x-bad', claim: 'bad' },
          ],
        },
      },
      { match: { path: '/open' }, spec: { ...required, name: 'open', auth: 'none' } },
    ],
  }

  /** A gateway of this policy that writes down its steps and what it told. */
  function watched(
    caller: Caller | Denial,
    quota: QuotaResult = { kind: 'granted', headers: [['x-left', '7']] },
  ) {
    const steps: string[] = []
    const told: string[] = []
    const { decide } = createGateway({
      ...quiet,
      routes: createRoutes(policy),
      authenticate(_request, route) {
        steps.push(`authenticate ${route.name}`)
        return caller
      },
      credentialHeaders: ['x-api-key'],
      quota: {
        take({ route }) {
          steps.push(`take ${route.name}`)
          return quota
        },
      },
      randomId: () => 'id',
      publish: ({ type, data }) => told.push(`${type} ${'reason' in data ? data.reason : ''}`.trim()),
      onOutcome: ignore,
    })
    return { decide, steps, told }
  }

  test.each<[string, Caller, string]>([
    ['both claims', gold, 'allow'],
    [
      'another value of one',
      { ...gold, claims: { tier: 'silver', org: { id: 'acme' } } },
      'insufficient_claims',
    ],
    ['one claim alone', { ...gold, claims: { tier: 'gold' } }, 'insufficient_claims'],
    ['no claims', token, 'insufficient_claims'],
    ['nobody', anonymous, 'missing_token'],
  ])('a route that asks for claims is asked by %s: %s', async (_who, caller, verdict) => {
    const { decide, told } = watched(caller)

    const decision = await decide(requestWith({}, { path: '/gold' }))

    expect(decision.kind === 'allow' ? 'allow' : decision.denial.reason).toBe(verdict)
    expect(told).toEqual(verdict === 'allow' ? [] : [`auth.failed ${verdict}`])
  })

  test('a denial for claims names the first that is missing, and none of the values', async () => {
    const { decide } = watched({ ...token, claims: { tier: 'secret-tier' } })

    const decision = await decide(requestWith({}, { path: '/gold' }))

    expect(decision).toMatchObject({
      denial: { detail: 'The credential lacks the claim tier that this route asks for.' },
    })
    expect(JSON.stringify((decision as { denial: Denial }).denial)).not.toMatch(/gold|secret-tier/)
  })

  test('claims fill the headers of their route, and what no header can carry is left out', async () => {
    const { decide } = watched(gold)

    const decision = await decide(requestWith({}, { path: '/filled' }))

    expect(decision).toMatchObject({ upstreamHeaders: { set: expect.arrayContaining([['x-tier', 'gold']]) } })
    expect(JSON.stringify(decision.kind === 'allow' && decision.upstreamHeaders)).not.toContain('x-bad')
  })

  test.each([
    ['the route that fills them, from other claims', '/filled', token, ['x-bad', 'x-tier']],
    ['the route that fills them, for nobody', '/filled', anonymous, ['x-bad', 'x-tier']],
    ['the route that fills them, where it fills one', '/filled', gold, ['x-bad']],
    ['a route that fills none', '/gold', gold, ['x-bad', 'x-tier']],
    ['a route without auth', '/open', anonymous, ['x-bad', 'x-tier']],
    ['no route at all', '/else', gold, ['x-bad', 'x-tier']],
  ])('no client’s copy of such a header is believed on %s', async (_where, path, caller: Caller, removed) => {
    const { decide } = watched(caller)

    const decision = await decide(
      requestWith({ 'x-tier': 'platinum', 'x-bad': 'forged', 'x-api-key': 'gp_a_b' }, { path }),
    )

    const { set = [], remove = [] } = decision.kind === 'allow' ? decision.upstreamHeaders : {}
    expect(remove.filter((name) => /^x-(tier|bad)$/.test(name)).sort()).toEqual(removed)
    expect(remove).toContain('x-api-key')
    // Envoy's ext_authz removes last: a name in both would arrive absent.
    expect(set.map(([name]) => name).filter((name) => remove.includes(name))).toEqual([])
  })

  test('a preflight passes with no identity, no quota and no forged header, and nobody is told', async () => {
    const { decide, steps, told } = watched(badToken)
    const headers = {
      origin: 'https://app.example.com',
      'access-control-request-method': 'PUT',
      authorization: 'Bearer bad',
      'x-tier': 'platinum',
      'x-user-id': 'root',
    }

    const decision = await decide(requestWith(headers, { path: '/filled', method: 'OPTIONS' }))

    expect(decision).toMatchObject({ kind: 'allow', caller: anonymous, route: { name: 'filled' } })
    expect(decision).toMatchObject({
      upstreamHeaders: { set: [], remove: expect.arrayContaining(['x-tier', 'x-user-id']) },
      clientHeaders: [],
    })
    expect([steps, told]).toEqual([[], []])
  })

  test.each([
    ['a method that the route does not offer', { path: '/gold', method: 'PUT' }, 'method_not_allowed'],
    ['an unclear path', { path: '/gold%2f' }, 'invalid_path'],
  ])('%s is refused before anybody is asked who they are', async (_what, more, reason) => {
    const { decide, steps, told } = watched(gold)

    const decision = await decide(requestWith({}, more))

    expect(decision).toMatchObject({
      kind: 'deny',
      denial: { reason },
      route: { name: 'unmatched' },
      caller: anonymous,
    })
    expect([steps, told]).toEqual([[], []])
  })

  test('quota is asked last, and who is refused before pays none', async () => {
    const good = watched(gold)
    const bad = watched(badToken)
    const poor = watched(token)

    await good.decide(requestWith({}, { path: '/gold' }))
    await bad.decide(requestWith({}, { path: '/gold' }))
    await poor.decide(requestWith({}, { path: '/gold' }))

    expect(good.steps).toEqual(['authenticate gold', 'take gold'])
    expect([bad.steps, poor.steps]).toEqual([['authenticate gold'], ['authenticate gold']])
  })

  test('what the quota tells reaches the client, granted or refused, and a refusal is no failure of identity', async () => {
    const refusal = deny('rate_limited', 'Too many requests.', { headers: [['retry-after', '9']] })
    const refused = watched(gold, refusal)

    const granted = await watched(gold).decide(requestWith({}, { path: '/gold' }))
    const decision = await refused.decide(requestWith({}, { path: '/gold' }))

    expect(granted).toMatchObject({ kind: 'allow', clientHeaders: [['x-left', '7']] })
    expect(decision).toMatchObject({ kind: 'deny', denial: refusal, caller: gold, route: { name: 'gold' } })
    expect(refused.told).toEqual([])
  })
})
