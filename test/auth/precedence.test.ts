import { beforeAll, describe, expect, test } from '@jest/globals'
import { createApiKeys, newApiKey } from '../../src/auth/api-keys.ts'
import { createIntrospection } from '../../src/auth/introspection.ts'
import type { TrustedIssuer } from '../../src/auth/trusted-issuer.ts'
import type { Denial } from '../../src/core/denials.ts'
import type { Caller, Identity } from '../../src/core/identity.ts'
import { authModes } from '../../src/core/routes.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { createSigner } from '../support/signer.ts'
import { createTestAnswers } from '../support/test-answers.ts'
import { createTestAuthenticator, type TestAuthenticator } from '../support/test-authenticator.ts'
import { createTestIssuer } from '../support/test-issuer.ts'
import {
  authorizations,
  certificates,
  covers,
  keys,
  type Outcome,
  precedence,
  type Shown,
} from './precedence-table.ts'

const opaqueIssuer = 'https://opaque.example.com'
const certificate = 'spiffe://prod.example.com/ns/shop/sa/checkout'
const clock = new FakeClock()

/** An issuer that knows one opaque token. */
function introspectingIssuer(): TrustedIssuer {
  const spec = { name: 'opaque', issuer: opaqueIssuer, audiences: ['api'] }
  const introspect = createIntrospection({
    spec,
    endpoint: async () => `${opaqueIssuer}/introspect`,
    client: { id: 'gatepost', secret: () => 's3cret' },
    fetchJson: async (_url, { form } = {}) =>
      form?.['token'] === 'opaque-good' ? { active: true, sub: 'opaque', aud: 'api' } : { active: false },
    cache: createTestAnswers<Identity | Denial>(clock).cache,
    times: { goodMs: 30_000, badMs: 5_000, staleMs: 0 },
    clockSkewSeconds: 30,
  })
  return { spec, judge: { kind: 'introspection', introspect } }
}

let authenticator: TestAuthenticator
let authorizationOf: Record<Shown['authorization'], string | undefined>
let keyOf: Record<Shown['key'], string | undefined>
const certificateOf: Record<Shown['certificate'], string | undefined> = {
  absent: undefined,
  present: `Hash=00;URI=${certificate}`,
  unreadable: `URI=${certificate},URI=spiffe://evil`,
}

beforeAll(async () => {
  const issuer = createTestIssuer({ clock })
  const signer = await createSigner('RS256', 'key-1')
  issuer.keys.publish(signer.jwk)
  await issuer.keySet.start()
  const { key, id, hash } = newApiKey()
  const entry = { id, clientId: 'ci', hash: Buffer.from(hash.slice(7), 'hex'), scopes: ['deploy'] }
  authenticator = createTestAuthenticator(
    clock,
    [issuer],
    {},
    {
      issuers: [introspectingIssuer()],
      apiKeys: { header: 'x-api-key', verify: createApiKeys(() => new Map([[id, entry]])) },
      certificates: 'xfcc',
    },
  )
  const jwt = await signer.sign(issuer.claims())
  authorizationOf = {
    absent: undefined,
    'a good JWT': `Bearer ${jwt}`,
    'a good opaque token': 'Bearer opaque-good',
    'a bad JWT': `Bearer ${await signer.sign(issuer.claims({ exp: 1 }))}`,
    'an unknown opaque token': 'Bearer opaque-unknown',
    'no token that could be one': 'Bearer {}',
    'another scheme': 'Basic Ym9iOnBhc3N3b3Jk',
    'a malformed value': 'Bearer',
    'more than one value': `Bearer ${jwt},Bearer ${jwt}`,
  }
  keyOf = { absent: undefined, good: key, bad: `gp_${id}_${'A'.repeat(43)}` }
})

/** Every combination of credentials. */
const combinations: readonly Shown[] = authorizations.flatMap((authorization) =>
  keys.flatMap((key) => certificates.map((certificate) => ({ authorization, key, certificate }))),
)

function headersOf({ authorization, key, certificate }: Shown): Record<string, string> {
  const headers = {
    authorization: authorizationOf[authorization],
    'x-api-key': keyOf[key],
    'x-forwarded-client-cert': certificateOf[certificate],
  }
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (value ? [[name, value]] : [])),
  )
}

function outcomeOf(caller: Caller | Denial): Outcome {
  return caller.kind === 'denial' ? caller.reason : caller.kind
}

test('the table has each combination exactly once', () => {
  const rows = combinations.map((shown) => precedence.filter((row) => covers(row, shown)).length)

  expect(rows).toEqual(combinations.map(() => 1))
})

describe.each(authModes)('where auth is %s', (auth) => {
  test.each(combinations)(
    'authorization holds $authorization, the key is $key, the certificate $certificate',
    async (shown) => {
      const caller = await authenticator.ask(headersOf(shown), undefined, auth)

      expect(outcomeOf(caller)).toBe(precedence.find((row) => covers(row, shown))?.outcome[auth])
    },
  )
})

test('whoever names the caller vouches for all of it: nothing of another credential is mixed in', async () => {
  const all = { key: 'good', certificate: 'present' } as const

  const callers = await Promise.all(
    (['a good JWT', 'a good opaque token', 'absent'] as const).map((authorization) =>
      authenticator.ask(headersOf({ authorization, ...all })),
    ),
  )

  expect(callers).toMatchObject([
    { kind: 'token', issuer: 'https://login.example.com/', userId: '42', scopes: [] },
    { kind: 'token', issuer: opaqueIssuer, userId: 'opaque', scopes: [] },
    { kind: 'key', issuer: 'urn:gatepost:api-keys', clientId: 'ci', scopes: ['deploy'] },
  ])
})

test('two issuers that mint the same sub name two callers', async () => {
  const two = createTestIssuer({ clock, name: 'two', issuer: 'https://two.example.com/' })
  const one = createTestIssuer({ clock, name: 'one', issuer: 'https://one.example.com/' })
  const signer = await createSigner('RS256', 'key-1')
  for (const { keys, keySet } of [one, two]) {
    keys.publish(signer.jwk)
    await keySet.start()
  }
  const { ask } = createTestAuthenticator(clock, [one, two])

  const callers = await Promise.all(
    [one, two].map(async ({ claims }) => ask({ authorization: `Bearer ${await signer.sign(claims())}` })),
  )

  expect(callers).toMatchObject([
    { userId: '42', issuer: 'https://one.example.com/' },
    { userId: '42', issuer: 'https://two.example.com/' },
  ])
})

test('what cannot be a token is never shown to an issuer', async () => {
  const asked: string[] = []
  const { verdictOn } = createTestAuthenticator(
    clock,
    [],
    {},
    {
      issuers: [
        {
          spec: { name: 'opaque', issuer: opaqueIssuer },
          judge: {
            kind: 'introspection',
            introspect: async (token) => {
              asked.push(token)
              return { kind: 'token', issuer: opaqueIssuer, scopes: [], claims: {} }
            },
          },
        },
      ],
    },
  )

  const bad = ['{}', '"quoted"', 'caf\u00e9', 'a\\b', 'a=b', '=', 'x'.repeat(16_385)]
  const verdicts = await Promise.all([...bad, 'opaque._~+/-=='].map(verdictOn))

  expect(verdicts).toEqual([...Array(6).fill('malformed'), 'too_large', 'ok'])
  expect(asked).toEqual(['opaque._~+/-=='])
})
