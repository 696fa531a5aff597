import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { apiKeyIssuer, createApiKeys, newApiKey } from '../../src/auth/api-keys.ts'
import type { AuthenticatorParts } from '../../src/auth/authenticator.ts'
import { refuseToken } from '../../src/auth/refusals.ts'
import type { Denial } from '../../src/core/denials.ts'
import type { Caller } from '../../src/core/identity.ts'
import type { AcceptedCredentials, AuthMode } from '../../src/core/routes.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { createSigner, type Signer } from '../support/signer.ts'
import { createTestAuthenticator } from '../support/test-authenticator.ts'
import { createTestIssuer, type TestIssuer } from '../support/test-issuer.ts'

const principal = 'spiffe://example.com/shop'
const { key, hash } = newApiKey()
const [, id = ''] = key.split('_')
const entry = { id, clientId: 'key-shop', hash: Buffer.from(hash.replace('sha256:', ''), 'hex'), scopes: [] }

let signer: Signer
let clock: FakeClock
let one: TestIssuer
let two: TestIssuer

beforeAll(async () => {
  signer = await createSigner('ES256', 'key-1')
})

beforeEach(async () => {
  clock = new FakeClock()
  one = await issuerOf('https://one.example.com/')
  two = await issuerOf('https://two.example.com/')
})

async function issuerOf(issuer: string): Promise<TestIssuer> {
  const made = createTestIssuer({ clock, issuer, name: new URL(issuer).hostname.split('.')[0] ?? '' })
  made.keys.publish(signer.jwk)
  await made.keySet.start()
  return made
}

/** An authenticator of both issuers, the key and certificates, asked on routes that accept what they say. */
function door(more: Partial<AuthenticatorParts> = {}) {
  const parts = createTestAuthenticator(
    clock,
    [one, two],
    {},
    {
      apiKeys: { header: 'x-api-key', verify: createApiKeys(() => new Map([[id, entry]])) },
      certificates: 'principal',
      ...more,
    },
  )
  async function ask(
    accepts: AcceptedCredentials | undefined,
    headers: Record<string, string>,
    { certificate = false, auth = 'required' as AuthMode } = {},
  ): Promise<string> {
    const caller = await parts.authenticate(
      {
        headers: new Map(Object.entries(headers)),
        receivedAtMs: clock.now(),
        principal: certificate ? principal : undefined,
      },
      { name: 'test', auth, scopes: [], ...(accepts && { accepts }) },
    )
    return inWords(caller)
  }
  return { ...parts, ask }
}

function inWords(caller: Caller | Denial): string {
  if (caller.kind === 'denial') return `${caller.reason} ${caller.cause ?? ''}`.trim()
  return caller.kind === 'anonymous' ? 'anonymous' : caller.issuer
}

const all = { apiKeys: true, certificates: true }
const onlyOne = { issuers: ['https://one.example.com/'], apiKeys: false, certificates: false }
const onlyTwo = { ...onlyOne, issuers: ['https://two.example.com/'] }

async function bearer(issuer: TestIssuer): Promise<{ authorization: string }> {
  return { authorization: `Bearer ${await signer.sign(issuer.claims())}` }
}

describe('a route that names issuers', () => {
  test('accepts their tokens and no others, and a refused token causes no fetch', async () => {
    const { ask, observed } = door()
    const fetches = two.keys.fetches

    expect(await ask(onlyOne, await bearer(one))).toBe('https://one.example.com/')
    expect(await ask(onlyOne, await bearer(two))).toBe('invalid_token unknown_issuer')
    expect(two.keys.fetches).toBe(fetches)
    expect(observed.refusals).toEqual(['unknown: unknown_issuer'])
  })

  test('refuses a token that another route has had remembered', async () => {
    const { ask, observed } = door()
    const shown = await bearer(two)
    await ask(undefined, shown)

    const elsewhere = await ask(onlyOne, shown)
    const again = await ask(onlyTwo, shown)

    expect([elsewhere, again]).toEqual(['invalid_token unknown_issuer', 'https://two.example.com/'])
    expect(observed).toMatchObject({ hits: 2, misses: 1 })
  })

  test('refuses such a token where a credential is optional too', async () => {
    expect(await door().ask(onlyOne, await bearer(two), { auth: 'optional' })).toBe(
      'invalid_token unknown_issuer',
    )
    expect(await door().ask(onlyOne, {}, { auth: 'optional' })).toBe('anonymous')
    expect(await door().ask(onlyOne, await bearer(two), { auth: 'none' })).toBe('anonymous')
  })

  test('compares them to the letter', async () => {
    const accepts = { ...onlyOne, issuers: ['https://one.example.com', 'HTTPS://ONE.EXAMPLE.COM/'] }

    expect(await door().ask(accepts, await bearer(one))).toBe('invalid_token unknown_issuer')
  })

  test('has only those asked about a token that names none', async () => {
    const asked: string[] = []
    const askable = (name: string) => ({
      spec: { name, issuer: `https://${name}.example.com/` },
      judge: {
        kind: 'introspection' as const,
        introspect: async () => {
          asked.push(name)
          return refuseToken('inactive')
        },
      },
    })
    const { ask } = door({ issuers: [askable('three'), askable('four')] })

    const verdict = await ask(
      { ...onlyOne, issuers: ['https://four.example.com/'] },
      { authorization: 'Bearer opaque' },
    )
    const nobody = await ask(onlyOne, { authorization: 'Bearer opaque' })

    expect([verdict, nobody]).toEqual(['invalid_token inactive', 'invalid_token malformed'])
    expect(asked).toEqual(['four'])
  })
})

describe('an API key', () => {
  test.each([
    ['is accepted where nothing is said', undefined, apiKeyIssuer],
    ['is accepted where keys are', { apiKeys: true, certificates: false }, apiKeyIssuer],
    ['is refused where they are not', { apiKeys: false, certificates: true }, 'invalid_api_key not_accepted'],
    ['is refused where issuers are named', onlyOne, 'invalid_api_key not_accepted'],
    ['is accepted beside named issuers that allow it', { ...onlyOne, apiKeys: true }, apiKeyIssuer],
  ])('%s', async (_what, accepts, verdict) => {
    expect(await door().ask(accepts, { 'x-api-key': key })).toBe(verdict)
  })

  test('that is not accepted is refused beside a good token, on optional routes too, and not where nobody is asked', async () => {
    const shown = { ...(await bearer(one)), 'x-api-key': key }

    expect(await door().ask(onlyOne, shown)).toBe('invalid_api_key not_accepted')
    expect(await door().ask(onlyOne, shown, { auth: 'optional' })).toBe('invalid_api_key not_accepted')
    expect(await door().ask(onlyOne, shown, { auth: 'none' })).toBe('anonymous')
  })

  test('that is bad is told no apart from a good one where none is accepted', async () => {
    expect(await door().ask(onlyOne, { 'x-api-key': 'gp_x_y' })).toBe('invalid_api_key not_accepted')
  })
})

describe('a client certificate', () => {
  test.each([
    ['names the caller where nothing is said', undefined, 'urn:gatepost:client-certificate'],
    ['names the caller where certificates do', { ...all, apiKeys: false }, 'urn:gatepost:client-certificate'],
    ['does not count where they do not', { ...all, certificates: false }, 'missing_token'],
    ['does not count where issuers are named', onlyOne, 'missing_token'],
  ])('%s', async (_what, accepts, verdict) => {
    expect(await door().ask(accepts, {}, { certificate: true })).toBe(verdict)
  })

  test('that does not count is no obstacle to a good token', async () => {
    expect(await door().ask(onlyOne, await bearer(one), { certificate: true })).toBe(
      'https://one.example.com/',
    )
  })
})
