import { describe, expect, test } from '@jest/globals'
import { TokenCache, type TokenCacheBounds } from '../../src/auth/token-cache.ts'
import type { VerifiedToken } from '../../src/auth/verifier.ts'

const now = 1_900_000_000_000

function cacheOf(bounds: Partial<TokenCacheBounds> = {}): TokenCache {
  return new TokenCache({ ttlMs: 60_000, clockSkewMs: 5_000, maxTokens: 10, maxCharacters: 1_000, ...bounds })
}

function verified(more: Partial<VerifiedToken> = {}): VerifiedToken {
  return {
    kind: 'verified',
    identity: { kind: 'token', issuer: 'https://login.example.com/', scopes: [], claims: {} },
    key: { keyId: 'key-1', byAlgorithm: new Map(), fingerprint: 'key-1', active: true },
    notBeforeMs: undefined,
    expiresAtMs: now + 3_600_000,
    ...more,
  }
}

test('a verified token is remembered as it was', () => {
  const cache = cacheOf()
  const token = verified()

  cache.set('a.b.c', token, now)

  expect(cache.get('a.b.c', now)).toBe(token)
  expect(cache.get('a.b.d', now)).toBeUndefined()
  expect(cache.get('a.b.C', now)).toBeUndefined()
})

describe('a hit holds', () => {
  test.each([
    ['until just before the TTL ends', {}, 59_999, true],
    ['not at its end', {}, 60_000, false],
    ['until exp and the skew are just not over', { expiresAtMs: now + 10_000 }, 14_999, true],
    ['not once they are', { expiresAtMs: now + 10_000 }, 15_000, false],
    ['from nbf less the skew', { notBeforeMs: now + 10_000 }, 5_000, true],
    ['not before', { notBeforeMs: now + 10_000 }, 4_999, false],
  ])('%s', (_when, more, afterMs, holds) => {
    const cache = cacheOf()
    cache.set('token', verified(more), now)

    expect(cache.get('token', now + afterMs) !== undefined).toBe(holds)
  })

  test('not once its key is withdrawn', () => {
    const cache = cacheOf()
    const token = verified()
    cache.set('token', token, now)

    token.key.active = false

    expect(cache.get('token', now)).toBeUndefined()
  })
})

test('what no longer holds is dropped and stays so', () => {
  const cache = cacheOf()
  cache.set('token', verified(), now)

  cache.get('token', now + 60_000)

  expect(cache.size).toBe(0)
  expect(cache.get('token', now)).toBeUndefined()
})

test('a TTL of 0 remembers nothing', () => {
  const cache = cacheOf({ ttlMs: 0 })

  cache.set('token', verified(), now)

  expect(cache.size).toBe(0)
})

test('no more than so many tokens are kept: the one not used for longest goes', () => {
  const cache = cacheOf({ maxTokens: 2 })
  cache.set('first', verified(), now)
  cache.set('second', verified(), now)
  cache.get('first', now)

  cache.set('third', verified(), now)

  expect(cache.size).toBe(2)
  expect(cache.get('first', now)).toBeDefined()
  expect(cache.get('second', now)).toBeUndefined()
})

test('no more than so many characters are kept, and a token that alone has more not at all', () => {
  const cache = cacheOf({ maxCharacters: 100 })
  for (let at = 0; at < 10; at += 1) cache.set(`${at}`.repeat(40), verified(), now)

  cache.set('x'.repeat(101), verified(), now)

  expect(cache.size).toBe(2)
  expect(cache.get('9'.repeat(40), now)).toBeDefined()
  expect(cache.get('x'.repeat(101), now)).toBeUndefined()
})
