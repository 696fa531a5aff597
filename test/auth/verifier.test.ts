import { createHmac, createPublicKey } from 'node:crypto'
import { createServer } from 'node:http'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { parseToken, type UnverifiedToken } from '../../src/auth/compact-jws.ts'
import { auth0Issuer } from '../../src/auth/issuers.ts'
import { isDenial } from '../../src/core/denials.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { listen } from '../support/ports.ts'
import { base64Url, createSigner, type Signer } from '../support/signer.ts'
import { createTestIssuer, type TestIssuerOptions } from '../support/test-issuer.ts'

const clock = new FakeClock()
const nowSeconds = clock.now() / 1_000

let rsa: Signer
let ec: Signer
let stranger: Signer

beforeAll(async () => {
  ;[rsa, ec, stranger] = await Promise.all([
    createSigner('RS256', 'rsa-1'),
    createSigner('ES256', 'ec-1'),
    createSigner('RS256', 'rsa-1'),
  ])
})

async function setUp(options: Partial<TestIssuerOptions> = {}, published: readonly Signer[] = [rsa, ec]) {
  const issuer = createTestIssuer({ clock, ...options })
  issuer.keys.publish(...published.map(({ jwk }) => jwk))
  await issuer.keySet.start()
  /** Tells the cause of a refusal, or `ok`. */
  const verdictOn = async (token: string, nowMs = clock.now()) => {
    const parsed = parseToken(token)
    const outcome = isDenial(parsed) ? parsed : await issuer.verifier.verify(parsed, nowMs)
    return outcome.kind === 'verified' ? 'ok' : outcome.cause
  }
  return { ...issuer, verdictOn }
}

describe('verifies', () => {
  test.each(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'])(
    '%s, with and without key id',
    async (algorithm) => {
      const [named, nameless] = await Promise.all([createSigner(algorithm, 'named'), createSigner(algorithm)])
      const { verdictOn, claims } = await setUp({}, [named, nameless])

      expect(await verdictOn(await named.sign(claims()))).toBe('ok')
      expect(await verdictOn(await nameless.sign(claims()))).toBe('ok')
    },
  )

  test('and tells who it is, by which key, from when and until when', async () => {
    const { verifier, keySet, claims } = await setUp()
    const exp = nowSeconds + 600
    const token = await rsa.sign(claims({ exp, nbf: nowSeconds - 600, scope: 'read:a', azp: 'shop' }))

    const outcome = await verifier.verify(parseToken(token) as UnverifiedToken, clock.now())

    expect(outcome).toMatchObject({
      kind: 'verified',
      identity: { issuer: 'https://login.example.com/', userId: '42', clientId: 'shop', scopes: ['read:a'] },
      notBeforeMs: clock.now() - 600_000,
      expiresAtMs: clock.now() + 600_000,
    })
    expect(outcome).toHaveProperty('key', (await keySet.find('rsa-1', 'RS256'))[0])
  })
})

describe('the signature', () => {
  test('of a key that is not published does not verify, whatever id it claims', async () => {
    const { verdictOn, claims } = await setUp()

    expect(await verdictOn(await stranger.sign(claims()))).toBe('bad_signature')
    expect(await verdictOn(await stranger.sign(claims(), { kid: undefined }))).toBe('bad_signature')
    expect(await verdictOn(await stranger.sign(claims(), { kid: 'rsa-2' }))).toBe('unknown_key')
  })

  test.each([0, 1, 2])('does not verify once a byte of segment %i is another', async (at) => {
    const { verdictOn, claims } = await setUp()
    const segments = (await rsa.sign(claims({ note: 'a' }), { note: 'a' })).split('.')
    const changed = Buffer.from(segments[at] as string, 'base64url')
    const where = at === 2 ? 10 : changed.indexOf('"a"') + 1
    changed[where] = (changed[where] as number) ^ 1
    segments[at] = changed.toString('base64url')

    expect(await verdictOn(segments.join('.'))).toBe('bad_signature')
  })

  test.each([
    ['cut short', (text: string) => Buffer.from(text, 'base64url').subarray(3).toString('base64url')],
    ['twice over', (text: string) => text + text],
    ['all zeros', (text: string) => 'A'.repeat(text.length)],
    ['a single byte', () => 'AA'],
  ])('does not verify when it is %s', async (_what, spoil) => {
    const { verdictOn, claims } = await setUp()
    for (const signer of [rsa, ec]) {
      const [header, payload, signature = ''] = (await signer.sign(claims())).split('.')

      expect(await verdictOn(`${header}.${payload}.${spoil(signature)}`)).toBe('bad_signature')
    }
  })
})

describe('the algorithm', () => {
  test('must be one that the issuer may use, before any key is looked for', async () => {
    const { spec } = createTestIssuer({ clock, ...auth0Issuer('https://shop.auth0.com', 'any') })
    const { verdictOn, claims, keys } = await setUp(spec)
    const signer = await createSigner('PS256', 'unknown-kid')

    expect(await verdictOn(await signer.sign(claims()))).toBe('unsupported_algorithm')
    expect(await verdictOn(await ec.sign(claims()))).toBe('unsupported_algorithm')
    expect(await verdictOn(await rsa.sign(claims()))).toBe('ok')
    expect(keys.fetches).toBe(1)
  })

  test('is bound to the key: a key published for RS256 verifies no PS256', async () => {
    const { verdictOn, claims } = await setUp()
    const ps256 = await createSigner('PS256', 'rsa-1')

    expect(await verdictOn(await ps256.sign(claims()))).toBe('unknown_key')
  })

  test.each(['none', 'None', 'NONE', 'nOnE', 'HS256', 'HS512', 'RS1', 'ES256K', 'rs256', 'dir', ''])(
    '%j is refused',
    async (alg) => {
      const { verdictOn, claims } = await setUp()
      const token = `${base64Url({ alg, kid: 'rsa-1' })}.${base64Url(claims())}.${base64Url('signature')}`

      expect(await verdictOn(token)).toBe('unsupported_algorithm')
    },
  )

  test.each(['', 'AA'])('none with the signature %j gives nothing', async (signature) => {
    const { verdictOn, claims } = await setUp()

    expect(await verdictOn(`${base64Url({ alg: 'none' })}.${base64Url(claims())}.${signature}`)).not.toBe(
      'ok',
    )
  })

  // RFC 8725 §2.1: the public key taken for an HMAC secret.
  test.each<[string, (signer: Signer) => Buffer | string]>([
    ['PEM', ({ jwk }) => publicKeyOf(jwk).export({ type: 'spki', format: 'pem' })],
    ['PKCS #1 PEM', ({ jwk }) => publicKeyOf(jwk).export({ type: 'pkcs1', format: 'pem' })],
    ['DER', ({ jwk }) => publicKeyOf(jwk).export({ type: 'spki', format: 'der' })],
    ['JWK', ({ jwk }) => JSON.stringify(jwk)],
    ['modulus', ({ jwk }) => Buffer.from(jwk.n as string, 'base64url')],
  ])('HS256 under the public key as %s is refused', async (_form, secretOf) => {
    const { verdictOn, claims } = await setUp()
    const signed = `${base64Url({ alg: 'HS256', kid: 'rsa-1' })}.${base64Url(claims())}`
    const mac = createHmac('sha256', secretOf(rsa)).update(signed).digest('base64url')

    expect(await verdictOn(`${signed}.${mac}`)).toBe('unsupported_algorithm')
  })
})

function publicKeyOf(jwk: Signer['jwk']) {
  return createPublicKey({ key: jwk as Record<string, unknown>, format: 'jwk' })
}

describe('key material that a token brings along', () => {
  test('is neither used nor fetched', async () => {
    let visits = 0
    const server = createServer((_request, response) => {
      visits += 1
      response.end(JSON.stringify({ keys: [stranger.jwk] }))
    })
    const url = `http://127.0.0.1:${await listen(server)}/jwks`
    const { verdictOn, claims, keys } = await setUp()
    const brought = { jku: url, x5u: url, jwk: stranger.jwk, x5c: ['AA=='] }

    const forged = await verdictOn(await stranger.sign(claims(), brought))
    const genuine = await verdictOn(await rsa.sign(claims(), brought))

    server.close()
    expect({ forged, genuine }).toEqual({ forged: 'bad_signature', genuine: 'ok' })
    expect({ visits, fetches: keys.fetches }).toEqual({ visits: 0, fetches: 1 })
  })
})

describe('a token without key id', () => {
  test('is tried against each key that fits its algorithm', async () => {
    const others = await Promise.all([createSigner('RS256', 'rsa-2'), createSigner('RS256', 'rsa-3')])
    const { verdictOn, claims } = await setUp({}, [rsa, ec, ...others])

    for (const signer of [rsa, ...others, ec]) {
      expect(await verdictOn(await signer.sign(claims(), { kid: undefined }))).toBe('ok')
    }
  })

  test('is refused for its claims by the key that verifies it, though other keys are left', async () => {
    const other = await createSigner('RS256', 'rsa-2')
    const { verdictOn, claims } = await setUp({}, [rsa, other])

    expect(await verdictOn(await rsa.sign(claims({ aud: 'other' }), { kid: undefined }))).toBe(
      'wrong_audience',
    )
  })

  test('is of an unknown key where none fits, and causes no fetch', async () => {
    const { verdictOn, claims, keys } = await setUp({}, [ec])

    expect(await verdictOn(await rsa.sign(claims(), { kid: undefined }))).toBe('unknown_key')
    expect(keys.fetches).toBe(1)
  })
})

describe('the times', () => {
  const skewed = (exp: number | undefined, nbf?: number) => ({
    exp: exp === undefined ? undefined : nowSeconds + exp,
    ...(nbf !== undefined && { nbf: nowSeconds + nbf }),
  })

  test.each([
    ['is over within the skew', skewed(-29), 'ok'],
    ['is over by the skew', skewed(-30), 'expired'],
    ['is over by more', skewed(-31), 'expired'],
    ['is missing', skewed(undefined), 'bad_claims'],
    ['is a text', { exp: String(nowSeconds + 60) }, 'bad_claims'],
    ['is null', { exp: null }, 'bad_claims'],
    ['is a list', { exp: [nowSeconds + 60] }, 'bad_claims'],
    ['is zero', { exp: 0 }, 'expired'],
    ['is negative', { exp: -1 }, 'expired'],
  ])('a token whose exp %s: %j gives %s', async (_what, times, verdict) => {
    const { verdictOn, claims } = await setUp()

    expect(await verdictOn(await rsa.sign(claims(times)))).toBe(verdict)
  })

  test.each([
    ['has come', skewed(60, 0), 'ok'],
    ['comes within the skew', skewed(60, 30), 'ok'],
    ['comes later', skewed(60, 31), 'not_yet_valid'],
    ['is a text', { nbf: 'now' }, 'bad_claims'],
  ])('a token whose nbf %s: %j gives %s', async (_what, times, verdict) => {
    const { verdictOn, claims } = await setUp()

    expect(await verdictOn(await rsa.sign(claims(times)))).toBe(verdict)
  })

  test('are measured by the request’s time, not by the machine’s', async () => {
    const { verdictOn, claims } = await setUp()
    const token = await rsa.sign(claims({ nbf: nowSeconds, exp: nowSeconds + 60 }))

    expect(await verdictOn(token, clock.now())).toBe('ok')
    expect(await verdictOn(token, clock.now() + 90_000)).toBe('expired')
    expect(await verdictOn(token, clock.now() - 31_000)).toBe('not_yet_valid')
  })

  test('have no leeway where the skew is zero', async () => {
    const { verdictOn, claims } = await setUp({ clockSkewSeconds: 0 })

    expect(await verdictOn(await rsa.sign(claims({ exp: nowSeconds })))).toBe('expired')
    expect(await verdictOn(await rsa.sign(claims({ exp: nowSeconds + 1 })))).toBe('ok')
  })
})

describe('the audience', () => {
  test.each([
    ['ours', 'https://api.example.com', 'ok'],
    ['ours among others', ['other', 'https://api.example.com'], 'ok'],
    ['another’s', 'other', 'wrong_audience'],
    ['others’', ['other', 'https://api.example.com/'], 'wrong_audience'],
    ['ours in other letters', 'HTTPS://api.example.com', 'wrong_audience'],
    ['nobody’s', [], 'wrong_audience'],
    ['missing', undefined, 'wrong_audience'],
    ['an object', { 'https://api.example.com': true }, 'wrong_audience'],
  ])('%s: %j gives %s', async (_whose, aud, verdict) => {
    const { verdictOn, claims } = await setUp()

    expect(await verdictOn(await rsa.sign(claims({ aud })))).toBe(verdict)
  })

  test('may be any of several', async () => {
    const { verdictOn, claims } = await setUp({ audiences: ['a', 'b'] })

    expect(await verdictOn(await rsa.sign(claims({ aud: ['c', 'b'] })))).toBe('ok')
  })

  test('is left alone where every one will do', async () => {
    const { verdictOn, claims } = await setUp({ audiences: 'any' })

    expect(await verdictOn(await rsa.sign(claims({ aud: undefined })))).toBe('ok')
  })
})

test('a token of another issuer is refused, even if it gets as far as here', async () => {
  const { verdictOn, claims } = await setUp()

  expect(await verdictOn(await rsa.sign(claims({ iss: 'https://login.example.com' })))).toBe('bad_claims')
})

test('a name that cannot stand in a header is refused', async () => {
  const { verdictOn, claims } = await setUp()

  expect(await verdictOn(await rsa.sign(claims({ sub: '42\r\nx-user-id: root' })))).toBe('bad_claims')
})
