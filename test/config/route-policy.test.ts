import { describe, expect, test } from '@jest/globals'
import { readSettings } from '../../src/config/settings.ts'
import type { RoutePolicy, RouteSpec } from '../../src/core/routes.ts'

const issuers = [
  '  - {name: partner, issuer: "https://login.example.com/", audience: api}',
  '  - {name: staff, issuer: "https://staff.example.com/", audience: api}',
]

type Env = Record<string, string>

function read(lines: readonly string[], env: Env = {}) {
  const text = ['issuers:', ...issuers, ...lines].join('\n')
  return readSettings({ GATEPOST_POLICY: text, ...env })
}

function policy(lines: readonly string[], env: Env = {}): RoutePolicy {
  const result = read(lines, env)
  if (result.kind === 'problems') throw new Error(result.problems.join('\n'))
  return result.settings.policy.first.routes
}

/** The problems, each without the name of the document, whose own lines begin at 4. */
function problems(lines: readonly string[], env: Env = {}): string[] {
  const result = read(lines, env)
  return result.kind === 'problems' ? result.problems.map((text) => text.replace('GATEPOST_POLICY:', '')) : []
}

/** The one route of a policy, written as YAML after its name. */
function route(settings: string, env: Env = {}, defaults = '{}'): RouteSpec {
  const { routes } = policy([`defaults: ${defaults}`, 'routes:', `  - {name: users, ${settings}}`], env)
  return (routes[0] as RoutePolicy['routes'][number]).spec
}

/** Where in that line something begins, the last of several. */
function placeOf(text: string, settings: string): string {
  return `5:${`  - {name: users, ${settings}`.lastIndexOf(text) + 1}`
}

/** The problems of one route, written as YAML after its name in the fifth line. */
function routeProblems(settings: string, env: Env = {}): string[] {
  return problems(['routes:', `  - {name: users, ${settings}}`], env)
}

describe('precedence', () => {
  const env = {
    GATEPOST_AUTH: 'optional',
    GATEPOST_REQUIRED_SCOPES: 'read:env',
    GATEPOST_RATE_LIMIT: '7/1s',
    GATEPOST_RATE_LIMIT_KEY: 'ip',
    GATEPOST_RATE_LIMIT_ALGORITHM: 'fixed-window',
  }
  const ofEnv = {
    name: 'default',
    owner: 'defaults',
    rate: { limit: 7, windowMs: 1_000 },
    by: [{ kind: 'ip' }],
    algorithm: 'fixed-window',
    cost: 1,
  }

  test('the environment holds where nothing else is said', () => {
    const { defaults } = policy([], env)
    const said = { auth: 'optional', scopes: ['read:env'], limits: [ofEnv] }
    const sources = { auth: 'the environment', scopes: 'the environment', limits: 'the environment' }

    expect(defaults).toMatchObject({ name: 'unmatched', ...said, sources })
    expect(route('match: {path: /a}', env)).toMatchObject({ name: 'users', ...said, sources })
  })

  test('the defaults of the policy replace it, setting by setting', () => {
    const defaults = '{auth: {mode: required, scopes: [read:file]}, rate_limits: [{name: fair, limit: 9/1m}]}'

    expect(route('match: {path: /a}', env, defaults)).toMatchObject({
      auth: 'required',
      scopes: ['read:file'],
      limits: [{ name: 'fair', owner: 'defaults', by: [{ kind: 'client' }], algorithm: 'gcra' }],
      sources: {
        auth: "the policy's defaults",
        scopes: "the policy's defaults",
        limits: "the policy's defaults",
      },
    })
    expect(route('match: {path: /a}', env, '{auth: none}')).toMatchObject({
      auth: 'none',
      scopes: ['read:env'],
      sources: { auth: "the policy's defaults", scopes: 'the environment', limits: 'the environment' },
    })
  })

  test('a route replaces both, and its limits are its own', () => {
    const defaults = '{auth: {scopes: [read:file]}, rate_limits: [{name: fair, limit: 9/1m}]}'
    const settings =
      'auth: {scopes: [read:users]}, rate_limits: [{name: fair, limit: 1/1m}], service: user-service'

    expect(route(settings, env, defaults)).toMatchObject({
      service: 'user-service',
      scopes: ['read:users'],
      limits: [{ name: 'fair', owner: 'route:users', rate: { limit: 1, windowMs: 60_000 } }],
      sources: { service: `the policy's route "users"`, scopes: `the policy's route "users"` },
    })
  })

  test('an empty list clears, in the defaults and in a route', () => {
    const settings = 'auth: {scopes: [], claims: {}}, rate_limits: []'
    const defaults = '{auth: {claims: {tier: [gold]}}}'

    expect(route(settings, env, defaults)).toMatchObject({ scopes: [], claims: [], limits: [] })
    expect(policy(['defaults: {auth: {scopes: []}, rate_limits: []}'], env).defaults).toMatchObject({
      scopes: [],
      limits: [],
    })
  })

  test('a route that says nothing of scopes and claims keeps those of the defaults', () => {
    const defaults = '{auth: {scopes: [read:file], claims: {tier: [gold]}}}'

    expect(route('auth: required', env, defaults)).toMatchObject({
      scopes: ['read:file'],
      claims: [{ claim: 'tier', values: ['gold'] }],
    })
  })

  test('how a limit of Envoy’s route counts comes from the environment', () => {
    expect(policy([], env).limitForm).toEqual({ by: [{ kind: 'ip' }], algorithm: 'fixed-window' })
    expect(policy([]).limitForm).toEqual({ by: [{ kind: 'client' }], algorithm: 'gcra' })
  })
})

describe('whom a route accepts', () => {
  const partner = 'https://login.example.com/'

  test.each([
    ['auth: required', 'required', undefined],
    ['auth: none', 'none', undefined],
    ['auth: {}', 'required', { apiKeys: true, certificates: true }],
    ['auth: {mode: optional}', 'optional', { apiKeys: true, certificates: true }],
    ['auth: {issuers: [partner]}', 'required', { issuers: [partner], apiKeys: false, certificates: false }],
    [
      'auth: {issuers: [staff, partner], api_key: true}',
      'required',
      { issuers: ['https://staff.example.com/', partner], apiKeys: true, certificates: false },
    ],
    ['auth: {api_key: false}', 'required', { apiKeys: false, certificates: true }],
    ['auth: {certificate: false}', 'required', { apiKeys: true, certificates: false }],
  ])('%s', (settings, auth, accepts) => {
    const spec = route(settings)

    expect(spec.auth).toBe(auth)
    expect(spec.accepts).toEqual(accepts)
  })

  test.each([
    ['auth: {scopes: [read:a]}', { issuers: [partner], apiKeys: true, certificates: false }],
    ['auth: {api_key: false}', { issuers: [partner], apiKeys: false, certificates: false }],
    [
      'auth: {issuers: [staff]}',
      { issuers: ['https://staff.example.com/'], apiKeys: false, certificates: false },
    ],
    ['auth: optional', { issuers: [partner], apiKeys: true, certificates: false }],
    ['service: users', { issuers: [partner], apiKeys: true, certificates: false }],
  ])('is inherited from the defaults where the route does not say: %s', (settings, accepts) => {
    const { routes } = policy([
      'defaults: {auth: {issuers: [partner], api_key: true}}',
      'routes:',
      `  - {name: users, ${settings}}`,
    ])

    expect(routes[0]?.spec.accepts).toEqual(accepts)
  })

  test('may be an issuer of the environment', () => {
    const env = { AUTH0_DOMAIN: 'tenant.eu.auth0.com', AUTH0_AUDIENCE: 'api' }

    expect(route('auth: {issuers: [auth0]}', env).accepts?.issuers).toEqual(['https://tenant.eu.auth0.com/'])
  })

  test('claims are compared as texts', () => {
    expect(route('auth: {claims: {level: [3, 0.5], admin: [true], org.id: [acme]}}').claims).toEqual([
      { claim: 'level', values: ['3', '0.5'] },
      { claim: 'admin', values: ['true'] },
      { claim: 'org.id', values: ['acme'] },
    ])
  })
})

test('a route is read with all that it may say', () => {
  const { routes } = policy([
    'routes:',
    '  - name: users',
    '    match: {host: "*.Example.COM", path: "/users/{id}/*", methods: [GET, PURGE]}',
    '    headers: {x-tenant: org.id}',
    '    allow_preflight: true',
    '    rate_limits:',
    '      - name: plan',
    '        limit: 10/1m',
    '        by: user+claim:org.id',
    '        burst: 20',
    '        cost: 2',
    '        plan: {claim: tier, limits: {gold: 100/1m, "7": 5/1m}}',
  ])

  expect(routes).toMatchObject([
    {
      match: { host: '*.example.com', path: '/users/{id}/*', methods: ['GET', 'PURGE'] },
      spec: {
        claimHeaders: [{ header: 'x-tenant', claim: 'org.id' }],
        allowPreflight: true,
        limits: [
          {
            name: 'plan',
            owner: 'route:users',
            rate: { limit: 10, windowMs: 60_000 },
            algorithm: 'gcra',
            by: [{ kind: 'user' }, { kind: 'claim', name: 'org.id' }],
            burst: 20,
            cost: 2,
            plan: {
              claim: 'tier',
              rates: new Map([
                ['7', { limit: 5, windowMs: 60_000 }],
                ['gold', { limit: 100, windowMs: 60_000 }],
              ]),
            },
          },
        ],
      },
    },
  ])
})

describe('what no route can mean is refused with line and column', () => {
  test.each([
    ['match: {path: //a}', '//a', '"//a" is not normalised: no request will ever have it'],
    ['match: {path: /a/../b}', '/a/../b', '"/a/../b" is not normalised: no request will ever have it'],
    ['match: {path: /a/.}', '/a/.', '"/a/." is not normalised: no request will ever have it'],
    ['match: {path: /a?b}', '/a?b', '"/a?b" is not normalised: no request will ever have it'],
    ['match: {path: "/a#b"}', '"/a#b"', '"/a#b" is not normalised: no request will ever have it'],
    ['match: {path: /%61}', '/%61', '"/%61" is not normalised: no request will ever have it'],
    ['match: {path: /a%2Fb}', '/a%2Fb', '"/a%2Fb" is not normalised: no request will ever have it'],
    ['match: {path: /a%5cb}', '/a%5cb', '"/a%5cb" is not normalised: no request will ever have it'],
    ['match: {path: /a%zz}', '/a%zz', '"/a%zz" is not normalised: no request will ever have it'],
    ['match: {path: /a%00}', '/a%00', '"/a%00" is not normalised: no request will ever have it'],
    ['match: {path: /a*}', '/a*', '"/a*" may have a * only as its whole last segment'],
    ['match: {path: /*/a}', '/*/a', '"/*/a" may have a * only as its whole last segment'],
    ['match: {path: /a/**}', '/a/**', '"/a/**" may have a * only as its whole last segment'],
    ['match: {path: "/a{id}"}', '"/a{id}"', '"/a{id}" may have {name} only as a whole segment'],
    ['match: {path: "/{}"}', '"/{}"', '"/{}" may have {name} only as a whole segment'],
    ['match: {path: "/{a}{b}"}', '"/{a}{b}"', '"/{a}{b}" may have {name} only as a whole segment'],
    ['match: {path: "/{a"}', '"/{a"', '"/{a" may have {name} only as a whole segment'],
    ['auth: {issuers: [partner, nobody]}', 'nobody', 'there is no issuer "nobody", known are partner, staff'],
    ['headers: {x-user-id: sub}', 'sub', '"x-user-id" has a meaning of its own: choose another name'],
    [
      'rate_limits: [{name: a, limit: 0/1m}]',
      '0/1m',
      '"0/1m" does not do, it must be a rate such as 100/1m, of at most 1000000000 requests and 31 days',
    ],
    [
      'rate_limits: [{name: a, limit: 1/32d}]',
      '1/32d',
      '"1/32d" does not do, it must be a rate such as 100/1m, of at most 1000000000 requests and 31 days',
    ],
    [
      'rate_limits: [{name: a, limit: 999999937/31d}]',
      '999999937/31d',
      '999999937 at once of 999999937 in 2678400000 ms is too fine to count exactly: choose a rounder limit',
    ],
    [
      'rate_limits: [{name: a, limit: 9/1m, by: tenant}]',
      'tenant',
      '"tenant" does not do, it must be client, user, ip, route, header:NAME or claim:NAME, several joined by +',
    ],
    [
      'rate_limits: [{name: a, limit: 9/1m, plan: {claim: tier, limits: {gold: 0/1m}}}]',
      '0/1m',
      '"0/1m" does not do, it must be a rate such as 100/1m, of at most 1000000000 requests and 31 days',
    ],
    [
      'rate_limits: [{name: a, limit: 9/1m, algorithm: sliding-window, burst: 9}]',
      '9}]',
      'a burst is for gcra alone, sliding-window has none',
    ],
    [
      'rate_limits: [{name: a, limit: 4/1m, cost: 5}]',
      '4/1m',
      'no request would ever pass: each costs 5, and at most 4 are left at once',
    ],
    [
      'rate_limits: [{name: a, limit: 9/1m, burst: 4, cost: 5}]',
      '9/1m',
      'no request would ever pass: each costs 5, and at most 4 are left at once',
    ],
    [
      'rate_limits: [{name: a, limit: 9/1m, cost: 5, plan: {claim: tier, limits: {poor: 1/1m}}}]',
      '1/1m',
      'no request would ever pass: each costs 5, and at most 1 are left at once',
    ],
    [
      'rate_limits: [{name: a, limit: 9/1m}, {name: a, limit: 9/1h}]',
      'a, limit: 9/1h',
      'there are two limits called "a"',
    ],
  ])('%s', (settings, at, problem) => {
    expect(routeProblems(settings)).toEqual([`${placeOf(at, settings)}: ${problem}`])
  })

  test.each([
    'authorization',
    'connection',
    'content-length',
    'content-type',
    'cookie',
    'forwarded',
    'grpc-timeout',
    'host',
    'te',
    'traceparent',
    'transfer-encoding',
    'upgrade',
    'x-auth-issuer',
    'x-auth-scopes',
    'x-client-id',
    'x-envoy-external-address',
    'x-forwarded-client-cert',
    'x-forwarded-for',
    'x-gatepost-email',
    'x-request-id',
    'x-user-id',
  ])('a header that has a meaning of its own is filled from no claim: %s', (name) => {
    expect(routeProblems(`headers: {${name}: sub}`)).toEqual([
      `${placeOf('sub', `headers: {${name}: sub}`)}: "${name}" has a meaning of its own: choose another name`,
    ])
  })

  test('nor is the one that API keys come in', () => {
    const env = { GATEPOST_CLIENT_CERT: 'off', GATEPOST_API_KEY_HEADER: 'x-key' }
    const withKeys = { ...env, GATEPOST_API_KEYS_FILE: '/nowhere/keys.yaml' }

    expect(routeProblems('headers: {x-key: sub}', env)).toEqual([])
    expect(routeProblems('headers: {x-key: sub}', withKeys)).toContain(
      '5:36: "x-key" has a meaning of its own: choose another name',
    )
  })

  test('two routes may not have one name: Envoy’s route selects by it', () => {
    expect(problems(['routes:', '  - {name: a}', '  - {name: b}', '  - {name: a}'])).toEqual([
      '7:12: there are two routes called "a"',
    ])
  })

  test('a limit of the defaults as well', () => {
    expect(problems(['defaults: {rate_limits: [{name: a, limit: 9/1m, by: x}]}'])).toEqual([
      expect.stringMatching(/^4:53: "x" does not do/),
    ])
  })

  test('all problems at once, those of the environment too', () => {
    const found = problems(
      [
        'defaults: {auth: {issuers: [nobody]}}',
        'routes:',
        '  - {name: a, match: {path: //}, headers: {host: sub}}',
        '  - {name: a, rate_limits: [{name: l, limit: 0/1m, by: x}]}',
      ],
      { GATEPOST_RATE_LIMIT: '999999937/31d' },
    )

    expect(found.map((problem) => problem.replace(/: .*/, ''))).toEqual([
      'GATEPOST_RATE_LIMIT',
      '4:29',
      '7:12',
      '6:29',
      '6:50',
      '7:46',
      '7:56',
    ])
  })
})

describe('what the schema knows is refused with line and column', () => {
  test.each([
    ['mach: {}', 'mach', 'routes.0: there is no setting "mach", did you mean "match"?'],
    ['match: {hosts: a}', 'hosts', 'routes.0.match: there is no setting "hosts", did you mean "host"?'],
    ['match: {path: users}', 'users}', /routes\.0\.match\.path: must be of another form: \/exact/],
    ['match: {methods: []}', '[]', 'routes.0.match.methods: must NOT have fewer than 1 items'],
    ['match: {methods: [get]}', 'get', /routes\.0\.match\.methods\.0: must be of another form/],
    ['match: {host: "a b"}', '"a b"', /routes\.0\.match\.host: must be of another form/],
    ['match: {host: "a.*"}', '"a.*"', /routes\.0\.match\.host: must be of another form/],
    ['match: {host: "example.com:443"}', '"example', /routes\.0\.match\.host: must be of another form/],
    ['auth: maybe', 'maybe', 'routes.0.auth: must be one of required, optional, none, or must be object'],
    ['auth: {mode: none}', 'none', 'routes.0.auth.mode: must be one of required, optional'],
    ['auth: {scopes: ["a b"]}', '"a b"', /routes\.0\.auth\.scopes\.0: must be of another form/],
    ['auth: {claims: {tier: []}}', '[]', 'routes.0.auth.claims.tier: must NOT have fewer than 1 items'],
    ['auth: {issuers: []}', '[]', 'routes.0.auth.issuers: must NOT have fewer than 1 items'],
    ['rate_limits: [{limit: 1/1m}]', '{limit', "routes.0.rate_limits.0: must have required property 'name'"],
    [
      'rate_limits: [{name: a, limit: often}]',
      'often',
      /routes\.0\.rate_limits\.0\.limit: must be of another form/,
    ],
    ['headers: {X-Tenant: a}', 'X-Tenant', 'routes.0.headers: there is no setting "X-Tenant"'],
    ['allow_preflight: 1', '1', 'routes.0.allow_preflight: must be boolean'],
    ['service: ""', '""', 'routes.0.service: must NOT have fewer than 1 characters'],
    ['headers: {x-tenant: ""}', '""', 'routes.0.headers.x-tenant: must NOT have fewer than 1 characters'],
    ['headers: {x_tenant: a}', 'x_tenant', 'routes.0.headers: there is no setting "x_tenant"'],
    ['headers: {Authorization: a}', 'Authorization', 'routes.0.headers: there is no setting "Authorization"'],
    [
      'rate_limits: [{name: a, limit: 1/1m, plan: {claim: a, limits: {"": often}}}]',
      '""',
      'routes.0.rate_limits.0.plan.limits: there is no setting ""',
    ],
    ['auth: {claims: {"": often}}', '""', 'routes.0.auth.claims: there is no setting ""'],
  ])('%s', (settings, at, problem) => {
    const place = placeOf(at, settings)

    expect(routeProblems(settings)).toEqual([
      typeof problem === 'string'
        ? `${place}: ${problem}`
        : expect.stringMatching(new RegExp(`^${place}: ${problem.source}`)),
    ])
  })

  test('more limits than a route may have', () => {
    const limits = Array.from({ length: 17 }, (_, at) => `{name: l${at}, limit: 1/1m}`)

    expect(routeProblems(`rate_limits: [${limits}]`)).toEqual([
      '5:32: routes.0.rate_limits: must NOT have more than 16 items',
    ])
  })
})
