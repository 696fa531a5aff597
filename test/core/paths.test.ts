import { describe, expect, test } from '@jest/globals'
import {
  hasEscapedSlash,
  mergeSlashes,
  normalizePath,
  oneSpelling,
  oneSpellingOfPattern,
  resolvePath,
} from '../../src/core/paths.ts'

describe('a path is normalised as Envoy does it', () => {
  test.each([
    ['/', '/'],
    ['', '/'],
    ['/users', '/users'],
    ['/users/', '/users/'],
    ['users', '/users'],
    ['/Users/A', '/Users/A'],
    ['/users?page=2', '/users'],
    ['/users?next=/../admin', '/users'],
    ['/users#top', '/users'],
    ['/users?#', '/users'],
    ['?a=/b', '/'],
    ['/a/./b', '/a/b'],
    ['/a/../b', '/b'],
    ['/a/b/..', '/a/'],
    ['/a/b/.', '/a/b/'],
    ['/..', '/'],
    ['/../../etc', '/etc'],
    ['/a/b/../../../c', '/c'],
    ['/...', '/...'],
    ['/a/..b/.c', '/a/..b/.c'],
    ['/%2e%2e/a', '/a'],
    ['/a/%2E%2e', '/'],
    ['/a/.%2e/b', '/b'],
    ['/%61dmin', '/admin'],
    ['/%7Euser/%2D%5F', '/~user/-_'],
    ['/%41%5a%30', '/AZ0'],
    ['/a\\b', '/a/b'],
    ['/a\\..\\b', '/b'],
    ['//a', '/a'],
    ['/a//b///c', '/a/b/c'],
    ['/a//../b', '/a/b'],
    ['/a/b//..//c', '/a/b/c'],
    ['/a/b/../..//c', '/c'],
    ['/%20a', '/%20a'],
    ['/caf%c3%a9', '/caf%c3%a9'],
    ['/%252e%252e/a', '/%252e%252e/a'],
    ['/a%2fb', '/a%2fb'],
    ['/a%5c..', '/a%5c..'],
    ['/a;v=1/b', '/a;v=1/b'],
    ['*', '/*'],
  ])('%j becomes %j', (raw, path) => {
    expect(normalizePath(raw)).toEqual({ kind: 'path', path })
  })

  test.each(['/a/%2e./b//c/%7e', '/%25/%2525/%2F/%5C', '/x//../y/.', '/..%2f..%2fetc', '/%3b/%3B/;'])(
    '%s is the same after a second time',
    (raw) => {
      const first = normalizePath(raw)
      const path = first.kind === 'path' ? first.path : ''

      expect(normalizePath(path)).toEqual({ kind: 'path', path })
    },
  )
})

describe('a path that upstreams read in two ways is unclear', () => {
  test.each([
    ['/a%00b', 'it holds an escaped NUL'],
    ['/a\u0000b', 'it holds a control character'],
    ['/a\nb', 'it holds a control character'],
    ['/a\u007fb', 'it holds a control character'],
    ['/a\u0085b', 'it holds a control character'],
    ['/a%', 'it holds a broken escape'],
    ['/a%2', 'it holds a broken escape'],
    ['/a%zz', 'it holds a broken escape'],
    ['/%%32e', 'it holds a broken escape'],
    ['/%2%65', 'it holds a broken escape'],
    ['/%u002e', 'it holds a broken escape'],
    ['/a/..;/b', 'it holds a dot segment with a parameter'],
    ['/a/..;x=1', 'it holds a dot segment with a parameter'],
    ['/a/.;/b', 'it holds a dot segment with a parameter'],
    ['/a/%2e%2E;/b', 'it holds a dot segment with a parameter'],
    ['/a\\..;\\b', 'it holds a dot segment with a parameter'],
  ])('%j: %s', (raw, why) => {
    expect(normalizePath(raw)).toEqual({ kind: 'unclear', why })
  })

  test.each(['/a?x=%00', '/a?x=%', '/a#%zz', '/a?x=/..;/'])('but not for its query: %j', (raw) => {
    expect(normalizePath(raw)).toEqual({ kind: 'path', path: '/a' })
  })

  test.each(['/...;/a', '/a..;/b', '/;/..a;'])('and not for what only looks so: %j', (raw) => {
    expect(normalizePath(raw).kind).toBe('path')
  })
})

test.each([
  ['/a/b', false],
  ['/a%2fb', true],
  ['/a%2Fb', true],
  ['/a%5cb', true],
  ['/a%5Cb', true],
  ['/a%252fb', false],
])('%s holds a slash in disguise: %s', (path, expected) => {
  expect(hasEscapedSlash(path)).toBe(expected)
})

test.each([
  ['', ''],
  ['///', '/'],
  ['a//b', 'a/b'],
  ['/a//b?x=//', '/a/b?x=//'],
  ['//?//', '/?//'],
])('the slashes of %j are merged to %j', (path, merged) => {
  expect(mergeSlashes(path)).toBe(merged)
})

test('dots are resolved before slashes are merged, and can be without', () => {
  expect(resolvePath('/a//../b//c')).toEqual({ kind: 'path', path: '/a/b//c' })
})

describe('all spellings that mean the same have one', () => {
  test.each([
    ['/a:b@c', '/a:b@c'],
    ['/a%3Ab%40c', '/a:b@c'],
    ['/%21%24%26%27%28%29%2a%2B%2c%3b%3D', "/!$&'()*+,;="],
    ['/caf%c3%a9', '/caf%C3%A9'],
    ['/café', '/caf%C3%A9'],
    ['/a b"c', '/a%20b%22c'],
    ['/%7bid%7d', '/%7Bid%7D'],
    ['/{id}', '/%7Bid%7D'],
    ['/a%2fb', '/a%2Fb'],
    ['/a%253Ab', '/a%253Ab'],
    ['/\ud800', '/%EF%BF%BD'],
    ['/%', '/%'],
  ])('%j is %j', (path, spelling) => {
    expect(oneSpelling(path)).toBe(spelling)
    expect(oneSpelling(spelling)).toBe(spelling)
  })

  test('a pattern keeps its wildcards', () => {
    expect(oneSpellingOfPattern('/caf%c3%a9/{naïve}/a%3Ab/*')).toBe('/caf%C3%A9/{naïve}/a:b/*')
  })
})

test.each(['/..', '/%2e%2e', '//', '/a%3A', '/é', '/%'])(
  'a megabyte of %s is read in good order',
  (piece) => {
    const path = piece.repeat(Math.ceil(1_000_000 / piece.length))

    expect(['path', 'unclear']).toContain(normalizePath(path).kind)
    expect(oneSpelling(path)).toHaveLength(oneSpelling(piece).length * (path.length / piece.length))
  },
)
