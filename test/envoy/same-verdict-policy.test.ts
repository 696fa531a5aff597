import { createHash, randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { startGatepost } from '../support/gatepost.ts'
import { connectGrpc, type GrpcClient } from '../support/grpc-client.ts'
import { connectStreams, type StreamClient } from '../support/grpc-streams.ts'
import { type OpenIdProvider, startOpenIdProvider } from '../support/openid-provider.ts'
import { tempFolder } from '../support/temp.ts'
import {
  type SentRequest,
  throughExtAuthz,
  throughExtProc,
  type Verdict,
  verdictInWords,
} from '../support/verdicts.ts'

const apiKey = `gp_shop_${randomBytes(32).toString('base64url')}`

const few = { name: 'few', limit: '2/1h', by: 'header:x-counter' }

const policy = {
  routes: [
    {
      name: 'gold',
      match: { path: '/gold/{id}', methods: ['GET', 'PUT'] },
      auth: { claims: { 'org.tier': ['gold'], level: [3] } },
    },
    {
      name: 'scoped',
      match: { path: '/scoped/*' },
      auth: { scopes: ['read:users'] },
      service: 'user-service',
    },
    { name: 'open', match: { path: '/open' }, auth: 'none' },
    { name: 'hosted', match: { host: '*.admin.example.com' }, auth: { scopes: ['admin'] } },
    { name: 'partner', match: { path: '/partner' }, auth: { issuers: ['oidc'] } },
    {
      name: 'filled',
      match: { path: '/filled' },
      auth: 'optional',
      headers: { 'x-tier': 'org.tier', 'x-groups': 'groups' },
    },
    { name: 'cors', match: { path: '/cors', methods: ['PUT'] }, allow_preflight: true, rate_limits: [few] },
    { name: 'limited', match: { path: '/limited' }, rate_limits: [few] },
    {
      name: 'double',
      match: { path: '/double' },
      rate_limits: [
        { ...few, name: 'day', limit: '5/1d' },
        { ...few, algorithm: 'sliding-window' },
      ],
    },
    {
      name: 'planned',
      match: { path: '/planned' },
      rate_limits: [
        { ...few, limit: '1/1h', plan: { claim: 'plan', limits: { gold: '3/1h', wide: '50/1d' } } },
      ],
    },
  ],
}

const opened = new AsyncDisposableStack()
let provider: OpenIdProvider
let checks: GrpcClient
let streams: StreamClient

beforeAll(async () => {
  provider = opened.use(await startOpenIdProvider('oidc'))
  const folder = opened.use(await tempFolder('same-verdict-policy'))
  const keysFile = join(folder.path, 'keys.yaml')
  const hash = `sha256:${createHash('sha256').update(apiKey).digest('hex')}`
  await writeFile(
    keysFile,
    JSON.stringify({ keys: [{ id: 'shop', client_id: 'key-shop', hash, scopes: [] }] }),
  )
  const gatepost = opened.use(
    await startGatepost({
      OIDC_ISSUER: provider.issuer,
      OIDC_AUDIENCE: provider.audience,
      GATEPOST_API_KEYS_FILE: keysFile,
      GATEPOST_POLICY: JSON.stringify(policy),
      GATEPOST_OBSERVER: 'none',
    }),
  )
  checks = opened.use(connectGrpc(gatepost.grpcAddress))
  streams = opened.use(connectStreams(gatepost.grpcAddress))
}, 60_000)
afterAll(() => opened.disposeAsync())

type Headers = NonNullable<SentRequest['headers']>

/** A request as a case describes it; its token is signed when the test runs, for the provider must be up by then. */
interface Sketch extends SentRequest {
  /** Claims of a good token; absent for no token. */
  claims?: Record<string, unknown>
}

type Case = readonly [name: string, expected: string, sketch: Sketch]

const gold = { org: { tier: 'gold' }, level: 3, groups: ['a', 'b'], scope: 'read:users', plan: 'gold' }

const forgedClaims: Headers = [
  ['x-tier', 'platinum'],
  ['x-groups', 'root'],
]

const grpc: Headers = [['content-type', 'application/grpc']]

function preflight(wanted: string): Headers {
  return [
    ['origin', 'https://app.example.com'],
    ['access-control-request-method', wanted],
  ]
}

const routes: Case[] = [
  ['a route by template', 'allow', { path: '/gold/7?x=1', claims: gold }],
  ['a route by prefix, and its service', 'allow', { path: '/scoped/a/b', claims: gold }],
  ['a route by prefix without the scope', '403 insufficient_scope', { path: '/scoped', claims: {} }],
  ['a route by host', '403 insufficient_scope', { authority: 'A.Admin.example.com.:443', claims: gold }],
  ['a route that asks nobody', 'allow', { path: '/open' }],
  ['no route', 'allow', { path: '/else', claims: {} }],
  ['no route and no credential', '401 missing_token', { path: '/else' }],
  ['a route in disguise', '403 insufficient_scope', { path: '/x/..//%73coped', claims: {} }],
  ['a path with an escaped slash', '400 invalid_path', { path: '/open%2f', claims: gold }],
  ['a path with an escaped NUL', '400 invalid_path', { path: '/%00' }],
  ['an unclear path of a gRPC caller', '400 invalid_path', { path: '/a%5cb', headers: grpc }],
  [
    'a method that is not offered',
    '405 method_not_allowed',
    { path: '/gold/7', method: 'DELETE', claims: gold },
  ],
  ['such a method and no credential', '405 method_not_allowed', { path: '/gold/7', method: 'POST' }],
  [
    'such a method of a gRPC caller',
    '405 method_not_allowed',
    { path: '/gold/7', method: 'POST', headers: grpc },
  ],
  ['a route named by Envoy', '403 insufficient_claims', { settings: { route: 'gold' }, claims: {} }],
  ['a label of Envoy’s', 'allow', { settings: { route: 'mine' }, path: '/open' }],
  [
    'a route named by Envoy, and a setting over it',
    'allow',
    { settings: { route: 'scoped', scopes: '', service: 'other' }, claims: {} },
  ],
  [
    'a route named by Envoy, and a bad setting',
    'fault',
    { settings: { route: 'open', rate_limit: 'often' } },
  ],
  [
    'an API key where the route names issuers',
    '401 invalid_api_key',
    { path: '/partner', headers: [['x-api-key', apiKey]] },
  ],
  ['a token of an issuer that the route names', 'allow', { path: '/partner', claims: {} }],
]

const claims: Case[] = [
  ['both claims', 'allow', { path: '/gold/7', claims: gold }],
  ['one claim alone', '403 insufficient_claims', { path: '/gold/7', claims: { ...gold, level: 4 } }],
  ['no claims', '403 insufficient_claims', { path: '/gold/7', claims: {} }],
  ['no claims, by a gRPC caller', '403 insufficient_claims', { path: '/gold/7', claims: {}, headers: grpc }],
  ['nobody', '401 missing_token', { path: '/gold/7' }],
  ['claims for headers', 'allow', { path: '/filled', claims: gold, headers: forgedClaims }],
  [
    'half of the claims for headers',
    'allow',
    { path: '/filled', claims: { groups: 'a' }, headers: forgedClaims },
  ],
  ['forged claim headers and no claims', 'allow', { path: '/filled', claims: {}, headers: forgedClaims }],
  ['forged claim headers of nobody', 'allow', { path: '/filled', headers: forgedClaims }],
  ['forged claim headers on another route', 'allow', { path: '/open', headers: forgedClaims }],
  ['forged claim headers on no route', 'allow', { path: '/else', claims: gold, headers: forgedClaims }],
]

const preflights: Case[] = [
  ['a preflight', 'allow', { path: '/cors', method: 'OPTIONS', headers: preflight('PUT') }],
  [
    'a preflight with forged headers',
    'allow',
    {
      path: '/cors',
      method: 'OPTIONS',
      headers: [...preflight('PUT'), ...forgedClaims, ['x-user-id', 'root'], ['authorization', 'Bearer bad']],
    },
  ],
  [
    'a preflight for a method that is not offered',
    '405 method_not_allowed',
    { path: '/cors', method: 'OPTIONS', headers: preflight('GET') },
  ],
  ['an OPTIONS that is none', '405 method_not_allowed', { path: '/cors', method: 'OPTIONS' }],
  [
    'a preflight where none is foreseen',
    '401 missing_token',
    { path: '/limited', method: 'OPTIONS', headers: preflight('GET') },
  ],
]

const cases = [...routes, ...claims, ...preflights]

test.each(cases)('%s: %s through every door', async (_name, expected, sketch) => {
  const request = requestOf(sketch)

  const [map, raw, proc] = await Promise.all(doors.map((send) => send(request)))

  expect(map && verdictInWords(map)).toBe(expected)
  expect(raw).toEqual(map)
  expect(proc).toEqual(map)
})

/** A case that asks the limits several times, and the verdict of the last one. */
type LimitCase = readonly [name: string, times: number, expected: string, remaining: string, sketch: Sketch]

const limits: LimitCase[] = [
  ['the first request', 1, 'allow', '1', { path: '/limited', claims: {} }],
  ['the last one that there is room for', 2, 'allow', '0', { path: '/limited', claims: {} }],
  ['one too many', 3, '429 rate_limited', '0', { path: '/limited', claims: {} }],
  [
    'one too many of a gRPC caller',
    3,
    '429 rate_limited',
    '0',
    { path: '/limited', claims: {}, headers: grpc },
  ],
  ['two limits with room', 2, 'allow', '0', { path: '/double', claims: {} }],
  ['two limits of which one refuses', 4, '429 rate_limited', '0', { path: '/double', claims: {} }],
  ['no plan', 2, '429 rate_limited', '0', { path: '/planned', claims: {} }],
  ['an unknown plan', 2, '429 rate_limited', '0', { path: '/planned', claims: { plan: 'constructor' } }],
  ['a plan with room', 3, 'allow', '0', { path: '/planned', claims: gold }],
  ['a plan used up', 4, '429 rate_limited', '0', { path: '/planned', claims: gold }],
  ['the first plan of a list', 2, 'allow', '48', { path: '/planned', claims: { plan: ['x', 'wide'] } }],
  [
    'Envoy’s own limit',
    2,
    '429 rate_limited',
    '0',
    { settings: { route: 'mine', rate_limit: '1/1h', rate_limit_key: 'header:x-counter' }, claims: {} },
  ],
  [
    'a limit cleared by Envoy',
    9,
    'allow',
    'none',
    { path: '/limited', settings: { rate_limit: 'none' }, claims: {} },
  ],
]

describe('where it counts how often', () => {
  test.each(limits)(
    '%s, of %d: %s with %s left, through every door',
    async (name, times, expected, left, sketch) => {
      const verdicts = await Promise.all(
        doors.map((send, at) => lastOf(times, () => send(counted(requestOf(sketch), `${name} ${at}`)))),
      )

      const [map, raw, proc] = verdicts.map(timeless)
      expect(verdicts[0] && verdictInWords(verdicts[0])).toBe(expected)
      expect(limitHeader(verdicts[0], 'x-ratelimit-remaining') ?? 'none').toBe(left)
      expect(raw).toEqual(map)
      expect(proc).toEqual(map)
    },
  )

  test('a refusal says by which limits, and when to come again', async () => {
    const refused = await lastOf(3, () =>
      doors[0]!(counted(requestOf({ path: '/double', claims: {} }), 'said')),
    )

    expect(verdictInWords(refused)).toBe('429 rate_limited')
    expect(refused).toMatchObject({
      headers: {
        ratelimit: expect.stringMatching(/^"day";r=3;t=\d+, "few";r=0;t=\d+$/),
        'ratelimit-policy': '"day";q=5;w=86400, "few";q=2;w=3600',
        'retry-after': expect.stringMatching(/^[1-9]\d*$/),
        'x-ratelimit-limit': '2',
      },
      body: expect.stringContaining('Too many requests: try again in '),
    })
  })

  test('a preflight takes nothing', async () => {
    const ask = (more: Sketch) => doors[0]!(counted(requestOf({ path: '/cors', ...more }), 'free'))
    await lastOf(5, () => ask({ method: 'OPTIONS', headers: preflight('PUT') }))

    const first = await ask({ method: 'PUT', claims: {} })

    expect(limitHeader(first, 'x-ratelimit-remaining')).toBe('1')
  })
})

test('claims fill their headers, and no client’s copy is left', async () => {
  const verdict = await doors[0]!(
    requestOf({ path: '/filled', claims: { groups: ['a', 'b'] }, headers: forgedClaims }),
  )

  expect(verdict).toMatchObject({
    verdict: 'allow',
    upstream: { set: { 'x-groups': 'a,b' }, removed: expect.arrayContaining(['x-tier']) },
  })
  expect(verdict).not.toHaveProperty(['upstream', 'set', 'x-tier'])
})

test('a 405 says what would do', async () => {
  const verdict = await doors[0]!(requestOf({ path: '/gold/7', method: 'PATCH' }))

  expect(verdict).toMatchObject({ verdict: 'deny', headers: { allow: 'GET, PUT' } })
})

test('every kind of verdict that the policy brings is in the tables', () => {
  const kinds = new Set([
    ...cases.map(([, expected]) => expected),
    ...limits.map(([, , expected]) => expected),
  ])

  expect([...kinds].sort()).toEqual([
    '400 invalid_path',
    '401 invalid_api_key',
    '401 missing_token',
    '403 insufficient_claims',
    '403 insufficient_scope',
    '405 method_not_allowed',
    '429 rate_limited',
    'allow',
    'fault',
  ])
})

const doors: readonly ((request: SentRequest) => Promise<Verdict>)[] = [
  (request) => throughExtAuthz(checks, request, 'map'),
  (request) => throughExtAuthz(checks, request, 'raw'),
  (request) => throughExtProc(streams, request),
]

function requestOf({ claims: held, headers = [], ...rest }: Sketch): SentRequest {
  if (!held) return { headers, ...rest }
  return { headers: [['authorization', `Bearer ${provider.signToken(held)}`], ...headers], ...rest }
}

/** Has a request counted by a counter of its own. */
function counted(request: SentRequest, counter: string): SentRequest {
  return { ...request, headers: [...(request.headers ?? []), ['x-counter', counter]] }
}

async function lastOf(times: number, ask: () => Promise<Verdict>): Promise<Verdict> {
  for (let at = 1; at < times; at += 1) await ask()
  return ask()
}

function limitHeader(verdict: Verdict | undefined, name: string): string | undefined {
  if (verdict?.verdict === 'allow') return verdict.client[name]
  return verdict?.verdict === 'deny' ? verdict.headers[name] : undefined
}

/** A verdict without the seconds in it, which pass from one door to the next. */
function timeless(verdict: Verdict): unknown {
  const text = JSON.stringify(verdict)
    .replaceAll(/;t=\d+/g, ';t=N')
    .replaceAll(/in \d+ s\./g, 'in N s.')
    .replaceAll(/"(retry-after|x-ratelimit-reset)":"\d+"/g, '"$1":"N"')
  return JSON.parse(text)
}
