import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { auth0Issuer, type ClientCredentials, type IssuerSpec, oktaIssuer } from '../src/auth/issuers.ts'
import type { ProbeResult } from '../src/cli/check.ts'
import type { ApiKeySettings } from '../src/config/api-keys.ts'
import { probesOfApiKeys, probesOfCertificates, probesOfIssuer } from '../src/probes-auth.ts'
import { type OpenIdProvider, startOpenIdProvider } from './support/openid-provider.ts'
import { freePort } from './support/ports.ts'

const nowMs = Date.UTC(2030, 0, 1)
const day = 24 * 3_600_000

let provider: OpenIdProvider
beforeAll(async () => {
  provider = await startOpenIdProvider('okta')
})
afterEach(() => {
  provider.fault = undefined
})
afterAll(() => provider.stop())

function okta(more: Partial<ClientCredentials> = {}, origin = provider.origin): IssuerSpec {
  const introspection = { id: provider.client.id, secret: () => provider.client.secret, ...more }
  return oktaIssuer(origin, 'default', ['api://default'], { introspection })
}

/** What each probe of an issuer found, by subject. */
async function probe(spec: IssuerSpec): Promise<Record<string, ProbeResult>> {
  const probes = probesOfIssuer(spec, false)
  return Object.fromEntries(await Promise.all(probes.map(async ({ subject, run }) => [subject, await run()])))
}

describe('an issuer that is asked about tokens', () => {
  test('is well where it knows our client and calls an invented token inactive', async () => {
    const before = provider.fetched.jwks

    expect(await probe(okta())).toEqual({
      'issuer okta': {
        outcome: 'ok',
        detail: `${provider.introspectionUri} answers, with client id demo-app`,
      },
    })
    expect(provider.fetched.jwks).toBe(before)
  })

  test('fails where it refuses our client, and the secret is not repeated', async () => {
    const { 'issuer okta': result } = await probe(okta({ secret: () => 'not-the-secret' }))

    expect(result).toEqual({
      outcome: 'failed',
      detail: `${provider.introspectionUri} refuses Gatepost's own client credentials (status 401): check the secret of client id demo-app`,
    })
  })

  test.each([
    ['calls every token active', '{"active":true}', 'calls a token active that was never issued'],
    ['says nothing of the token', '{"error":"nope"}', 'does not say whether a token is active'],
    ['says null', 'null', 'does not say whether a token is active'],
  ])('fails where it %s', async (_what, text, detail) => {
    provider.fault = { kind: 'body', text }

    expect(await probe(okta())).toMatchObject({
      'issuer okta': { outcome: 'failed', detail: expect.stringContaining(detail) },
    })
  })

  test.each([
    ['answers 503', { kind: 'unavailable' }, 'status 503'],
    ['answers no JSON', { kind: 'body', text: '<html>' }, 'the answer is not JSON'],
    ['drops the connection', { kind: 'reset' }, 'Cannot fetch'],
  ] as const)('is unreachable where it %s', async (_what, fault, detail) => {
    provider.fault = fault

    expect(await probe(okta())).toMatchObject({
      'issuer okta': { outcome: 'unreachable', detail: expect.stringContaining(detail) },
    })
  })

  test('is unreachable where nothing listens', async () => {
    const nowhere = `http://127.0.0.1:${await freePort()}`

    expect(await probe(okta({}, nowhere))).toMatchObject({
      'issuer okta': { outcome: 'unreachable', detail: expect.stringContaining('ECONNREFUSED') },
    })
  })
})

describe('an issuer whose endpoints are discovered', () => {
  const discovered = (member: string): IssuerSpec => ({
    ...auth0Issuer(provider.origin, 'any'),
    introspection: {
      endpoint: { kind: 'discovery', url: provider.discoveryUri, issuer: provider.issuer, member },
      client: { id: provider.client.id, secret: () => provider.client.secret },
    },
  })

  test('is well where its document names them', async () => {
    expect(await probe(discovered('introspection_endpoint'))).toMatchObject({
      'issuer auth0': { outcome: 'ok' },
    })
  })

  test('is unreachable where it does not', async () => {
    expect(await probe(discovered('no_such_endpoint'))).toMatchObject({
      'issuer auth0': { outcome: 'unreachable', detail: expect.stringContaining('no_such_endpoint') },
    })
  })
})

describe('userinfo', () => {
  const asking = (): IssuerSpec => ({
    ...oktaIssuer(provider.origin, 'default', ['api://default'], { userinfo: true }),
  })

  test('is well where it refuses an invented token; the keys are tried beside it', async () => {
    expect(await probe(asking())).toMatchObject({
      'issuer okta': { outcome: 'ok', detail: expect.stringMatching(/^1 usable key of .* \(RS256\)$/) },
      'userinfo okta': { outcome: 'ok', detail: `${provider.userinfoUri} answers` },
    })
  })

  test('fails where it tells of somebody by an invented token', async () => {
    provider.fault = { kind: 'body', text: '{"sub":"alice","keys":[]}' }

    expect(await probe(asking())).toMatchObject({
      'userinfo okta': {
        outcome: 'failed',
        detail: expect.stringContaining('by a token that was never issued'),
      },
    })
  })

  test('is unreachable where it answers anything else', async () => {
    provider.fault = { kind: 'unavailable' }

    expect(await probe(asking())).toMatchObject({ 'userinfo okta': { outcome: 'unreachable' } })
  })
})

describe('API keys', () => {
  const key = (id: string, expiresAtMs?: number): ApiKeySettings => ({
    id,
    clientId: 'ci',
    hash: Buffer.alloc(32),
    scopes: [],
    ...(expiresAtMs !== undefined && { expiresAtMs }),
  })

  async function describeKeys(...keys: readonly ApiKeySettings[]): Promise<string | undefined> {
    const first = new Map(keys.map((each) => [each.id, each]))
    const [only] = probesOfApiKeys({ apiKeys: { path: '/keys.yaml', header: 'x-api-key', first } }, nowMs)
    return (await only?.run())?.detail
  }

  test('are counted as far as they are in force', async () => {
    expect(await describeKeys(key('a'), key('b', nowMs + 365 * day))).toBe(
      '2 keys in force of /keys.yaml, in the header x-api-key',
    )
  })

  test('are warned of where they have expired or soon will', async () => {
    const keys = [key('old', nowMs), key('soon', nowMs + 14 * day), key('later', nowMs + 14 * day + 1)]

    expect(await describeKeys(...keys)).toBe(
      [
        '2 keys in force of /keys.yaml, in the header x-api-key',
        'warning: key old of ci has expired: 2030-01-01T00:00:00.000Z',
        'warning: key soon of ci expires soon: 2030-01-15T00:00:00.000Z',
      ].join('\n'),
    )
  })

  test.each([
    ['there is none', []],
    ['all have expired', [key('old', nowMs - 1)]],
  ])('are warned of where %s', async (_what, keys) => {
    expect(await describeKeys(...keys)).toContain('warning: no key can be used')
  })

  test('are not spoken of where there is no file', () => {
    expect(probesOfApiKeys({}, nowMs)).toEqual([])
  })
})

test('certificates are spoken of where they are a credential, with what makes them one', async () => {
  const details = (['off', 'principal', 'xfcc'] as const).map(async (clientCertificates) => {
    const [only] = probesOfCertificates({ clientCertificates })
    return (await only?.run())?.detail
  })

  expect(await Promise.all(details)).toEqual([
    undefined,
    expect.stringContaining('as Envoy tells'),
    expect.stringContaining('warning: only a listener with forward_client_cert_details: SANITIZE_SET'),
  ])
})
