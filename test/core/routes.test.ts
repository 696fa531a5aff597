import { describe, expect, test } from '@jest/globals'
import { Fault } from '../../src/core/fault.ts'
import { createRoutes, isScope, type RouteSpec, splitList } from '../../src/core/routes.ts'
import { requestWith } from '../support/requests.ts'

const defaults = { auth: 'required', scopes: ['read:default'] } as const
/** The table of these defaults and no routes, asked by Envoy's settings alone. */
function routes() {
  const table = createRoutes({ defaults: { name: 'unmatched', ...defaults }, routes: [] })
  return {
    match(overrides: Record<string, string>): RouteSpec {
      const found = table.match(requestWith({}, { overrides }))
      if (found.kind !== 'route') throw new Error('denied')
      return found.spec
    },
  }
}

test('a request without settings of its route gets the defaults, as unmatched', () => {
  expect(routes().match({})).toMatchObject({ name: 'unmatched', auth: 'required', scopes: ['read:default'] })
})

test('Envoy’s route wins over the defaults, setting by setting', () => {
  const spec = routes().match({ route: 'users', service: 'user-service', auth: 'optional' })

  expect(spec).toMatchObject({
    name: 'users',
    service: 'user-service',
    auth: 'optional',
    scopes: ['read:default'],
  })
})

test.each([
  ['replaces the list', 'read:users,write:users', ['read:users', 'write:users']],
  ['ignores blanks and empty entries', ' read:users , ,write:users,', ['read:users', 'write:users']],
  ['clears the list when empty', '', []],
  ['clears the list when blank', '  ', []],
])('scopes: %s', (_what, scopes, expected) => {
  expect(routes().match({ scopes }).scopes).toEqual(expected)
})

describe('a setting that makes no sense is a fault, so that a typo does not lower the guard', () => {
  test.each([
    [
      'an unknown key',
      { scope: 'read:users' },
      '"scope": known are route, service, auth, scopes, rate_limit, rate_limit_key',
    ],
    ['an unknown key beside good ones', { auth: 'none', Auth: 'none' }, '"Auth": known are'],
    ['a key of Object’s own', { constructor: 'x' }, '"constructor": known are'],
    ['an unknown mode', { auth: 'off' }, 'auth: one of required, optional, none, got "off"'],
    ['a mode in capitals', { auth: 'None' }, 'auth: one of required, optional, none, got "None"'],
    ['an empty mode', { auth: '' }, 'auth: one of required, optional, none, got ""'],
    ['an empty route', { route: '' }, 'route: 1 to 128 characters, got 0'],
    ['a blank service', { service: '   ' }, 'service: 1 to 128 characters, got 0'],
    ['a route too long', { route: 'r'.repeat(129) }, 'route: 1 to 128 characters, got 129'],
    ['scopes with a space', { scopes: 'read:a read:b' }, 'scopes: "read:a read:b" is no scope'],
    ['a scope with a quote', { scopes: 'ok,"x"' }, 'scopes: "\\"x\\"" is no scope'],
  ])('%s', (_what, overrides: Record<string, string>, message) => {
    const match = () => routes().match(overrides)

    expect(match).toThrow(message)
    expect(match).toThrow(Fault)
    expect(match).toThrow(expect.objectContaining({ part: 'routes' }))
  })

  test('an own __proto__ key', () => {
    const overrides = JSON.parse('{"__proto__": "x"}') as Record<string, string>

    expect(() => routes().match(overrides)).toThrow('"__proto__": known are')
  })

  test('again each time, for nothing bad is remembered', () => {
    const table = routes()

    expect(() => table.match({ auth: 'off' })).toThrow(Fault)
    expect(() => table.match({ auth: 'off' })).toThrow(Fault)
  })
})

test('the same settings give the same compiled spec, other ones another', () => {
  const table = routes()

  const first = table.match({ route: 'users' })

  expect(table.match({ route: 'users' })).toBe(first)
  expect(table.match({ route: 'orders' })).not.toBe(first)
})

test('ever new settings are still answered rightly after the thousandth', () => {
  const table = routes()
  for (let at = 0; at < 1_100; at += 1) table.match({ route: `r${at}` })

  expect(table.match({ route: 'r1099' }).name).toBe('r1099')
  expect(table.match({ route: 'late' }).name).toBe('late')
})

test.each([
  ['', []],
  [',', []],
  ['a', ['a']],
  [' a ,b, ', ['a', 'b']],
  ['a b', ['a b']],
])('the list %j is %j', (text, entries) => {
  expect(splitList(text)).toEqual(entries)
})

test.each([
  ['read:users', true],
  ['!#[]~', true],
  ['', false],
  ['a b', false],
  ['a"b', false],
  ['a\\b', false],
  ['ä', false],
  ['a\n', false],
])('%j is a scope: %s', (text, expected) => {
  expect(isScope(text)).toBe(expected)
})
