import { createHmac, randomBytes } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { createSubKeys, type KeyPurpose, secretKey } from '../../src/config/secret-key.ts'

describe('a secret key', () => {
  test.each(['base64', 'base64url', 'hex'] as const)('may be 32 random bytes as %s', (encoding) => {
    const key = randomBytes(32).toString(encoding)

    expect(secretKey(key)).toBe(key)
  })

  test('may be a long text', () => {
    const text = 'correct-horse-battery-staple-and-some-more-words'

    expect(secretKey(text)).toBe(text)
  })

  test.each([
    ['24 bytes as base64', randomBytes(24).toString('base64')],
    ['24 bytes as hex', randomBytes(24).toString('hex')],
    ['a password', 'Tr0ub4dor&3'],
    ['words with blanks', 'correct horse battery staple and some more words'],
  ])('may not be %s, and the problem does not show it', (_what, text) => {
    const refusal = () => secretKey(text)

    expect(refusal).toThrow('at least 43 characters')
    expect(refusal).not.toThrow(text)
  })
})

/** HKDF-SHA256 as RFC 5869 §2 writes it, for one block and no salt. */
function hkdf(secret: string, info: string): Buffer {
  const extracted = createHmac('sha256', Buffer.alloc(32)).update(secret).digest()
  return createHmac('sha256', extracted).update(`${info}\u0001`).digest()
}

describe('sub-keys', () => {
  const secret = 's'.repeat(43)

  test('are derived by HKDF-SHA256, the purpose being its info', () => {
    const key = createSubKeys(() => secret)('events.privacy')

    expect(key.export()).toEqual(hkdf(secret, 'gatepost events.privacy'))
  })

  test('differ by purpose and by secret', () => {
    const one = createSubKeys(() => secret)
    const other = createSubKeys(() => 't'.repeat(43))

    const keys = [one('events.privacy'), other('events.privacy'), one('something else' as KeyPurpose)]
    expect(new Set(keys.map((key) => key.export().toString('hex'))).size).toBe(3)
  })

  test('are derived once until the secret changes, and then anew', () => {
    let current = secret
    const subKeys = createSubKeys(() => current)
    const first = subKeys('events.privacy')
    const again = subKeys('events.privacy')
    current = 't'.repeat(43)
    const changed = subKeys('events.privacy')

    expect(again).toBe(first)
    expect(changed.export()).toEqual(hkdf(current, 'gatepost events.privacy'))
  })
})
