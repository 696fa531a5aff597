import fc, { type Arbitrary } from 'fast-check'
import type { CheckRequest } from '../../src/envoy/gen/envoy/service/auth/v3/CheckRequest.ts'
import { base64Url } from '../support/signer.ts'

/** What mutants are bred from. */
export interface Stock {
  /** The one good token. */
  good: string
  /** Tokens that are well made and yet not good. */
  bad: readonly string[]
}

type Header = readonly [name: string, value: string]

/** One change of a text or of bytes: at a place, take so much away and put something there. */
interface Edit<T> {
  at: number
  remove: number
  put: T
}

/** A request as it may reach the door, and what is done to its bytes on the way. */
export interface Mutant {
  token: string
  /** What stands before the token in the header. */
  scheme: string
  /** The name of the header with the token. */
  name: string
  place: 'headers' | 'header_map' | 'raw_value' | 'both' | 'twice'
  /** Bytes after the value, where it is sent as bytes. */
  tail: Uint8Array
  others: readonly Header[]
  method: string
  authority: string
  path: string
  /** Changes of the encoded message. */
  wire: readonly Edit<Uint8Array>[]
}

const base64UrlAlphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** Breeds mutants of a good request: about one in six shows the good token unharmed, in an odd setting. */
export function mutants(stock: Stock): Arbitrary<Mutant> {
  return fc.record({
    token: tokens(stock),
    scheme: mostly('Bearer ', [
      'bearer ',
      'BEARER  ',
      ' Bearer ',
      'Bearer',
      'Bearer\t',
      'Basic ',
      'Bearer a, Bearer ',
      '',
    ]),
    name: mostly('authorization', [
      'Authorization',
      'authorization ',
      'proxy-authorization',
      'cookie',
      '__proto__',
      '',
    ]),
    place: mostly('headers', ['header_map', 'raw_value', 'raw_value', 'both', 'twice'] as const),
    tail: fc.oneof({ weight: 6, arbitrary: fc.constant(new Uint8Array()) }, fc.uint8Array({ maxLength: 4 })),
    others: fc.array(otherHeader(stock), { maxLength: 4 }),
    method: mostly('GET', ['POST', 'get', 'CONNECT', 'PRI', '', 'GET\r\n']),
    authority: fc.oneof(fc.constant('api.example.com'), fc.string({ maxLength: 12 })),
    path: fc.oneof(fc.constant('/orders'), fc.constant(`/?access_token=${stock.good}`), fc.webPath(), text()),
    wire: fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      fc.array(wireEdit(), { minLength: 1, maxLength: 4 }),
    ),
  })
}

function mostly<T>(usual: T, others: readonly T[]): Arbitrary<T> {
  return fc.oneof({ weight: 3, arbitrary: fc.constant(usual) }, fc.constantFrom(...others))
}

function text(): Arbitrary<string> {
  return fc.string({ unit: 'binary', maxLength: 16 })
}

/** Tokens near the good one, and the good one itself. */
function tokens(stock: Stock): Arbitrary<string> {
  const { good, bad } = stock
  return fc.oneof(
    { weight: 3, arbitrary: fc.constant(good) },
    { weight: 4, arbitrary: edited(good) },
    { weight: 1, arbitrary: edited(bad[0] ?? '') },
    { weight: 2, arbitrary: reassembled(stock) },
    { weight: 2, arbitrary: recoded(good) },
    { weight: 1, arbitrary: fc.constantFrom(...respelt(good)) },
    { weight: 2, arbitrary: fc.constantFrom(...bad) },
    { weight: 1, arbitrary: text() },
  )
}

function edited(token: string): Arbitrary<string> {
  const put = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...base64UrlAlphabet) },
    fc.constantFrom('', '.', '=', '+', '/', ' ', '\t', '\u0000', '\u00a0', '\ufeff', 'А', '\ud83d'),
    text(),
  )
  const edit = fc.record({ at: fc.nat(token.length), remove: fc.constantFrom(0, 1, 1, 1, 4, 9_999), put })
  return fc.array(edit, { minLength: 1, maxLength: 3 }).map((edits) => edits.reduce(applyToText, token))
}

function applyToText(token: string, { at, remove, put }: Edit<string>): string {
  return token.slice(0, at) + put + token.slice(at + remove)
}

/** Segments of good and bad tokens in any order and number. */
function reassembled({ good, bad }: Stock): Arbitrary<string> {
  const segments = [...good.split('.'), ...bad.flatMap((token) => token.split('.')), '']
  return fc
    .array(fc.constantFrom(...segments), { minLength: 1, maxLength: 5 })
    .map((chosen) => chosen.join('.'))
}

/** The good token with members of its header or claims exchanged, under the old signature. */
function recoded(good: string): Arbitrary<string> {
  const [header = '', payload = '', signature = ''] = good.split('.')
  const member = (name: string, ...values: unknown[]) =>
    fc.option(fc.constantFrom(...values), { nil: undefined }).map((value) => ({ [name]: value }))
  const headers = fc
    .tuple(
      member('alg', 'none', 'HS256', 'RS384', 'PS256', 'ES256', 'EdDSA', 'rs256', 7),
      member('kid', 'other', '', '../../etc/passwd', 7),
      member('typ', 'JWT', 'at+jwt', 'dpop+jwt', null),
      member('crit', ['exp'], []),
      member('jwk', { kty: 'oct', k: 'AA' }),
    )
    .map((members) => base64Url(merge(header, members)))
  const claims = fc
    .tuple(
      member('sub', 'root', '', 7, '42\r\nx-user-id: root'),
      member('exp', 9_999_999_999, '9999999999', null),
      member('iss', 'https://evil.example/', null),
      member('scope', 'admin'),
    )
    .map((members) => base64Url(merge(payload, members)))
  return fc.oneof(
    headers.map((changed) => `${changed}.${payload}.${signature}`),
    claims.map((changed) => `${header}.${changed}.${signature}`),
  )
}

function merge(segment: string, members: readonly object[]): object {
  return Object.assign(JSON.parse(Buffer.from(segment, 'base64url').toString('utf8')), ...members)
}

/** The good token in other spellings of the same bytes, such as a lax decoder would take. */
function respelt(good: string): string[] {
  const [header = '', payload = '', signature = ''] = good.split('.')
  const spellings = (segment: string) => [
    `${segment}=`,
    `${segment}==`,
    `${segment}\n`,
    `${segment.slice(0, 8)} ${segment.slice(8)}`,
    segment.replaceAll('-', '+').replaceAll('_', '/'),
    ...[1, 2, 3].map((bits) => segment.slice(0, -1) + nextLetter(segment.slice(-1), bits)),
    // The same JSON, written otherwise.
    base64Url(` ${Buffer.from(segment, 'base64url').toString('utf8')}`),
  ]
  return [
    ...spellings(header).map((other) => `${other}.${payload}.${signature}`),
    ...spellings(payload).map((other) => `${header}.${other}.${signature}`),
    ...spellings(signature).map((other) => `${header}.${payload}.${other}`),
  ]
}

function nextLetter(letter: string, by: number): string {
  return base64UrlAlphabet.charAt((base64UrlAlphabet.indexOf(letter) + by) % 64)
}

const otherNames = [
  ...['x-user-id', 'x-client-id', 'x-auth-scopes', 'x-auth-issuer', 'x-gatepost-probe', 'x-gatepost-'],
  ...['x-request-id', 'content-type', 'cookie', 'authorization', ':path', 'x-forwarded-for', 'host'],
]

function otherHeader({ good }: Stock): Arbitrary<Header> {
  const values = ['root', 'admin', 'application/grpc', 'https://login.example.com/', good, `Bearer ${good}`]
  return fc.tuple(
    fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...otherNames) }, text()),
    fc.oneof(
      { weight: 16, arbitrary: fc.constantFrom(...values) },
      { weight: 16, arbitrary: text() },
      {
        weight: 1,
        arbitrary: fc.integer({ min: 1, max: 64 }).map((kibibytes) => 'a'.repeat(kibibytes * 1_024)),
      },
    ),
  )
}

/** Mostly one byte for another, which leaves the lengths right: the rest of the message can still be read. */
function wireEdit(): Arbitrary<Edit<Uint8Array>> {
  const at = fc.nat(1_500)
  return fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        at,
        remove: fc.constant(1),
        put: fc.uint8Array({ minLength: 1, maxLength: 1 }),
      }),
    },
    fc.record({ at, remove: fc.constantFrom(0, 1, 8, 400), put: fc.uint8Array({ maxLength: 3 }) }),
  )
}

/** The message of a mutant, before anything is done to its bytes. */
export function messageOf(mutant: Mutant): CheckRequest {
  const { method, authority, path } = mutant
  const http = { method, host: authority, path, ...headersOf(mutant) }
  return { attributes: { request: { http } } }
}

function headersOf({ place, name, scheme, token, tail, others }: Mutant) {
  const value = scheme + token
  const shown = { key: name, raw_value: Buffer.concat([Buffer.from(value), tail]) }
  const list = others.map(([key, text]) => ({ key, raw_value: Buffer.from(text) }))
  // Without a prototype, so that a header of whatever name is a member.
  const record = (headers: readonly Header[]) =>
    Object.assign(Object.create(null), Object.fromEntries(headers))
  switch (place) {
    case 'headers':
      return { headers: record([...others, [name, value]]) }
    case 'header_map':
      return { header_map: { headers: [{ key: name, value }, ...list] } }
    case 'raw_value':
      return { header_map: { headers: [...list, shown] } }
    case 'both':
      return { headers: record([...others, [name, value]]), header_map: { headers: [shown] } }
    case 'twice':
      return { header_map: { headers: [shown, ...list, { key: name, value }] } }
  }
}

/** Does to the bytes of a message what the mutant says. */
export function applyToWire(bytes: Buffer, wire: Mutant['wire']): Buffer {
  return wire.reduce((before, { at, remove, put }) => {
    const place = at % (before.length + 1)
    return Buffer.concat([before.subarray(0, place), put, before.subarray(place + remove)])
  }, bytes)
}
