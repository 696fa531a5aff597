import { describe, expect, test } from '@jest/globals'
import { Fault } from '../../src/core/fault.ts'
import type { LimitSpec } from '../../src/core/limits.ts'
import type { RequestContext } from '../../src/core/request.ts'
import {
  createRoutes,
  isScope,
  type PolicyRoute,
  type RoutePolicy,
  type RouteSpec,
  splitList,
} from '../../src/core/routes.ts'
import { requestWith } from '../support/requests.ts'

const defaults = { auth: 'required', scopes: ['read:default'] } as const
/** The table of these defaults and no routes, asked by Envoy's settings alone. */
function routes() {
  const table = createRoutes({ defaults: { name: 'unmatched', ...defaults }, routes: [] })
  return {
    match(overrides: Record<string, string>): RouteSpec {
      const found = table.match(requestWith({}, { overrides }))
      if (found.kind !== 'route') throw new Error('denied')
      return found.spec
    },
  }
}

test('a request without settings of its route gets the defaults, as unmatched', () => {
  expect(routes().match({})).toMatchObject({ name: 'unmatched', auth: 'required', scopes: ['read:default'] })
})

test('Envoy’s route wins over the defaults, setting by setting', () => {
  const spec = routes().match({ route: 'users', service: 'user-service', auth: 'optional' })

  expect(spec).toMatchObject({
    name: 'users',
    service: 'user-service',
    auth: 'optional',
    scopes: ['read:default'],
  })
})

test.each([
  ['replaces the list', 'read:users,write:users', ['read:users', 'write:users']],
  ['ignores blanks and empty entries', ' read:users , ,write:users,', ['read:users', 'write:users']],
  ['clears the list when empty', '', []],
  ['clears the list when blank', '  ', []],
])('scopes: %s', (_what, scopes, expected) => {
  expect(routes().match({ scopes }).scopes).toEqual(expected)
})

describe('a setting that makes no sense is a fault, so that a typo does not lower the guard', () => {
  test.each([
    [
      'an unknown key',
      { scope: 'read:users' },
      '"scope": known are route, service, auth, scopes, rate_limit, rate_limit_key',
    ],
    ['an unknown key beside good ones', { auth: 'none', Auth: 'none' }, '"Auth": known are'],
    ['a key of Object’s own', { constructor: 'x' }, '"constructor": known are'],
    ['an unknown mode', { auth: 'off' }, 'auth: one of required, optional, none, got "off"'],
    ['a mode in capitals', { auth: 'None' }, 'auth: one of required, optional, none, got "None"'],
    ['an empty mode', { auth: '' }, 'auth: one of required, optional, none, got ""'],
    ['an empty route', { route: '' }, 'route: 1 to 128 characters, got 0'],
    ['a blank service', { service: '   ' }, 'service: 1 to 128 characters, got 0'],
    ['a route too long', { route: 'r'.repeat(129) }, 'route: 1 to 128 characters, got 129'],
    ['scopes with a space', { scopes: 'read:a read:b' }, 'scopes: "read:a read:b" is no scope'],
    ['a scope with a quote', { scopes: 'ok,"x"' }, 'scopes: "\\"x\\"" is no scope'],
  ])('%s', (_what, overrides: Record<string, string>, message) => {
    const match = () => routes().match(overrides)

    expect(match).toThrow(message)
    expect(match).toThrow(Fault)
    expect(match).toThrow(expect.objectContaining({ part: 'routes' }))
  })

  test('an own __proto__ key', () => {
    const overrides = JSON.parse('{"__proto__": "x"}') as Record<string, string>

    expect(() => routes().match(overrides)).toThrow('"__proto__": known are')
  })

  test('again each time, for nothing bad is remembered', () => {
    const table = routes()

    expect(() => table.match({ auth: 'off' })).toThrow(Fault)
    expect(() => table.match({ auth: 'off' })).toThrow(Fault)
  })
})

test('the same settings give the same compiled spec, other ones another', () => {
  const table = routes()

  const first = table.match({ route: 'users' })

  expect(table.match({ route: 'users' })).toBe(first)
  expect(table.match({ route: 'orders' })).not.toBe(first)
})

test('ever new settings are still answered rightly after the thousandth', () => {
  const table = routes()
  for (let at = 0; at < 1_100; at += 1) table.match({ route: `r${at}` })

  expect(table.match({ route: 'r1099' }).name).toBe('r1099')
  expect(table.match({ route: 'late' }).name).toBe('late')
})

const perClient = (name: string): LimitSpec => ({
  name,
  owner: 'defaults',
  rate: { limit: 100, windowMs: 60_000 },
  algorithm: 'sliding-window',
  by: [{ kind: 'client' }],
  cost: 1,
})

describe('how often, by Envoy’s route', () => {
  const limited = { ...defaults, name: 'unmatched', limits: [perClient('a'), perClient('b')] }

  function limitsOf(overrides: Record<string, string>, more: Partial<RoutePolicy> = {}) {
    const found = createRoutes({ defaults: limited, routes: [], ...more }).match(
      requestWith({}, { overrides }),
    )
    return found.kind === 'route' ? found.spec.limits : undefined
  }

  test('rate_limit replaces all limits by one of that route, for each client by GCRA', () => {
    expect(limitsOf({ route: 'users', rate_limit: '5/1s' })).toEqual([
      {
        name: 'default',
        owner: 'route:users',
        rate: { limit: 5, windowMs: 1_000 },
        algorithm: 'gcra',
        by: [{ kind: 'client' }],
        cost: 1,
      },
    ])
  })

  test('rate_limit is the rate alone: what it counts by, and how, is as the environment says', () => {
    const limitForm = { by: [{ kind: 'ip' }], algorithm: 'fixed-window' } as const

    expect(limitsOf({ rate_limit: '5/1s' }, { limitForm })).toMatchObject([limitForm])
    expect(limitsOf({ rate_limit: '5/1s', rate_limit_key: 'user' }, { limitForm })).toMatchObject([
      { algorithm: 'fixed-window', by: [{ kind: 'user' }] },
    ])
  })

  test.each(['none', '', ' '])('rate_limit %j clears them', (value) => {
    expect(limitsOf({ rate_limit: value })).toEqual([])
    expect(limitsOf({ rate_limit: value, rate_limit_key: 'ip' })).toEqual([])
  })

  test('rate_limit_key changes what each counts by, and nothing else of it', () => {
    const by = [{ kind: 'ip' }, { kind: 'header', name: 'x-tenant' }]

    expect(limitsOf({ rate_limit_key: 'ip+header:X-Tenant' })).toEqual([
      { ...perClient('a'), by },
      { ...perClient('b'), by },
    ])
  })

  test('rate_limit_key means nothing where there is no limit', () => {
    expect(limitsOf({ rate_limit_key: 'ip' }, { defaults: { ...limited, limits: [] } })).toEqual([])
  })

  test.each([
    [{ rate_limit: '100' }, 'rate_limit: a rate such as 100/1m'],
    [{ rate_limit: '0/1m' }, 'rate_limit: a rate such as 100/1m'],
    [{ rate_limit: 'None' }, 'rate_limit: a rate such as 100/1m'],
    [
      { rate_limit: '999999937/31d' },
      'rate_limit: 999999937 at once of 999999937 in 2678400000 ms is too fine',
    ],
    [{ rate_limit_key: 'tenant' }, 'rate_limit_key: client, user, ip, route, header:NAME or claim:NAME'],
    [{ rate_limit_key: '' }, 'rate_limit_key: client, user, ip, route'],
  ])('a bad one is a fault: %j', (overrides: Record<string, string>, message) => {
    expect(() => limitsOf(overrides)).toThrow(message)
    expect(() => limitsOf(overrides)).toThrow(Fault)
  })
})

describe('a policy', () => {
  const users: PolicyRoute = {
    match: { path: '/users/*', methods: ['GET', 'POST'] },
    spec: { name: 'users', auth: 'optional', scopes: ['read:users'], service: 'user-service' },
  }
  const open: PolicyRoute = {
    match: { host: 'open.example.com', path: '/open' },
    spec: { name: 'open', auth: 'none', scopes: [], allowPreflight: true },
  }
  const policy: RoutePolicy = {
    defaults: { name: 'unmatched', ...defaults },
    routes: [
      users,
      open,
      {
        match: { path: '/cors', methods: ['PUT'] },
        spec: { ...users.spec, name: 'cors', allowPreflight: true },
      },
    ],
  }

  const ask = (more: Partial<RequestContext>, headers: Record<string, string> = {}) =>
    createRoutes(policy).match(requestWith(headers, more))

  test('is found by path, whatever the query, and told with the rule that fits', () => {
    expect(ask({ path: '/users/7?x=/open' })).toEqual({
      kind: 'route',
      spec: users.spec,
      preflight: false,
      rule: users.match,
    })
  })

  test('where no route fits, the defaults hold without a rule', () => {
    expect(ask({ path: '/else' })).toEqual({ kind: 'route', spec: policy.defaults, preflight: false })
  })

  test.each(['/USERS/7', '/users7', '/x/users/7'])('%s is none of its paths', (path) => {
    expect(ask({ path })).toMatchObject({ spec: { name: 'unmatched' } })
  })

  test.each([
    '//users/7',
    '/x/../users/7',
    '/%75sers/7',
    '/./users//7',
    '/users',
    '/users/%2e/7',
    '\\users\\7',
  ])('no spelling leads past a route: %s', (path) => {
    expect(ask({ path })).toMatchObject({ spec: { name: 'users' } })
  })

  test.each([
    ['/users%2f7', 'it holds an escaped slash'],
    ['/x/..%5cusers', 'it holds an escaped slash'],
    ['/users/%00', 'it holds an escaped NUL'],
    ['/users/%', 'it holds a broken escape'],
    ['/x/..;/users', 'it holds a dot segment with a parameter'],
  ])('an unclear path is refused, wherever it would lead: %s', (path, why) => {
    expect(ask({ path })).toEqual({
      kind: 'denial',
      reason: 'invalid_path',
      detail: `The path cannot be matched: ${why}.`,
    })
  })

  test('an unclear path is nobody’s trouble where no path is matched', () => {
    const request = requestWith({}, { path: '/a%2fb' })

    expect(createRoutes({ ...policy, routes: [] }).match(request)).toMatchObject({ spec: policy.defaults })
    expect(ask({ path: '/a%2fb', overrides: { route: 'users' } })).toMatchObject({ spec: { name: 'users' } })
  })

  test('a method that the route does not offer is refused with those that it does', () => {
    expect(ask({ path: '/users/7', method: 'DELETE' })).toMatchObject({
      kind: 'denial',
      reason: 'method_not_allowed',
      headers: [['allow', 'GET, POST']],
    })
  })

  describe('Envoy’s route', () => {
    test('selects the entry of its name, whatever the path', () => {
      expect(ask({ path: '/else', overrides: { route: 'users' } })).toEqual({
        kind: 'route',
        spec: users.spec,
        preflight: false,
        rule: users.match,
        named: true,
      })
    })

    test('selects it for its methods alone', () => {
      expect(ask({ path: '/open', method: 'PUT', overrides: { route: 'users' } })).toMatchObject({
        reason: 'method_not_allowed',
      })
    })

    test('is a label alone where there is no entry, and the path still decides', () => {
      expect(ask({ path: '/users/7', overrides: { route: 'mine' } })).toMatchObject({
        spec: { ...users.spec, name: 'mine' },
        rule: users.match,
      })
      expect(ask({ path: '/else', overrides: { route: 'mine' } })).toMatchObject({
        spec: { ...policy.defaults, name: 'mine' },
      })
      expect(ask({ path: '/users/7', method: 'PUT', overrides: { route: 'mine' } })).toMatchObject({
        reason: 'method_not_allowed',
      })
    })

    test.each(['constructor', '__proto__', 'Users'])('%j names no entry', (route) => {
      expect(ask({ path: '/else', overrides: { route } })).toMatchObject({
        spec: { auth: 'required', name: route },
      })
    })

    test('selects it with blanks around the name too, as in every other setting', () => {
      expect(ask({ path: '/else', overrides: { route: ' users ' } })).toMatchObject({ spec: users.spec })
    })

    test('wins over the entry setting by setting, and says so', () => {
      const overrides = { route: 'users', auth: 'required', scopes: '', rate_limit: '1/1s' }

      expect(ask({ overrides })).toMatchObject({
        spec: {
          name: 'users',
          service: 'user-service',
          auth: 'required',
          scopes: [],
          limits: [{ owner: 'route:users' }],
          sources: { auth: "Envoy's route", scopes: "Envoy's route", limits: "Envoy's route" },
        },
      })
    })
  })

  describe('a CORS preflight', () => {
    const preflight = (wanted: string) => ({
      origin: 'https://app.example.com',
      'access-control-request-method': wanted,
    })

    test('passes where the route for the method that is to come allows it', () => {
      expect(ask({ path: '/cors', method: 'OPTIONS' }, preflight('PUT'))).toMatchObject({
        preflight: true,
        spec: { name: 'cors' },
      })
    })

    test('passes where Envoy’s route selects such an entry', () => {
      const overrides = { route: 'open', service: 'a' }

      expect(ask({ path: '/x', method: 'OPTIONS', overrides }, preflight('DELETE'))).toMatchObject({
        preflight: true,
        spec: { name: 'open', service: 'a' },
      })
    })

    test.each([
      ['of another method than the route offers', '/cors', 'OPTIONS', preflight('GET')],
      ['of a method in small letters', '/cors', 'OPTIONS', preflight('put')],
      ['on a route that does not allow it', '/users/7', 'OPTIONS', preflight('GET')],
    ])('%s is a request as any other', (_what, path, method, headers) => {
      expect(ask({ path, method }, headers)).toMatchObject({ reason: 'method_not_allowed' })
    })

    test('where no route fits is a request as any other', () => {
      expect(ask({ path: '/else', method: 'OPTIONS' }, preflight('GET'))).toMatchObject({
        preflight: false,
        spec: { name: 'unmatched' },
      })
    })

    test.each([
      ['an OPTIONS without Origin', 'OPTIONS', { 'access-control-request-method': 'GET' }],
      ['an OPTIONS that asks for no method', 'OPTIONS', { origin: 'https://app.example.com' }],
      ['a GET that looks like one', 'GET', preflight('GET')],
    ])('is not %s', (_what, method, headers: Record<string, string>) => {
      const request = { path: '/open', authority: 'open.example.com', method }

      expect(ask(request, headers)).toMatchObject({ preflight: false, spec: { name: 'open' } })
    })

    test('with a bad setting of Envoy’s is a fault', () => {
      expect(() =>
        ask({ path: '/cors', method: 'OPTIONS', overrides: { auth: 'off' } }, preflight('PUT')),
      ).toThrow(Fault)
    })
  })

  test('is exchanged as a whole, compiled settings too', () => {
    const routes = createRoutes(policy)
    const request = requestWith({}, { path: '/users/7', overrides: { service: 'a' } })
    const before = routes.match(request)
    const claimed = { ...users.spec, name: 'new', claimHeaders: [{ header: 'x-tier', claim: 'tier' }] }

    routes.replace({ defaults: policy.defaults, routes: [{ match: { path: '/users/{id}' }, spec: claimed }] })

    expect(before).toMatchObject({ spec: { name: 'users', service: 'a' } })
    expect(routes.match(request)).toMatchObject({ spec: { name: 'new', service: 'a' } })
    expect(routes.claimHeaders).toEqual(['x-tier'])
    routes.replace(policy)
    expect(routes.claimHeaders).toEqual([])
  })
})

test.each([
  ['', []],
  [',', []],
  ['a', ['a']],
  [' a ,b, ', ['a', 'b']],
  ['a b', ['a b']],
])('the list %j is %j', (text, entries) => {
  expect(splitList(text)).toEqual(entries)
})

test.each([
  ['read:users', true],
  ['!#[]~', true],
  ['', false],
  ['a b', false],
  ['a"b', false],
  ['a\\b', false],
  ['ä', false],
  ['a\n', false],
])('%j is a scope: %s', (text, expected) => {
  expect(isScope(text)).toBe(expected)
})
