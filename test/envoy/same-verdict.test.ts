import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { startGatepost } from '../support/gatepost.ts'
import { connectGrpc, type GrpcClient } from '../support/grpc-client.ts'
import { connectStreams, type StreamClient } from '../support/grpc-streams.ts'
import { type OpenIdProvider, startOpenIdProvider } from '../support/openid-provider.ts'
import { base64Url } from '../support/signer.ts'
import { tempFolder } from '../support/temp.ts'
import { type SentRequest, throughExtAuthz, throughExtProc, verdictInWords } from '../support/verdicts.ts'

const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const goodKey = `gp_shop_${randomBytes(32).toString('base64url')}`
/** The id is known; the secret is another one. */
const unknownKey = `gp_shop_${randomBytes(32).toString('base64url')}`
const expiredKey = `gp_old_${randomBytes(32).toString('base64url')}`

const opened = new AsyncDisposableStack()
let provider: OpenIdProvider
let checks: GrpcClient
let streams: StreamClient

beforeAll(async () => {
  provider = opened.use(await startOpenIdProvider('oidc'))
  const folder = opened.use(await tempFolder('same-verdict'))
  const keysFile = join(folder.path, 'keys.yaml')
  await writeFile(
    keysFile,
    JSON.stringify({ keys: [entry(goodKey, '2999-01-01'), entry(expiredKey, '2001-01-01')] }),
  )
  const gatepost = opened.use(
    await startGatepost({
      OIDC_ISSUER: provider.issuer,
      OIDC_AUDIENCE: provider.audience,
      GATEPOST_API_KEYS_FILE: keysFile,
      GATEPOST_OBSERVER: 'none',
    }),
  )
  checks = opened.use(connectGrpc(gatepost.grpcAddress))
  streams = opened.use(connectStreams(gatepost.grpcAddress))
}, 60_000)
afterAll(() => opened.disposeAsync())

function entry(key: string, expires: string) {
  const hash = `sha256:${createHash('sha256').update(key).digest('hex')}`
  return {
    id: key.split('_')[1],
    client_id: 'key-shop',
    hash,
    scopes: ['read:orders'],
    expires_at: `${expires}T00:00:00Z`,
  }
}

type Headers = NonNullable<SentRequest['headers']>
/** Made when the test runs: the provider must be up by then. */
type MadeRequest = () => SentRequest

interface Case {
  name: string
  /** `allow`, `fault`, or the status and reason of a denial. */
  expected: string
  request: MadeRequest
}

const token = (claims?: Record<string, unknown>, options?: Parameters<OpenIdProvider['signToken']>[1]) =>
  provider.signToken(claims, options)
const bearer = (value: string): Headers[number] => ['authorization', `Bearer ${value}`]
const seconds = () => Math.floor(Date.now() / 1_000)

/** A case of one `authorization` header, or none. */
function authorization(name: string, expected: string, value: () => string | undefined): Case {
  return {
    name,
    expected,
    request() {
      const shown = value()
      return { headers: shown === undefined ? [] : [['authorization', shown]] }
    },
  }
}

/** A case of one bearer token. */
function ofToken(name: string, expected: string, made: () => string): Case {
  return authorization(name, expected, () => `Bearer ${made()}`)
}

/** A case of a good token under these settings of Envoy's route. */
function ofSettings(name: string, expected: string, settings: SentRequest['settings'], claims = {}): Case {
  return {
    name,
    expected,
    request: () => ({ headers: [bearer(token(claims))], ...(settings && { settings }) }),
  }
}

/** A case of other headers beside a good token, or without one. */
function ofHeaders(name: string, expected: string, headers: Headers, more: SentRequest = {}): Case {
  return { name, expected, request: () => ({ headers, ...more }) }
}

function withGood(name: string, expected: string, headers: Headers, more: SentRequest = {}): Case {
  return { name, expected, request: () => ({ headers: [bearer(token()), ...headers], ...more }) }
}

const invalid = '401 invalid_token'
const malformed = '400 invalid_request'

const credentials: Case[] = [
  authorization('no credential', '401 missing_token', () => undefined),
  authorization('an empty header', malformed, () => ''),
  authorization('the word Bearer alone', malformed, () => 'Bearer'),
  authorization('three words', malformed, () => `Bearer ${token()} x`),
  authorization('two credentials in one header', malformed, () => `Bearer ${token()},Bearer ${token()}`),
  authorization('another scheme', '401 unsupported_scheme', () => 'Basic YTpi'),
  authorization('the scheme in small letters', 'allow', () => `bearer ${token()}`),
  authorization('a tab after the scheme', '401 unsupported_scheme', () => `Bearer\t${token()}`),
  ofToken('a good token', 'allow', () => token()),
  ofToken('a good token with everything in it', 'allow', () =>
    token({
      sub: 'auth0|álice',
      azp: 'shop',
      scope: 'read:orders',
      scp: ['write:orders'],
      permissions: ['a:b'],
    }),
  ),
  ofToken('an expired token', invalid, () => token({ exp: seconds() - 3_600 })),
  ofToken('a token without expiry', invalid, () => token({ exp: undefined })),
  ofToken('a token of tomorrow', invalid, () => token({ nbf: seconds() + 86_400 })),
  ofToken('a token for another audience', invalid, () => token({ aud: 'https://other.example.com' })),
  ofToken('a token of another issuer', invalid, () => token({ iss: 'https://evil.example.com/' })),
  ofToken('a token signed by a stranger', invalid, () => token({}, { key: stranger })),
  ofToken('a token of an unknown key', invalid, () => token({}, { header: { kid: 'unknown' } })),
  ofToken('a token of another type', invalid, () => token({}, { header: { typ: 'dpop+jwt' } })),
  ofToken('a token with a critical extension', invalid, () => token({}, { header: { crit: ['x'], x: 1 } })),
  ofToken('a token that claims no algorithm', invalid, () => token({}, { header: { alg: 'none' } })),
  ofToken('a token that claims HMAC', invalid, () => token({}, { header: { alg: 'HS256' } })),
  ofToken('a token whose payload was exchanged', invalid, () => {
    const [header, , signature] = token().split('.')
    return `${header}.${base64Url({ iss: provider.issuer, sub: 'root' })}.${signature}`
  }),
  ofToken('a token without its signature', invalid, () => token().split('.').slice(0, 2).join('.')),
  ofToken('a token whose subject cannot stand in a header', invalid, () => token({ sub: 'a\r\nx-admin: 1' })),
  ofToken('a token that is none', invalid, () => 'abc'),
  ofToken('a token that is too large', invalid, () => `${'a'.repeat(20_000)}.b.c`),
  {
    name: 'a token in the query alone',
    expected: '401 missing_token',
    request: () => ({ path: `/orders?access_token=${token()}` }),
  },
  ofHeaders('a good API key', 'allow', [['x-api-key', goodKey]]),
  ofHeaders('an expired API key', '401 invalid_api_key', [['x-api-key', expiredKey]]),
  ofHeaders('an unknown API key', '401 invalid_api_key', [['x-api-key', unknownKey]]),
  withGood('an unknown API key beside a good token', '401 invalid_api_key', [['x-api-key', 'gp_x_y']]),
  withGood('a good API key beside a good token', 'allow', [['x-api-key', goodKey]]),
]

const settings: Case[] = [
  ofSettings('a route and its service', 'allow', { route: 'orders', service: 'order-service' }),
  ofSettings('a scope that is held', 'allow', { scopes: 'read:orders' }, { scope: 'read:orders' }),
  ofSettings(
    'a scope that is missing',
    '403 insufficient_scope',
    { scopes: 'read:orders, b' },
    { scope: 'b' },
  ),
  ofSettings('an empty list of scopes', 'allow', { scopes: '' }),
  ofSettings('auth required', 'allow', { auth: 'required' }),
  ofSettings('auth none, with a credential', 'allow', { auth: 'none' }),
  ofHeaders('auth none, without one', 'allow', [], { settings: { auth: 'none' } }),
  ofHeaders('auth none, with a bad one', 'allow', [bearer('bad')], { settings: { auth: 'none' } }),
  ofHeaders('auth optional, without one', 'allow', [], { settings: { auth: 'optional' } }),
  ofHeaders('auth optional, with a bad one', invalid, [bearer('bad')], { settings: { auth: 'optional' } }),
  ofHeaders('auth optional and a scope, without one', '401 missing_token', [], {
    settings: { auth: 'optional', scopes: 'a' },
  }),
  ofSettings('an unknown mode', 'fault', { auth: 'maybe' }),
  ofSettings('an unknown setting', 'fault', { rout: 'orders' }),
  ofSettings('an empty route', 'fault', { route: '' }),
  ofSettings('a route that is too long', 'fault', { route: 'r'.repeat(129) }),
  ofSettings('a scope that is none', 'fault', { scopes: 'a"b' }),
  ofHeaders('a bad setting without a credential', 'fault', [], { settings: { auth: '' } }),
]

const forged: Headers = [
  ['x-user-id', 'root'],
  ['x-client-id', 'root'],
  ['x-auth-scopes', 'admin'],
  ['x-auth-issuer', 'https://evil.example.com/'],
  ['x-gatepost-probe', '1'],
  ['x-gatepost-', '2'],
]

const oddities: Case[] = [
  withGood('forged identity beside a good token', 'allow', forged),
  withGood('forged identity, each twice', 'allow', [...forged, ...forged]),
  ofHeaders('forged identity on a route without auth', 'allow', forged, { settings: { auth: 'none' } }),
  ofHeaders('forged identity on an optional route', 'allow', forged, { settings: { auth: 'optional' } }),
  ofHeaders('forged identity and no credential', '401 missing_token', forged),
  withGood('settings in headers', 'allow', [
    ['gatepost-auth', 'none'],
    ['x-gatepost-auth', 'none'],
    ['gatepost-mode', 'observe'],
  ]),
  {
    name: 'the same token twice',
    expected: malformed,
    request: () => ({ headers: [bearer(token()), bearer(token())] }),
  },
  {
    name: 'a bad token after a good one',
    expected: malformed,
    request: () => ({ headers: [bearer(token()), bearer('bad')] }),
  },
  withGood('a cookie, repeated', 'allow', [
    ['cookie', 'a=1'],
    ['cookie', 'b=2'],
  ]),
  withGood('a header of 64 KiB', 'allow', [['x-large', 'v'.repeat(65_536)]]),
  withGood(
    'five thousand headers',
    'allow',
    Array.from({ length: 5_000 }, (_, at) => [`x-${at}`, 'v'] as const),
  ),
  withGood('an empty header', 'allow', [['x-empty', '']]),
  withGood('names that objects have', 'allow', [
    ['constructor', 'x'],
    ['tostring', 'y'],
  ]),
  withGood('a value of other scripts', 'allow', [['x-name', '日本語 😀']]),
  withGood('a forged address', 'allow', [
    ['x-forwarded-for', '10.0.0.1'],
    ['x-envoy-external-address', '10.0.0.2'],
  ]),
  withGood('another method', 'allow', [], { method: 'DELETE' }),
  withGood('another host', 'allow', [], { authority: 'evil.example.com:8443' }),
]

const grpc: Headers[number] = ['content-type', 'application/grpc+proto']

const grpcCallers: Case[] = [
  ofHeaders('a gRPC caller without credential', '401 missing_token', [grpc]),
  ofHeaders('a gRPC caller with a bad token', invalid, [grpc, bearer('bad')]),
  ofHeaders('a gRPC caller with two credentials', malformed, [grpc, bearer('a'), bearer('b')]),
  withGood('a gRPC caller with a good token', 'allow', [grpc]),
  withGood('a gRPC caller without a scope', '403 insufficient_scope', [grpc], { settings: { scopes: 'a' } }),
  withGood('a gRPC caller on a route with a bad setting', 'fault', [grpc], { settings: { auth: 'maybe' } }),
  ofHeaders('a caller whose content type only looks like gRPC', '401 missing_token', [
    ['content-type', 'text/grpc'],
  ]),
]

const cases = [...credentials, ...settings, ...oddities, ...grpcCallers]

test.each(cases.map((one) => [one.name, one.expected, one.request] as const))(
  '%s: %s through every door',
  async (_name, expected, made) => {
    const request = made()

    const [map, raw, proc] = await Promise.all([
      throughExtAuthz(checks, request, 'map'),
      throughExtAuthz(checks, request, 'raw'),
      throughExtProc(streams, request),
    ])

    expect(verdictInWords(map)).toBe(expected)
    expect(raw).toEqual(map)
    expect(proc).toEqual(map)
  },
)

test('a value that is no text at all is refused the same way', async () => {
  const value = Buffer.concat([Buffer.from('Bearer '), Buffer.from([0xff, 0xfe, 0x80])])
  const request: SentRequest = { headers: [['authorization', value]] }

  const raw = await throughExtAuthz(checks, request, 'raw')
  const proc = await throughExtProc(streams, request)

  expect(verdictInWords(raw)).toBe(invalid)
  expect(proc).toEqual(raw)
})

test('the table is long enough, and every kind of verdict is in it', () => {
  const kinds = new Set(cases.map(({ expected }) => expected))

  expect(cases.length).toBeGreaterThanOrEqual(40)
  expect([...kinds].sort()).toEqual([
    '400 invalid_request',
    '401 invalid_api_key',
    '401 invalid_token',
    '401 missing_token',
    '401 unsupported_scheme',
    '403 insufficient_scope',
    'allow',
    'fault',
  ])
})

test('an allowed request reaches the upstream with the identity of its token, and with none of the client’s', async () => {
  const headers: Headers = [
    bearer(token({ sub: 'alice', client_id: 'shop', scope: 'read:orders' })),
    ...forged,
  ]

  const verdict = await throughExtProc(streams, { headers, settings: { route: 'orders', service: 'o' } })

  expect(verdict).toMatchObject({
    verdict: 'allow',
    upstream: {
      set: {
        'x-user-id': 'alice',
        'x-client-id': 'shop',
        'x-auth-scopes': 'read:orders',
        'x-auth-issuer': provider.issuer,
      },
      removed: expect.arrayContaining(['x-gatepost-', 'x-gatepost-probe']),
    },
    metadata: { user_id: 'alice', client_id: 'shop', route: 'orders', service: 'o', decision: 'allow' },
  })
})
