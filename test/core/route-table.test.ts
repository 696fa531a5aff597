import { describe, expect, test } from '@jest/globals'
import { createRouteTable, hostOf, type RouteMatch } from '../../src/core/route-table.ts'

/** A table of these rules, each leading to its own place in the list. */
function tableOf(...matches: RouteMatch[]) {
  return createRouteTable(matches.map((match, at) => ({ match, route: at })))
}

/** The place of the rule that fits, what would be allowed, or nothing. */
function look(
  rules: readonly RouteMatch[],
  path: string,
  { host = 'api.example.com', method = 'GET' } = {},
): number | readonly string[] | undefined {
  const found = tableOf(...rules).find(host, path, method)
  if (found.kind === 'route') return found.route
  return found.kind === 'wrong_method' ? found.allow : undefined
}

const paths = (...list: string[]): RouteMatch[] => list.map((path) => ({ path }))

const hosts = (...list: (string | undefined)[]): RouteMatch[] => list.map((host) => ({ host }))

describe('of several hosts that fit', () => {
  const rules = hosts(undefined, '*.example.com', 'api.example.com', '*.eu.example.com', '*')

  test.each([
    ['api.example.com', 2],
    ['shop.example.com', 1],
    ['shop.eu.example.com', 3],
    ['a.b.eu.example.com', 3],
    ['eu.example.com', 1],
    ['example.com', 0],
    ['example.org', 0],
    ['', 0],
  ])('%j goes to the most specific one', (host, place) => {
    expect(look(rules, '/x', { host })).toBe(place)
  })

  test('a wildcard is no suffix of letters, and not the domain itself', () => {
    expect(look(hosts('*.example.com'), '/x', { host: 'badexample.com' })).toBeUndefined()
    expect(look(hosts('*.example.com'), '/x', { host: 'example.com' })).toBeUndefined()
    expect(look(hosts('*.example.com'), '/x', { host: '.example.com' })).toBe(0)
  })

  test('a host whose paths do not fit leaves the request to the next', () => {
    const rules: RouteMatch[] = [
      { host: 'api.example.com', path: '/users' },
      { host: '*.example.com', path: '/orders' },
      { path: '/*' },
    ]

    expect([look(rules, '/users'), look(rules, '/orders'), look(rules, '/else')]).toEqual([0, 1, 2])
  })

  test('a specific host with a prefix comes before any host with the exact path', () => {
    expect(look([{ path: '/users' }, { host: 'api.example.com', path: '/*' }], '/users')).toBe(1)
  })
})

test.each([
  ['api.example.com', 'api.example.com'],
  ['API.Example.COM', 'api.example.com'],
  ['api.example.com:8443', 'api.example.com'],
  ['api.example.com.', 'api.example.com'],
  ['api.example.com.:443', 'api.example.com'],
  ['api.example.com:', 'api.example.com'],
  ['192.0.2.1:80', '192.0.2.1'],
  ['[2001:DB8::1]:443', '[2001:db8::1]'],
  ['[2001:db8::1]', '[2001:db8::1]'],
  ['[::ffff:192.0.2.1]', '[::ffff:192.0.2.1]'],
  ['', ''],
])('the authority %j is of the host %j', (authority, host) => {
  expect(hostOf(authority)).toBe(host)
  expect(look(hosts(host), '/', { host: authority })).toBe(0)
})

describe('of several paths that fit', () => {
  test.each([
    ['the exact one before a template', paths('/users/{id}', '/users/me'), '/users/me', 1],
    ['a template before a prefix', paths('/users/*', '/users/{id}'), '/users/7', 1],
    ['a template before a longer prefix', paths('/a/b/*', '/{x}/b'), '/a/b', 1],
    ['the longer prefix', paths('/*', '/users/*', '/users/me/*'), '/users/me/keys', 2],
    ['the longer prefix, although it begins with a wildcard', paths('/a/*', '/{x}/b/*'), '/a/b/c', 1],
    ['the shorter prefix where the longer does not fit', paths('/a/*', '/{x}/b/*'), '/a/c/b', 0],
    ['a literal before a wildcard in a template', paths('/{x}/keys', '/users/{id}'), '/users/keys', 1],
    ['a literal before a wildcard in a prefix', paths('/{x}/*', '/users/*'), '/users/keys', 1],
    ['a later wildcard before an earlier one', paths('/{x}/{y}/c', '/a/{y}/{z}'), '/a/b/c', 1],
    ['a way back from a literal that leads nowhere', paths('/a/b/c', '/{x}/b/{y}', '/a/{y}/d'), '/a/b/d', 2],
    ['the first in the file of two alike', paths('/users/{id}', '/users/{name}'), '/users/7', 0],
    ['the first in the file of two exact ones', paths('/users', '/users'), '/users', 0],
    ['the first in the file of two prefixes', paths('/users/*', '/users/*'), '/users', 0],
  ])('%s', (_what, rules, path, place) => {
    expect(look(rules, path)).toBe(place)
    expect(look(rules.toReversed(), path)).toBe(
      // Where two are alike, the other one is the first now.
      isAlike(rules) ? 0 : rules.length - 1 - place,
    )
  })

  function isAlike([one, other]: readonly RouteMatch[]): boolean {
    const shape = (rule: RouteMatch | undefined) => rule?.path?.replaceAll(/\{\w+\}/g, '{}')
    return shape(one) === shape(other)
  }
})

describe('a prefix', () => {
  test.each([
    ['/users', 0],
    ['/users/', 0],
    ['/users/7', 0],
    ['/users/7/', 0],
    ['/usersettings', undefined],
    ['/user', undefined],
    ['/USERS', undefined],
    ['/', undefined],
  ])('of /users fits %s: %s', (path, place) => {
    expect(look(paths('/users/*'), path)).toBe(place)
  })

  test.each(['/', '/a', '/a/', '/a/b'])('of nothing fits %s, and so does no path at all', (path) => {
    expect(look(paths('/*'), path)).toBe(0)
    expect(look([{}], path)).toBe(0)
  })

  test.each([
    ['/tenants/a', 0],
    ['/tenants/a/users/7', 0],
    ['/tenants', undefined],
    ['/tenants/', undefined],
  ])('may have wildcards: /tenants/{t}/* fits %s: %s', (path, place) => {
    expect(look(paths('/tenants/{t}/*'), path)).toBe(place)
  })
})

describe('a segment', () => {
  test.each([
    ['/users/{id}', '/users/', undefined],
    ['/users/{id}', '/users', undefined],
    ['/users/{id}', '/users/7/', undefined],
    ['/users/{id}/', '/users/7/', 0],
    ['/users/{id}/', '/users/7', undefined],
    ['/users/{id}', '/users/a/b', undefined],
    ['/users/{id}/keys', '/users//keys', undefined],
    ['/{a}/{b}', '/x/y', 0],
    ['/', '/', 0],
    ['/users', '/users/', undefined],
    ['/users/', '/users', undefined],
  ])('is counted, the last empty one too: %s for %s gives %s', (pattern, path, place) => {
    expect(look(paths(pattern), path)).toBe(place)
  })

  test.each(['constructor', '__proto__', 'hasOwnProperty', 'toString'])(
    'called %s is a name as any',
    (name) => {
      expect(look(paths(`/${name}/{id}`, '/{x}/{y}'), `/${name}/7`)).toBe(0)
      expect(look(paths('/users/{id}'), `/${name}/7`)).toBeUndefined()
      expect(look(hosts('api.example.com'), '/', { host: name })).toBeUndefined()
    },
  )
})

describe('the most specific path decides about the method', () => {
  const rules: RouteMatch[] = [
    { path: '/users', methods: ['GET'] },
    { path: '/users', methods: ['POST', 'GET'] },
    { path: '/users/{id}', methods: ['PUT'] },
    { path: '/users/{name}', methods: ['DELETE'] },
    { path: '/*' },
  ]

  test.each([
    ['GET', '/users', 0],
    ['POST', '/users', 1],
    ['PUT', '/users/7', 2],
    ['DELETE', '/users/7', 3],
    ['DELETE', '/else', 4],
  ])('%s %s', (method, path, place) => {
    expect(look(rules, path, { method })).toBe(place)
  })

  test.each([
    ['DELETE', '/users', ['GET', 'POST']],
    ['GET', '/users/7', ['PUT', 'DELETE']],
    ['get', '/users', ['GET', 'POST']],
    ['HEAD', '/users', ['GET', 'POST']],
  ])('%s %s does not fall to the rest: allowed are %j', (method, path, allow) => {
    expect(look(rules, path, { method })).toEqual(allow)
  })

  test('a more specific host as well', () => {
    const hosted: RouteMatch[] = [{ host: 'api.example.com', path: '/users', methods: ['GET'] }, {}]

    expect(look(hosted, '/users', { method: 'POST' })).toEqual(['GET'])
    expect(look(hosted, '/users', { method: 'POST', host: 'other.example.com' })).toBe(1)
  })
})

describe('who chooses the spelling does not choose the route', () => {
  const rules = paths('/v1/things:purge', '/v1/{id}', '/v1/caf%C3%A9', '/v1/naïve', '/v1/a@b,c;d/*')

  test.each([
    ['/v1/things:purge', 0],
    ['/v1/things%3Apurge', 0],
    ['/v1/things%3apurge', 0],
    ['/v1/things%253Apurge', 1],
    ['/v1/caf%c3%a9', 2],
    ['/v1/café', 2],
    ['/v1/na%C3%AFve', 3],
    ['/v1/a%40b%2Cc%3bd/e', 4],
    ['/v1/{id}', 1],
    ['/v1/%7Bid%7D', 1],
    ['/v1/\ud800', 1],
  ])('%s', (path, place) => {
    expect(look(rules, path)).toBe(place)
  })
})

describe('however large a request is', () => {
  const rules = paths('/{a}/{b}/{c}', '/a/*', '/a/a/a/a/a/*')

  test('a million segments are looked up without a deep stack', () => {
    expect(look(rules, '/a'.repeat(1_000_000))).toBe(2)
    expect(look(rules, `/b${'/'.repeat(1_000_000)}`)).toBeUndefined()
  })

  test('a host of a hundred thousand labels as well', () => {
    expect(look(hosts('*.a', undefined), '/', { host: 'a.'.repeat(100_000) })).toBe(0)
  })

  test('a pattern of a thousand wildcards beside literals is found', () => {
    const deep = Array.from({ length: 500 }, (_, at) => (at % 2 === 0 ? '/a' : '/{x}')).join('')

    expect(look(paths('/a/*', deep), '/a'.repeat(500))).toBe(1)
    expect(look(paths('/a/*', deep), '/a'.repeat(501))).toBe(0)
  })
})

test('an empty table finds nothing', () => {
  expect(look([], '/')).toBeUndefined()
})
