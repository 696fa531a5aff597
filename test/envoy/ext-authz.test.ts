import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { Fault } from '../../src/core/fault.ts'
import { createExtAuthz } from '../../src/envoy/ext-authz.ts'
import type { CheckRequest } from '../../src/envoy/gen/envoy/service/auth/v3/CheckRequest.ts'
import type { CheckResponse__Output } from '../../src/envoy/gen/envoy/service/auth/v3/CheckResponse.ts'
import { createSeal } from '../../src/envoy/seal.ts'
import { fromStruct } from '../../src/envoy/struct.ts'
import { type ExtAuthzDoor, openExtAuthzDoor } from '../support/ext-authz-door.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { createSigner, type Signer } from '../support/signer.ts'
import { createTestIssuer, type TestIssuer } from '../support/test-issuer.ts'

type Headers = Record<string, string>
type RawHeader = { key: string; value?: string; raw_value?: Buffer }

let signer: Signer
let clock: FakeClock
let issuer: TestIssuer
let door: ExtAuthzDoor
let good: string

beforeAll(async () => {
  signer = await createSigner('RS256', 'key-1')
})

beforeEach(async () => {
  clock = new FakeClock()
  issuer = createTestIssuer({ clock })
  issuer.keys.publish(signer.jwk)
  await issuer.keySet.start()
  door = openExtAuthzDoor({ clock, issuers: [issuer] })
  good = `Bearer ${await signer.sign(issuer.claims({ azp: 'shop', scope: 'read:a' }))}`
})

/** A message as Envoy sends it without `encode_raw_headers`. */
function withHeaders(headers: Headers, context_extensions: Headers = {}): CheckRequest {
  const http = { id: '1', method: 'GET', path: '/orders', host: 'api.example.com', headers }
  return { attributes: { request: { http }, context_extensions } }
}

/** A message as Envoy sends it with `encode_raw_headers`. */
function withHeaderMap(headers: RawHeader[]): CheckRequest {
  return { attributes: { request: { http: { method: 'GET', path: '/orders', header_map: { headers } } } } }
}

function replyHeaders({ denied_response, ok_response }: CheckResponse__Output): Headers {
  const headers = denied_response?.headers ?? ok_response?.headers ?? []
  return Object.fromEntries(headers.map(({ header }) => [header?.key ?? '', header?.value ?? '']))
}

function verdict({ status, denied_response, ok_response }: CheckResponse__Output): string {
  if (denied_response) return `${denied_response.status?.code} ${status?.message}`
  return ok_response && !status?.code ? 'allow' : 'neither'
}

describe('gives a clean verdict', () => {
  const bytes = (text: string) => Buffer.from(text)

  test.each<[string, () => CheckRequest, string]>([
    ['a good token', () => withHeaders({ authorization: good }), 'allow'],
    ['a good token in the header map', () => withHeaderMap([{ key: 'authorization', value: good }]), 'allow'],
    [
      'a good token in bytes',
      () => withHeaderMap([{ key: 'authorization', raw_value: bytes(good) }]),
      'allow',
    ],
    ['an empty message', () => ({}), 'Unauthorized missing_token'],
    ['empty attributes', () => ({ attributes: {} }), 'Unauthorized missing_token'],
    ['an empty request', () => ({ attributes: { request: {} } }), 'Unauthorized missing_token'],
    ['no headers', () => withHeaders({}), 'Unauthorized missing_token'],
    ['an empty header map', () => withHeaderMap([]), 'Unauthorized missing_token'],
    ['an empty authorization', () => withHeaders({ authorization: '' }), 'BadRequest invalid_request'],
    ['another scheme', () => withHeaders({ authorization: 'Basic eA==' }), 'Unauthorized unsupported_scheme'],
    ['no token', () => withHeaders({ authorization: 'Bearer' }), 'BadRequest invalid_request'],
    ['garbage', () => withHeaders({ authorization: 'Bearer x' }), 'Unauthorized invalid_token'],
    [
      'a good token twice, joined',
      () => withHeaders({ authorization: `${good},${good}` }),
      'BadRequest invalid_request',
    ],
    [
      'a good token twice, as two headers',
      () =>
        withHeaderMap([
          { key: 'authorization', value: good },
          { key: 'authorization', raw_value: bytes(good) },
        ]),
      'BadRequest invalid_request',
    ],
    [
      'a good token after another scheme',
      () =>
        withHeaderMap([
          { key: 'authorization', value: 'Basic eA==' },
          { key: 'authorization', value: good },
        ]),
      'BadRequest invalid_request',
    ],
    [
      'a good token in both places',
      () => ({
        attributes: {
          request: {
            http: {
              headers: { authorization: good },
              header_map: { headers: [{ key: 'authorization', value: good }] },
            },
          },
        },
      }),
      'BadRequest invalid_request',
    ],
    [
      'a good token with bytes after it that are no UTF-8',
      () =>
        withHeaderMap([
          { key: 'authorization', raw_value: Buffer.concat([bytes(good), Buffer.from([0xff, 0xfe])]) },
        ]),
      'Unauthorized invalid_token',
    ],
    [
      'a good token with NUL after it',
      () => withHeaderMap([{ key: 'authorization', raw_value: bytes(`${good}\u0000`) }]),
      'Unauthorized invalid_token',
    ],
    [
      'a good token beside bytes that are no UTF-8',
      () =>
        withHeaderMap([
          { key: 'x-note', raw_value: Buffer.from([0xff, 0x00, 0xc0]) },
          { key: 'authorization', value: good },
        ]),
      'allow',
    ],
    [
      'a token of a megabyte',
      () => withHeaders({ authorization: `Bearer ${'a'.repeat(1_048_576)}` }),
      'Unauthorized invalid_token',
    ],
    [
      'a good token beside a header of eight megabytes',
      () => withHeaders({ authorization: good, 'x-note': 'a'.repeat(8_388_608) }),
      'allow',
    ],
    [
      'a good token among ten thousand headers',
      () =>
        withHeaderMap([
          ...Array.from({ length: 10_000 }, (_, at) => ({ key: `x-${at}`, value: 'a' })),
          { key: 'authorization', value: good },
        ]),
      'allow',
    ],
    ['a good token in the query', () => queryToken(good.slice(7)), 'Unauthorized missing_token'],
    ['a good token in a cookie', () => withHeaders({ cookie: good }), 'Unauthorized missing_token'],
    [
      'a good token in another header',
      () => withHeaders({ 'proxy-authorization': good, 'x-authorization': good }),
      'Unauthorized missing_token',
    ],
    [
      'a header named like a member of Object',
      () => withHeaders({ constructor: good, ['__proto__']: good }),
      'Unauthorized missing_token',
    ],
  ])('on %s', async (_what, message, expected) => {
    expect(verdict(await door.check(message()))).toBe(expected)
    expect(door.faulted).toEqual([])
  })

  function queryToken(token: string): CheckRequest {
    return { attributes: { request: { http: { path: `/orders?access_token=${token}` } } } }
  }
})

describe('an allow', () => {
  test('sets who is calling in place of whatever the client sent, and removes what it does not set', async () => {
    const forged = {
      'x-user-id': 'root',
      'x-auth-scopes': 'admin',
      'x-gatepost-probe': '1',
      'x-Gatepost': 'no',
    }
    const nameless = `Bearer ${await signer.sign(issuer.claims())}`

    const response = await door.check(withHeaders({ ...forged, authorization: nameless }))

    expect(response.status).toEqual({ code: 0 })
    expect(replyHeaders(response)).toEqual({ 'x-user-id': '42', 'x-auth-issuer': issuer.spec.issuer })
    expect(response.ok_response?.headers_to_remove).toEqual([
      'x-client-id',
      'x-auth-scopes',
      'x-gatepost-probe',
    ])
    expect(response.ok_response?.headers?.map(({ append_action }) => append_action)).toEqual([
      'OVERWRITE_IF_EXISTS_OR_ADD',
      'OVERWRITE_IF_EXISTS_OR_ADD',
    ])
  })

  test('removes every identity header where nobody is asked who they are', async () => {
    const forged = { 'x-user-id': 'root', 'x-gatepost-a': '1', authorization: good }

    const response = await door.check(withHeaders(forged, { auth: 'none' }))

    expect(verdict(response)).toBe('allow')
    expect(replyHeaders(response)).toEqual({})
    expect(response.ok_response?.headers_to_remove).toEqual([
      'x-user-id',
      'x-client-id',
      'x-auth-scopes',
      'x-auth-issuer',
      'x-gatepost-a',
    ])
  })

  test('removes forged headers that came in the header map, as often as they came', async () => {
    const response = await door.check(
      withHeaderMap([
        { key: 'authorization', value: good },
        { key: 'x-gatepost-a', raw_value: Buffer.from('1') },
        { key: 'x-gatepost-a', raw_value: Buffer.from([0xff]) },
      ]),
    )

    expect(response.ok_response?.headers_to_remove).toEqual(['x-gatepost-a'])
  })

  test('carries a name beyond ASCII whole', async () => {
    const token = await signer.sign(issuer.claims({ sub: 'Jörg 名前 😀' }))

    const response = await door.check(withHeaders({ authorization: `Bearer ${token}` }))

    expect(replyHeaders(response)['x-user-id']).toBe('Jörg 名前 😀')
  })
})

describe('a denial', () => {
  test('is a problem document over HTTP', async () => {
    const response = await door.check(withHeaders({ 'x-request-id': 'request-1' }))

    expect(response.status).toEqual({ code: 16, message: 'missing_token' })
    expect(response.denied_response?.status).toEqual({ code: 'Unauthorized' })
    expect(replyHeaders(response)).toEqual({
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      'www-authenticate': 'Bearer realm="api"',
    })
    expect(JSON.parse(response.denied_response?.body ?? '')).toMatchObject({
      status: 401,
      request_id: 'request-1',
    })
  })

  test.each<[string, Headers, Headers, string]>([
    ['no token', {}, {}, '16'],
    ['a bad token', { authorization: 'Bearer x' }, {}, '16'],
    ['two tokens', { authorization: 'Bearer x,Bearer y' }, {}, '3'],
    ['too few scopes', { authorization: 'good' }, { scopes: 'admin' }, '7'],
  ])(
    'is a status in headers and an empty body over gRPC: %s',
    async (_what, headers, extensions, grpcStatus) => {
      const authorization = headers['authorization'] === 'good' ? good : headers['authorization']
      const grpc = { 'content-type': 'application/grpc+proto', ...(authorization && { authorization }) }

      const response = await door.check(withHeaders(grpc, extensions))

      expect(response.denied_response?.body ?? '').toBe('')
      expect(replyHeaders(response)).toMatchObject({ 'grpc-status': grpcStatus })
      expect(replyHeaders(response)['grpc-message']).toMatch(/^[A-Z][ -~]+\.$/)
      expect(replyHeaders(response)).not.toHaveProperty('content-type')
    },
  )

  test('names the scopes that Envoy’s route asks for', async () => {
    const response = await door.check(withHeaders({ authorization: good }, { scopes: 'read:a,write:a' }))

    expect(verdict(response)).toBe('Forbidden insufficient_scope')
    expect(replyHeaders(response)['www-authenticate']).toContain('scope="read:a write:a"')
  })

  test('repeats nothing of the token', async () => {
    const token = await signer.sign(issuer.claims({ sub: 'very-secret-name', aud: 'very-secret-api' }))

    const response = await door.check(withHeaders({ authorization: `Bearer ${token}` }))

    expect(JSON.stringify(response)).not.toMatch(/very-secret|eyJ/)
  })
})

describe('the metadata', () => {
  test('of an allow tells the observer who passed', async () => {
    const response = await door.check(
      withHeaders({ authorization: good, 'x-request-id': 'request-1' }, { route: 'orders', service: 'shop' }),
    )

    expect(fromStruct(response.dynamic_metadata)).toMatchObject({
      decision_id: '00112233445566778899aabbccddeeff',
      request_id: 'request-1',
      route: 'orders',
      service: 'shop',
      user_id: '42',
      client_id: 'shop',
      issuer: issuer.spec.issuer,
      decision: 'allow',
      reason: 'ok',
      status: 0,
    })
    expect(door.observed(response)).toMatchObject({ kind: 'allow', route: 'orders', userId: '42' })
  })

  test('of a denial tells why, and names nobody who was not verified', async () => {
    const response = await door.check(withHeaders({ authorization: `${good}x` }))

    expect(fromStruct(response.dynamic_metadata)).toMatchObject({
      user_id: '',
      client_id: '',
      decision: 'deny',
      reason: 'invalid_token',
      status: 401,
    })
    expect(door.observed(response)).toEqual({ kind: 'deny', route: 'unmatched' })
  })

  test.each([
    ['long', 'r'.repeat(300), 'r'.repeat(256)],
    ['cut within a character', `${'r'.repeat(255)}😀`, `${'r'.repeat(255)}\ufffd`],
  ])('survives the way through Envoy with a request id that is %s', async (_what, sent, kept) => {
    const response = await door.check(withHeaders({ authorization: good, 'x-request-id': sent }))

    expect(fromStruct(response.dynamic_metadata)['request_id']).toBe(kept)
    expect(door.observed(response)).toMatchObject({ kind: 'allow', userId: '42' })
  })
})

describe('a fault gives no answer, so that Envoy’s failure mode rules', () => {
  test('where the issuer’s keys are not to be had', async () => {
    const down = createTestIssuer({ clock })
    down.keys.fail()
    await down.keySet.start()
    const faulty = openExtAuthzDoor({ clock, issuers: [down] })

    await expect(faulty.check(withHeaders({ authorization: good }))).rejects.toThrow(Fault)
    expect(faulty.faulted).toMatchObject([{ part: 'auth' }])
  })

  test.each([
    ['has an unknown key', { atuh: 'none' }],
    ['has a bad value', { auth: 'no' }],
  ])('where Envoy’s route %s: a typo lowers no guard', async (_what, extensions: Headers) => {
    await expect(door.check(withHeaders({ authorization: good }, extensions))).rejects.toThrow(Fault)
    expect(door.faulted).toMatchObject([{ part: 'routes' }])
  })

  test('and touches no other request', async () => {
    const bad = door.check(withHeaders({ authorization: good }, { auth: 'no' })).catch(() => 'fault')
    const fine = door.check(withHeaders({ authorization: good }))

    expect(await bad).toBe('fault')
    expect(verdict(await fine)).toBe('allow')
  })

  test('where something breaks that nobody foresaw: it is told once and passed on as it is', async () => {
    const broken = new TypeError('undefined is not a function')
    const told: unknown[] = []
    const check = createExtAuthz({
      decide: () => Promise.reject(broken),
      observer: { decided: () => undefined, faulted: (_door, error) => told.push(error) },
      seal: createSeal(),
      clientAddress: 'peer',
      now: clock.now,
    })

    await expect(check({})).rejects.toBe(broken)
    expect(told).toEqual([broken])
  })
})
