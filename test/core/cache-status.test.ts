import { describe, expect, test } from '@jest/globals'
import { cacheStatus } from '../../src/core/cache-status.ts'

// Our own examples of what RFC 9211 §2 defines.
describe('Cache-Status', () => {
  test.each([
    ['a hit', 'edge; hit', 'hit'],
    ['a hit with its remaining freshness', 'edge; hit; ttl=376', 'hit'],
    ['a stale hit', 'edge; hit; ttl=-412', 'hit'],
    ['a hit, said in full', 'edge; hit=?1', 'hit'],
    ['a hit, after other parameters', 'edge; key="/orders"; hit', 'hit'],
    ['a hit, without blanks', 'edge;hit;ttl=1', 'hit'],
    ['an origin without storage', 'edge; fwd=uri-miss', 'miss'],
    ['a stored miss', 'edge; fwd=uri-miss; stored', 'miss'],
    ['a collapsed miss', 'edge; fwd=uri-miss; collapsed', 'miss'],
    ['a revalidation', 'edge; fwd=stale; fwd-status=304', 'miss'],
    ['a bypass', 'edge; fwd=bypass', 'miss'],
    ['a method that is never stored', 'edge; fwd=method; fwd-status=200', 'miss'],
    ['no hit, said in full', 'edge; hit=?0; fwd=miss', 'miss'],
    ['the far cache had it', 'origin-cache; hit; ttl=1100, "Edge of Europe"; fwd=uri-miss', 'hit'],
    ['the near cache had it', 'origin-cache; fwd=uri-miss, "Edge of Europe"; hit; ttl=545', 'hit'],
    ['neither had it', 'origin-cache; fwd=uri-miss, edge; fwd=uri-miss; stored', 'miss'],
    ['a cache by the name of hit', 'hit; fwd=uri-miss', 'miss'],
    ['a quoted name that holds a hit', '"shield; hit, edge"; fwd=uri-miss', 'miss'],
    ['a detail that holds a hit', 'edge; fwd=uri-miss; detail="was \\"; hit"', 'miss'],
    ['a detail that nothing closes', 'edge; fwd=uri-miss; detail="; hit', 'miss'],
    ['a key that only begins so', 'edge; hits=3; fwd=uri-miss', 'miss'],
    ['a name and nothing else', 'edge', undefined],
    ['a detail alone', 'edge; detail=memory', undefined],
  ] as const)('%s', (_what, value, expected) => {
    expect(cacheStatus({ 'cache-status': value })).toBe(expected)
  })

  test('goes before Age and X-Cache, even where it says neither', () => {
    const others = { age: '12', 'x-cache': 'HIT' }

    expect(cacheStatus({ 'cache-status': 'edge; fwd=uri-miss', ...others })).toBe('miss')
    expect(cacheStatus({ 'cache-status': 'edge', ...others })).toBeUndefined()
  })

  test('of 64 KiB of quotes and backslashes is read to the end', () => {
    const long = '"\\'.repeat(32_768)

    expect(cacheStatus({ 'cache-status': `edge; fwd=uri-miss; detail=${long}` })).toBe('miss')
  })
})

describe('without Cache-Status', () => {
  test.each([
    ['an Age is a hit', { age: '0' }, 'hit'],
    ['an Age with blanks is a hit', { age: ' 3600 ' }, 'hit'],
    ['an Age that is no number says nothing', { age: '-1' }, undefined],
    ['an empty Age says nothing', { age: '' }, undefined],
    ['an Age goes before X-Cache', { age: '1', 'x-cache': 'MISS' }, 'hit'],
    ['a proxy’s X-Cache hit', { 'x-cache': 'HIT' }, 'hit'],
    ['a CDN’s X-Cache hit', { 'x-cache': 'Hit from edge' }, 'hit'],
    ['an X-Cache of two caches, one of which had it', { 'x-cache': 'MISS, HIT' }, 'hit'],
    ['an X-Cache miss', { 'x-cache': 'Miss from edge' }, 'miss'],
    ['an X-Cache that only looks like one', { 'x-cache': 'white, dismissed' }, undefined],
    ['no header says nothing', {}, undefined],
  ] as const)('%s', (_what, headers, expected) => {
    expect(cacheStatus(headers)).toBe(expected)
  })
})
