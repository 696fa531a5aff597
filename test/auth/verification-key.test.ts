import { generateKeyPairSync } from 'node:crypto'
import { beforeAll, describe, expect, test } from '@jest/globals'
import type { JWK } from 'jose'
import { importKeys, maxKeys } from '../../src/auth/verification-key.ts'
import { createSigner } from '../support/signer.ts'

const everyAlgorithm = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA'],
]

let rsa: JWK
let rsaPrivate: JWK
let ec: JWK
let ecPrivate: JWK
let ed: JWK

beforeAll(async () => {
  const [rsaSigner, ecSigner, edSigner] = await Promise.all([
    createSigner('RS256'),
    createSigner('ES256'),
    createSigner('EdDSA'),
  ])
  rsa = withoutUse(rsaSigner.jwk)
  rsaPrivate = withoutUse(rsaSigner.privateJwk)
  ec = withoutUse(ecSigner.jwk)
  ecPrivate = withoutUse(ecSigner.privateJwk)
  ed = withoutUse(edSigner.jwk)
})

function withoutUse({ alg: _, use: __, ...jwk }: JWK): JWK {
  return jwk
}

function rsaOf(bits: number): JWK {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: bits })
  return publicKey.export({ format: 'jwk' }) as JWK
}

/** Imports one key and tells which algorithms it may verify, or why it may verify none. */
async function verdictOn(entry: unknown, algorithms = everyAlgorithm): Promise<string> {
  const { keys, refused } = await importKeys({ keys: [entry] }, algorithms)
  const algorithmsOf = keys.map(({ byAlgorithm }) => [...byAlgorithm.keys()].join(' '))
  return [...algorithmsOf, ...refused.map(({ why }) => `refused: ${why}`)].join('; ')
}

describe('a key verifies what fits its type and curve', () => {
  test.each<[string, () => JWK, string]>([
    ['RSA', () => rsa, 'RS256 RS384 RS512 PS256 PS384 PS512'],
    ['P-256', () => ec, 'ES256'],
    ['Ed25519', () => ed, 'EdDSA'],
    ['RSA of its own algorithm alone', () => ({ ...rsa, alg: 'PS384' }), 'PS384'],
    ['Ed25519 by its new name', () => ({ ...ed, alg: 'Ed25519' }), 'EdDSA'],
    ['marked for signatures', () => ({ ...ec, use: 'sig', key_ops: ['verify'] }), 'ES256'],
    ['with members that mean nothing here', () => ({ ...ec, x5t: 'x', x5c: ['x'], iat: 1 }), 'ES256'],
    ['RSA with exponent 3', () => ({ ...rsa, e: 'Aw' }), 'RS256 RS384 RS512 PS256 PS384 PS512'],
  ])('%s', async (_what, jwk, algorithms) => {
    expect(await verdictOn(jwk())).toBe(algorithms)
  })

  test.each([
    ['ES384', 'P-384'],
    ['ES512', 'P-521'],
  ])('%s on %s', async (algorithm) => {
    const { jwk } = await createSigner(algorithm)

    expect(await verdictOn(withoutUse(jwk))).toBe(algorithm)
  })

  test('and that its issuer may use', async () => {
    expect(await verdictOn(rsa, ['RS256'])).toBe('RS256')
    expect(await verdictOn(ec, ['RS256'])).toBe('refused: no accepted algorithm fits P-256')
  })
})

describe('a key is refused', () => {
  test.each<[string, () => unknown, string]>([
    ['when symmetric', () => ({ kty: 'oct', k: 'c2VjcmV0', alg: 'HS256' }), 'a symmetric key'],
    ['when private', () => rsaPrivate, 'a private key'],
    ['when private on a curve', () => ecPrivate, 'a private key'],
    ['when it only has a private member', () => ({ ...ec, d: '' }), 'a private key'],
    ['when symmetric under an RSA label', () => ({ ...rsa, k: 'c2VjcmV0' }), 'a private key'],
    ['when RSA and EC in one', () => ({ ...rsa, ...ec, kty: 'RSA' }), 'a mixed key: RSA with "x"'],
    ['when EC and RSA in one', () => ({ ...ec, n: rsa.n, e: rsa.e }), 'a mixed key: EC with "n"'],
    ['when Ed25519 with a y', () => ({ ...ed, y: ec.y }), 'a mixed key: OKP with "y"'],
    ['when for encryption', () => ({ ...rsa, use: 'enc' }), 'for use "enc"'],
    ['when for no known use', () => ({ ...rsa, use: ['sig'] }), 'for use ["sig"]'],
    ['when for signing', () => ({ ...rsa, key_ops: ['sign'] }), 'not for verifying'],
    ['when for nothing', () => ({ ...rsa, key_ops: [] }), 'not for verifying'],
    ['when key_ops is no list', () => ({ ...rsa, key_ops: 5 }), 'not for verifying'],
    ['when key_ops is a text', () => ({ ...rsa, key_ops: 'verify' }), 'not for verifying'],
    ['when of another algorithm', () => ({ ...rsa, alg: 'RSA-OAEP' }), 'no accepted algorithm fits RSA-OAEP'],
    ['when its algorithm is HMAC', () => ({ ...rsa, alg: 'HS256' }), 'no accepted algorithm fits HS256'],
    ['when its curve is another’s', () => ({ ...ec, alg: 'ES384' }), 'no accepted algorithm fits ES384'],
    [
      'when its curve is for key agreement',
      () => ({ ...ed, crv: 'X25519' }),
      'no accepted algorithm fits X25519',
    ],
    [
      'when its curve is no curve of JWS',
      () => ({ ...ec, crv: 'P-192' }),
      'no accepted algorithm fits P-192',
    ],
    ['when its public exponent is 1', () => ({ ...rsa, e: 'AQ' }), 'too weak: public exponent 1'],
    ['when its public exponent is 0', () => ({ ...rsa, e: 'AA' }), 'too weak: public exponent 0'],
    ['when its public exponent is even', () => ({ ...rsa, e: 'BA' }), 'too weak: public exponent 4'],
    ['when its public exponent is huge', () => ({ ...rsa, e: rsa.n }), 'too large: the public exponent'],
    ['when of no type', () => ({ kid: 'x' }), 'of type null'],
    ['when of an unknown type', () => ({ kty: 'PQC' }), 'of type "PQC"'],
    ['when null', () => null, 'of type null'],
    ['when a text', () => 'RSA', 'of type null'],
    ['when a list', () => [rsa], 'of type null'],
  ])('%s', async (_when, entry, why) => {
    expect(await verdictOn(entry())).toBe(`refused: ${why}`)
  })

  test('when RSA of 1024 bits', async () => {
    expect(await verdictOn(rsaOf(1_024))).toBe('refused: too weak: 1024 bits')
  })

  test.each<[string, () => unknown]>([
    ['when its modulus is a number', () => ({ ...rsa, n: 5 })],
    ['when its modulus is missing', () => ({ kty: 'RSA', e: 'AQAB' })],
    ['when its point is not on the curve', () => ({ ...ec, x: ec.y, y: ec.x })],
    ['when its point is too short', () => ({ ...ec, x: 'AQ' })],
    ['when its algorithm cannot be written down', () => ({ ...rsa, alg: { toString: 1 } })],
    ['when its type is a name of Object’s own', () => ({ ...rsa, kty: 'constructor' })],
  ])('%s', async (_when, entry) => {
    expect(await verdictOn(entry())).toMatch(/^refused: /)
  })

  test('when HMAC is asked for by mistake: no public key serves as its secret', async () => {
    const { keys } = await importKeys({ keys: [rsa, ec, ed, { kty: 'oct', k: 'c2VjcmV0' }] }, ['HS256'])

    expect(keys).toEqual([])
  })
})

test('a bad key costs its neighbours nothing', async () => {
  const bad = [{ ...rsa, key_ops: 5 }, { ...rsa, alg: { toString: 1 } }, { kty: 'oct', k: 'AA' }, null]

  const { keys, refused } = await importKeys(
    { keys: [...bad, { ...ec, kid: 'good' }, ...bad] },
    everyAlgorithm,
  )

  expect(keys.map(({ keyId }) => keyId)).toEqual(['good'])
  expect(refused).toHaveLength(8)
})

test('a refused key is named where it has a name', async () => {
  const { refused } = await importKeys({ keys: [{ ...rsa, use: 'enc', kid: 'enc-1' }, { kid: 7 }] }, [
    'RS256',
  ])

  expect(refused).toEqual([
    { keyId: 'enc-1', why: 'for use "enc"' },
    { keyId: undefined, why: 'of type null' },
  ])
})

test('of more than 64 keys the first 64 are looked at', async () => {
  const many = Array.from({ length: maxKeys + 2 }, (_, at) => ({ ...ec, kid: `key-${at}` }))

  const { keys, refused } = await importKeys({ keys: many }, ['ES256'])

  expect(keys).toHaveLength(64)
  expect(refused).toEqual([
    { keyId: 'key-64', why: 'more than 64 keys' },
    { keyId: 'key-65', why: 'more than 64 keys' },
  ])
})

test.each([
  ['null', null],
  ['a list', []],
  ['a text', 'keys'],
  ['an object without keys', {}],
  ['keys that are no list', { keys: { 0: 'x' } }],
])('a document that is %s is no key set', async (_what, document) => {
  await expect(importKeys(document, ['RS256'])).rejects.toThrow(
    'Cannot read the key set: it has no array "keys"',
  )
})

describe('two keys are the same', () => {
  async function fingerprints(...entries: JWK[]): Promise<string[]> {
    const { keys } = await importKeys({ keys: entries }, everyAlgorithm)
    return keys.map(({ fingerprint }) => fingerprint)
  }

  test('whatever else is written beside them', async () => {
    const [first, second] = await fingerprints({ ...ec, kid: 'a' }, { ...ec, kid: 'a', use: 'sig', x5t: 'x' })

    expect(first).toBe(second)
  })

  test('but not under another id, of other material, or for other algorithms', async () => {
    const other = withoutUse((await createSigner('ES256')).jwk)

    const all = await fingerprints(
      { ...ec, kid: 'a' },
      { ...ec, kid: 'b' },
      { ...other, kid: 'a' },
      { ...rsa, kid: 'a' },
      { ...rsa, kid: 'a', alg: 'RS256' },
    )

    expect(new Set(all).size).toBe(5)
  })
})
