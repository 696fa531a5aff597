import { describe, expect, test } from '@jest/globals'
import { isBase64Url, maxTokenLength, parseToken } from '../../src/auth/compact-jws.ts'
import { base64Url } from '../support/signer.ts'

const claims = { iss: 'https://login.example.com/', sub: '42' }
const signature = base64Url('any signature')

function token(header: unknown = { alg: 'RS256' }, payload: unknown = claims, sealed = signature): string {
  return [base64Url(header), base64Url(payload), sealed].join('.')
}

function bytes(...values: number[]): string {
  return Buffer.from(values).toString('base64url')
}

test('tells algorithm, key id and issuer, and keeps the whole token', () => {
  const compact = token({ alg: 'RS256', kid: 'key-1', typ: 'JWT' })

  expect(parseToken(compact)).toEqual({
    kind: 'unverified',
    token: compact,
    algorithm: 'RS256',
    keyId: 'key-1',
    issuer: 'https://login.example.com/',
  })
})

test.each([
  ['missing', { sub: '42' }],
  ['a number', { iss: 7 }],
  ['a list', { iss: ['https://login.example.com/'] }],
  ['null', { iss: null }],
])('an issuer that is %s is nobody', (_what, payload) => {
  expect(parseToken(token(undefined, payload))).toMatchObject({ kind: 'unverified', issuer: '' })
})

describe('segments', () => {
  const [header, payload] = token().split('.')

  test.each([
    ['none', ''],
    ['one', 'abc'],
    ['two', `${header}.${payload}`],
    ['four', `${token()}.${signature}`],
    ['five, as a JWE has', `${header}..${payload}.${signature}.${signature}`],
    ['an empty header', `.${payload}.${signature}`],
    ['an empty payload, as detached content has', `${header}..${signature}`],
    ['an empty signature, as an unsecured JWT has', `${header}.${payload}.`],
    ['only dots', '..'],
    ['a dot at the end', `${token()}.`],
    ['a dot at the beginning', `.${token()}`],
  ])('%s: malformed', (_count, text) => {
    expect(parseToken(text)).toMatchObject({ kind: 'denial', reason: 'invalid_token', cause: 'malformed' })
  })
})

describe('base64url', () => {
  test.each(['', 'AA', 'AAA', 'AAAA', 'AQ', 'AAE', '-_-_', 'AAAAAA'])('%j is base64url', (text) => {
    expect(isBase64Url(text)).toBe(true)
  })

  test.each([
    ['one character too many', 'A'],
    ['one character too many, further on', 'AAAAA'],
    ['stray bits after one byte', 'AB'],
    ['stray bits after two bytes', 'AAB'],
    ['stray bits at the end of a long text', 'AAAAAAAAAB'],
    ['padding', 'AA=='],
    ['padding of one', 'AAA='],
    ['the standard alphabet', '+/+/'],
    ['a space', 'AA AA'],
    ['a line break at the end', 'AAAA\n'],
    ['a letter of another script', 'ААAA'],
    ['NUL', 'AAA\u0000'],
  ])('%s is not', (_what, text) => {
    expect(isBase64Url(text)).toBe(false)
  })

  test('exactly one spelling of a last group is accepted', () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

    const afterOneByte = [...alphabet].filter((last) => isBase64Url(`A${last}`))
    const afterTwoBytes = [...alphabet].filter((last) => isBase64Url(`AA${last}`))

    expect(afterOneByte.join('')).toBe('AQgw')
    expect(afterTwoBytes.join('')).toBe('AEIMQUYcgkosw048')
  })

  test.each([0, 1, 2])('a second spelling of segment %i is malformed', (at) => {
    const segments = [base64Url('{"alg":"RS256" }'), base64Url('{"iss":"https://a" }'), bytes(1)]
    segments[at] = respell(segments[at] as string)

    expect(parseToken(segments.join('.'))).toMatchObject({ cause: 'malformed' })
  })

  test.each([0, 1, 2])('a padded segment %i is malformed', (at) => {
    const segments = token().split('.')
    segments[at] += '='

    expect(parseToken(segments.join('.'))).toMatchObject({ cause: 'malformed' })
  })
})

/** Sets the lowest of the stray bits at the end: decoders that do not look read the same bytes. */
function respell(segment: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const respelt = segment.slice(0, -1) + alphabet[alphabet.indexOf(segment.slice(-1)) + 1]
  if (!Buffer.from(segment, 'base64url').equals(Buffer.from(respelt, 'base64url'))) {
    throw new Error('Cannot respell: the segment has no stray bits')
  }
  return respelt
}

describe('sizes', () => {
  const filler = (length: number) => 'A'.repeat(length)

  test('a token as long as the bound is looked into, one character more is not', () => {
    const start = `${base64Url({ alg: 'RS256' })}.${base64Url(claims)}.`
    // The signature fills up, by a multiple of four so that it stays base64url.
    const longest = start + filler(Math.floor((maxTokenLength - start.length) / 4) * 4)

    expect(parseToken(longest).kind).toBe('unverified')
    expect(parseToken(longest.padEnd(maxTokenLength + 1, 'A'))).toMatchObject({ cause: 'too_large' })
  })

  test('a protected header of more than 4 KiB is too large', () => {
    expect(parseToken(token({ alg: 'RS256', x5c: filler(3 * 1024) }))).toMatchObject({ cause: 'too_large' })
    expect(parseToken(token({ alg: 'RS256', x5c: filler(2 * 1024) })).kind).toBe('unverified')
  })

  test('a key id of more than 256 characters is malformed', () => {
    expect(parseToken(token({ alg: 'RS256', kid: filler(257) }))).toMatchObject({ cause: 'malformed' })
    expect(parseToken(token({ alg: 'RS256', kid: filler(256) }))).toMatchObject({ keyId: filler(256) })
  })
})

describe('the protected header', () => {
  test.each([
    ['crit with a known name', { alg: 'RS256', crit: ['exp'], exp: 1 }],
    ['an empty crit', { alg: 'RS256', crit: [] }],
    ['crit that is no list', { alg: 'RS256', crit: null }],
    ['b64', { alg: 'RS256', b64: false, crit: ['b64'] }],
    ['b64 without crit', { alg: 'RS256', b64: true }],
  ])('%s: an extension that is not understood', (_what, header) => {
    expect(parseToken(token(header))).toMatchObject({ cause: 'unsupported_header' })
  })

  test.each(['JWT', 'jwt', 'at+jwt', 'AT+JWT', 'application/at+jwt', 'application/jwt'])(
    'type %j is accepted',
    (typ) => {
      expect(parseToken(token({ alg: 'RS256', typ })).kind).toBe('unverified')
    },
  )

  test.each([
    'logout+jwt',
    'dpop+jwt',
    'secevent+jwt',
    'id_token+jwt',
    'JOSE',
    'JWT ',
    'application/',
    '',
    7,
    null,
    ['JWT'],
    { jwt: true },
  ])('type %j is not', (typ) => {
    expect(parseToken(token({ alg: 'RS256', typ }))).toMatchObject({ cause: 'unsupported_type' })
  })

  test.each([7, null, ['key-1'], { id: 1 }, true])('a key id %j is malformed', (kid) => {
    expect(parseToken(token({ alg: 'RS256', kid }))).toMatchObject({ cause: 'malformed' })
  })

  test.each([undefined, 7, null, ['RS256']])('an algorithm %j is malformed', (alg) => {
    expect(parseToken(token({ alg, typ: 'JWT' }))).toMatchObject({ cause: 'malformed' })
  })

  test('key material that a token brings along is not told on', () => {
    const brought = { jku: 'https://evil.example/jwks', jwk: { kty: 'oct', k: 'AA' }, x5u: 'x', x5c: ['x'] }

    const parsed = parseToken(token({ alg: 'RS256', ...brought }))

    expect(Object.keys(parsed)).toEqual(['kind', 'token', 'algorithm', 'keyId', 'issuer'])
  })
})

describe('JSON', () => {
  test.each([
    ['no JSON', 'hello'],
    ['a text', '"hello"'],
    ['a number', '1'],
    ['null', 'null'],
    ['a list', '[{"alg":"RS256"}]'],
    ['an object and something after it', '{"alg":"RS256"}{}'],
    ['a trailing comma', '{"alg":"RS256",}'],
    ['a comment', '{"alg":"RS256"/**/}'],
    ['single quotes', "{'alg':'RS256'}"],
    ['a byte order mark', '\ufeff{"alg":"RS256"}'],
    ['nothing', ' '],
    ['an unpaired brace', '{'],
    ['a NUL at the end', '{"alg":"RS256"}\u0000'],
  ])('%s in header or payload is malformed', (_what, text) => {
    expect(parseToken(token(text))).toMatchObject({ cause: 'malformed' })
    expect(parseToken(token({ alg: 'RS256' }, text))).toMatchObject({ cause: 'malformed' })
  })

  test.each([
    ['a lone continuation byte', [0x80]],
    ['an overlong slash', [0xc0, 0xaf]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['a cut sequence', [0xe2, 0x82]],
    ['beyond Unicode', [0xf5, 0x80, 0x80, 0x80]],
    ['UTF-16', [0xff, 0xfe]],
  ])('bytes that are no UTF-8 are malformed: %s', (_what, values) => {
    const text = Buffer.concat([Buffer.from('{"iss":"'), Buffer.from(values), Buffer.from('"}')])
    const compact = [base64Url({ alg: 'RS256' }), text.toString('base64url'), signature].join('.')

    expect(parseToken(compact)).toMatchObject({ cause: 'malformed' })
  })

  test('of a repeated member the last counts, as for the verification that follows', () => {
    const compact = token('{"alg":"none","alg":"ES256"}', '{"iss":"https://a","iss":"https://b"}')

    expect(parseToken(compact)).toMatchObject({ algorithm: 'ES256', issuer: 'https://b' })
  })

  test('a __proto__ member is a member like any other and hands nothing down', () => {
    const compact = token(
      '{"alg":"RS256","__proto__":{"kid":"x","crit":[]}}',
      '{"__proto__":{"iss":"https://a"}}',
    )

    expect(parseToken(compact)).toMatchObject({ kind: 'unverified', keyId: undefined, issuer: '' })
    expect(parseToken(token('{"__proto__":{"alg":"RS256"}}'))).toMatchObject({ cause: 'malformed' })
  })

  test('ten thousand nested lists cost a refusal and no stack', () => {
    const deep = `{"a":${'['.repeat(4_000)}`

    expect(parseToken(token({ alg: 'RS256' }, deep))).toMatchObject({ cause: 'malformed' })
  })
})
