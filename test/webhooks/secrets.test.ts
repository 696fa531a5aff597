import { randomBytes } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { isWebhookSecret } from '../../src/core/webhooks.ts'
import { isSealed, newSecret, openSecret, readStoredSecret, sealSecret } from '../../src/webhooks/secrets.ts'

const key = randomBytes(32)
const secret = newSecret(randomBytes)

test('a new secret is one, and no two are the same', () => {
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
  expect(isWebhookSecret(secret)).toBe(true)
  expect(newSecret(randomBytes)).not.toBe(secret)
})

describe('a sealed secret', () => {
  const sealed = sealSecret(key, 'orders', secret, randomBytes)

  test('opens again, and shows nothing of itself', () => {
    expect(openSecret(key, 'orders', sealed)).toBe(secret)
    expect(isSealed(sealed)).toBe(true)
    expect(sealed).not.toContain(secret)
  })

  test('is never sealed the same way twice', () => {
    expect(sealSecret(key, 'orders', secret, randomBytes)).not.toBe(sealed)
  })

  test.each([
    ['by another key', () => openSecret(randomBytes(32), 'orders', sealed)],
    ['for another endpoint', () => openSecret(key, 'payments', sealed)],
    ['cut short', () => openSecret(key, 'orders', sealed.slice(0, 20))],
    ['cut by a byte', () => openSecret(key, 'orders', sealed.slice(0, -4))],
    ['of another form', () => openSecret(key, 'orders', sealed.replace('v1', 'v2'))],
  ])('does not open %s', (_what, open) => {
    expect(open).toThrow(
      /^Cannot open the secret of webhook "(orders|payments)": GATEPOST_SECRET_KEY is another/,
    )
  })

  test('does not open where any of its bytes has changed', () => {
    const start = 'sealed.v1.'
    const bytes = Buffer.from(sealed.slice(start.length), 'base64url')
    const opened = [...bytes.keys()].filter((at) => {
      const changed = Buffer.from(bytes)
      changed.writeUInt8(bytes.readUInt8(at) ^ 1, at)
      try {
        return openSecret(key, 'orders', `${start}${changed.toString('base64url')}`)
      } catch {
        return false
      }
    })

    expect(opened).toEqual([])
  })

  test('tells nothing of itself where it does not open', () => {
    expect(() => openSecret(key, 'payments', sealed)).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining(sealed.slice(12, 24)) }),
    )
  })
})

describe('on the disk', () => {
  const sealed = sealSecret(key, 'orders', secret, randomBytes)

  test('a secret is sealed where there is a key, and plain where there is none', () => {
    expect(readStoredSecret(key, 'orders', sealed)).toBe(secret)
    expect(readStoredSecret(undefined, 'orders', secret)).toBe(secret)
  })

  test('a plain one is refused where there is a key', () => {
    expect(() => readStoredSecret(key, 'orders', secret)).toThrow(
      'Cannot use the secret of webhook "orders": it stands in plain text although GATEPOST_SECRET_KEY is set',
    )
  })

  test('a sealed one is refused where there is none', () => {
    expect(() => readStoredSecret(undefined, 'orders', sealed)).toThrow(
      'Cannot use the secret of webhook "orders": it is sealed, and GATEPOST_SECRET_KEY is not set',
    )
  })
})
