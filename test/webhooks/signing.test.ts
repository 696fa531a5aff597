import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { Webhook } from 'standardwebhooks'
import { type SignatureHeaders, secretsInForce, signatureHeaders } from '../../src/webhooks/signing.ts'

const prefixed = () => `whsec_${randomBytes(32).toString('base64')}`
const body = Buffer.from('{"event":"auth.failed","data":{"path":"/größe/€/😀"}}')
/** When each of them was signed: near enough to now for a receiver, and the same for all. */
const atMs = Date.now()

function sign(secrets: readonly string[], bytes: Uint8Array = body): SignatureHeaders {
  return signatureHeaders({ id: 'evt_1', atMs, body: bytes }, secrets)
}

/** A receiver that knows the npm library alone. */
function standardAccepts(secret: string, headers: SignatureHeaders, bytes: Buffer = body): boolean {
  const webhook = secret.startsWith('whsec_') ? new Webhook(secret) : new Webhook(secret, { format: 'raw' })
  try {
    webhook.verify(bytes, headers)
    return true
  } catch {
    return false
  }
}

/** A receiver that knows the one header alone. */
function plainAccepts(secret: string, headers: SignatureHeaders, bytes: Buffer = body): boolean {
  const expected = Buffer.from(`sha256=${createHmac('sha256', secret).update(bytes).digest('hex')}`)
  const got = Buffer.from(headers['x-webhook-signature'])
  return got.length === expected.length && timingSafeEqual(got, expected)
}

describe.each([
  ['with the prefix', prefixed()],
  ['without it', 'a-secret-of-our-own-0123456789'],
])('a delivery signed by a secret %s', (_form, secret) => {
  test('is accepted by either kind of receiver', () => {
    const headers = sign([secret])

    expect([standardAccepts(secret, headers), plainAccepts(secret, headers)]).toEqual([true, true])
  })

  test('is refused by either where any byte has changed', () => {
    const headers = sign([secret])
    const changed = [0, 30, body.length - 2].map((at) => {
      const bytes = Buffer.from(body)
      bytes.writeUInt8((bytes.readUInt8(at) % 126) + 1, at)
      return bytes
    })

    expect(changed.map((bytes) => standardAccepts(secret, headers, bytes))).toEqual([false, false, false])
    expect(changed.map((bytes) => plainAccepts(secret, headers, bytes))).toEqual([false, false, false])
  })

  test('is refused by who has another secret', () => {
    const headers = sign([secret])

    expect([standardAccepts(prefixed(), headers), plainAccepts(prefixed(), headers)]).toEqual([false, false])
  })

  test('is refused under another id or time', () => {
    const headers = sign([secret])

    expect(standardAccepts(secret, { ...headers, 'webhook-id': 'evt_2' })).toBe(false)
    expect(
      standardAccepts(secret, { ...headers, 'webhook-timestamp': String(Math.floor(atMs / 1_000) - 5) }),
    ).toBe(false)
  })
})

test('the key of x-webhook-signature is the whole secret, that of webhook-signature the decoded part', () => {
  const key = Buffer.alloc(24, 7)
  const secret = `whsec_${key.toString('base64')}`

  const headers = signatureHeaders({ id: 'evt_1', atMs: 1_700_000_000_999, body }, [secret])

  expect(headers).toEqual({
    'x-webhook-signature': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
    'webhook-id': 'evt_1',
    'webhook-timestamp': '1700000000',
    'webhook-signature': `v1,${createHmac('sha256', key).update('evt_1.1700000000.').update(body).digest('base64')}`,
  })
})

describe('while a secret is rotated', () => {
  const secrets = [prefixed(), prefixed(), 'the-oldest-secret-of-them-all']
  const headers = sign(secrets)

  test('there is a signature by each of them, the current first', () => {
    const signatures = headers['webhook-signature'].split(' ')

    expect(signatures).toHaveLength(3)
    expect(signatures[0]).toBe(sign(secrets.slice(0, 1))['webhook-signature'])
  })

  test.each(secrets)('a receiver that knows one of them alone accepts it by Standard Webhooks', (secret) => {
    expect(standardAccepts(secret, headers)).toBe(true)
  })

  test('a plain receiver that knows the old one still accepts it', () => {
    expect(secrets.map((secret) => plainAccepts(secret, headers))).toEqual([false, false, true])
  })

  test('a changed byte is refused whatever is known', () => {
    const changed = Buffer.from(body)
    changed.writeUInt8(0x21, 5)

    expect(secrets.map((secret) => standardAccepts(secret, headers, changed))).toEqual([false, false, false])
    expect(secrets.map((secret) => plainAccepts(secret, headers, changed))).toEqual([false, false, false])
  })

  test('an old secret signs until its end, and the current one always', () => {
    const rotated = [{ value: () => 'new' }, { value: () => 'old', untilMs: 1_000 }]

    expect([999, 1_000].map((nowMs) => secretsInForce(rotated, nowMs))).toEqual([['new', 'old'], ['new']])
  })
})

test('nothing is ever sent unsigned', () => {
  expect(() => sign([])).toThrow('Cannot sign evt_1: there is no secret in force')
})

test('an empty body can be signed', () => {
  const secret = prefixed()
  const headers = sign([secret], Buffer.alloc(0))

  expect(standardAccepts(secret, headers, Buffer.alloc(0))).toBe(true)
})
