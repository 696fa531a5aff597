import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { anonymous, type Caller, type Identity } from '../../src/core/identity.ts'
import {
  chargeOf,
  type KeyPart,
  type KeySource,
  type LimitSpec,
  limitKey,
  rateFor,
  rateProblem,
  tickRate,
} from '../../src/core/limits.ts'

const perMinute = { limit: 100, windowMs: 60_000 }

const spec: LimitSpec = {
  name: 'fair',
  owner: 'defaults',
  rate: perMinute,
  algorithm: 'gcra',
  by: [{ kind: 'client' }],
  cost: 1,
}

const token: Identity = {
  kind: 'token',
  issuer: 'https://login.example.com/',
  userId: 'ada',
  clientId: 'app',
  scopes: [],
  claims: { plan: 'gold', tenant: '' },
}

interface Changes {
  caller?: Caller
  headers?: Record<string, string>
  clientAddress?: string | undefined
  route?: string
}

function sourceOf({
  caller = token,
  headers = {},
  clientAddress = '192.0.2.1',
  route = 'users',
}: Changes): KeySource {
  return {
    caller,
    request: { headers: new Map(Object.entries(headers)), clientAddress },
    route: { name: route },
  }
}

/** The text that is hashed. */
function keyOf(by: readonly KeyPart[], changes: Changes = {}, more: Partial<LimitSpec> = {}): string {
  return limitKey({ ...spec, ...more, by }, perMinute, sourceOf(changes), (text) => text)
}

function without(...names: ('userId' | 'clientId')[]): Identity {
  const rest = { ...token }
  for (const name of names) delete rest[name]
  return rest
}

describe('a counter', () => {
  test('is named by a hash alone', () => {
    const key = limitKey(spec, perMinute, sourceOf({}), (text) => `hash of ${text.length}`)

    expect(key).toMatch(/^hash of \d+$/)
  })

  test.each<[string, readonly KeyPart[], Changes]>([
    ['of a client is the same for each of its users', [{ kind: 'client' }], { caller: without('userId') }],
    ['of a client is the same from every address', [{ kind: 'client' }], { clientAddress: '192.0.2.2' }],
    ['of a user is the same by each client', [{ kind: 'user' }], { caller: without('clientId') }],
    ['of an address is the same for every caller', [{ kind: 'ip' }], { caller: anonymous }],
    [
      'of a route is the same for everyone',
      [{ kind: 'route' }],
      { caller: anonymous, clientAddress: '192.0.2.2' },
    ],
    [
      'of a header does not hang on who sends it',
      [{ kind: 'header', name: 'x-tenant' }],
      { caller: anonymous },
    ],
  ])('%s', (_what, by, changes) => {
    expect(keyOf(by, changes)).toBe(keyOf(by))
  })

  test.each<[string, readonly KeyPart[], Changes, Changes]>([
    [
      'of a client is another for another issuer',
      [{ kind: 'client' }],
      {},
      { caller: { ...token, issuer: 'b' } },
    ],
    [
      'of a user is another for another issuer',
      [{ kind: 'user' }],
      {},
      { caller: { ...token, issuer: 'b' } },
    ],
    [
      'of a claim is another for another issuer',
      [{ kind: 'claim', name: 'plan' }],
      {},
      { caller: { ...token, issuer: 'b' } },
    ],
    ['of an address is another for another address', [{ kind: 'ip' }], {}, { clientAddress: '192.0.2.2' }],
    ['of a route is another for another route', [{ kind: 'route' }], {}, { route: 'orders' }],
    [
      'of a client is another than that of a user with the same name',
      [{ kind: 'client' }],
      { caller: { ...token, clientId: 'ada' } },
      { caller: without('clientId') },
    ],
    [
      'of an empty header is another than of an absent one',
      [{ kind: 'header', name: 'x-tenant' }],
      { headers: { 'x-tenant': '' } },
      {},
    ],
    [
      'of an empty claim is another than of an absent one',
      [{ kind: 'claim', name: 'tenant' }],
      {},
      { caller: { ...token, claims: {} } },
    ],
  ])('%s', (_what, by, one, other) => {
    expect(keyOf(by, one)).not.toBe(keyOf(by, other))
  })

  test('of a client falls back to the user, then to the address', () => {
    const by = [{ kind: 'client' }] as const

    expect(keyOf(by, { caller: without('clientId') })).toBe(keyOf([{ kind: 'user' }]))
    expect(keyOf(by, { caller: without('clientId', 'userId') })).toBe(keyOf([{ kind: 'ip' }]))
    expect(keyOf(by, { caller: anonymous })).toBe(keyOf([{ kind: 'ip' }]))
  })

  test('of a user falls back to the address', () => {
    expect(keyOf([{ kind: 'user' }], { caller: without('userId') })).toBe(keyOf([{ kind: 'ip' }]))
  })

  test('of an IPv6 address is that of its network', () => {
    const [one, other] = ['2001:db8::1', '2001:db8:0:0:ffff::2'].map((clientAddress) =>
      keyOf([{ kind: 'ip' }], { clientAddress }),
    )

    expect(one).toBe(other)
  })

  test('takes a claim for what its name says, not what every object has', () => {
    expect(keyOf([{ kind: 'claim', name: 'constructor' }])).toBe(
      keyOf([{ kind: 'claim', name: 'constructor' }], { caller: { ...token, claims: { constructor: {} } } }),
    )
  })

  test.each<[string, Partial<LimitSpec>]>([
    ['owner', { owner: 'route:users' }],
    ['name', { name: 'other' }],
    ['algorithm', { algorithm: 'fixed-window' }],
  ])('is another for another %s of its limit', (_what, more) => {
    expect(keyOf(spec.by, {}, more)).not.toBe(keyOf(spec.by))
  })

  test('stays when the limit changes, and of a window is another when that does', () => {
    const windowed: LimitSpec = { ...spec, algorithm: 'sliding-window' }
    const keyAt = (limit: LimitSpec, rate: typeof perMinute) =>
      limitKey(limit, rate, sourceOf({}), (text) => text)

    expect(keyAt(spec, { limit: 7, windowMs: 1_000 })).toBe(keyAt(spec, perMinute))
    expect(keyAt(windowed, { limit: 7, windowMs: 60_000 })).toBe(keyAt(windowed, perMinute))
    expect(keyAt(windowed, { limit: 100, windowMs: 1_000 })).not.toBe(keyAt(windowed, perMinute))
  })

  test('cannot be reached by writing one value into another', () => {
    const by: readonly KeyPart[] = [
      { kind: 'header', name: 'a' },
      { kind: 'header', name: 'b' },
    ]

    expect(keyOf(by, { headers: { a: '1,header,b,2' } })).not.toBe(
      keyOf(by, { headers: { a: '1', b: '2,header,b' } }),
    )
  })

  test('is shared by no two tuples of values, however they are chosen', () => {
    const hostile = fc.oneof(
      fc.string(),
      fc.constantFrom('', '"', '","', '\\', '\\"', ']', '],["', '\ud800', 'null'),
    )
    const tuples = fc.tuple(hostile, hostile, hostile)
    const by: readonly KeyPart[] = [
      { kind: 'header', name: 'a' },
      { kind: 'client' },
      { kind: 'header', name: 'b' },
    ]
    const keyOfTuple = ([a, clientId, b]: [string, string, string]) =>
      keyOf(by, { caller: { ...token, clientId }, headers: { a, b } })
    const property = fc.property(tuples, tuples, (one, other) => {
      const isSame = one.every((value, at) => value === other[at])

      expect(keyOfTuple(one) === keyOfTuple(other)).toBe(isSame)
    })

    fc.assert(property, { numRuns: 2_000 })
  })
})

describe('a plan', () => {
  const gold = { limit: 1_000, windowMs: 60_000 }
  const planned: LimitSpec = {
    ...spec,
    plan: {
      claim: 'plan',
      rates: new Map([
        ['gold', gold],
        ['2', gold],
      ]),
    },
  }
  const rateOf = (claims: Record<string, unknown>) => rateFor(planned, { ...token, claims })

  test.each([
    ['the claim names one', { plan: 'gold' }, gold],
    ['the claim is a number', { plan: 2 }, gold],
    ['one of several values names one', { plan: ['trial', 'gold'] }, gold],
    ['the claim names none', { plan: 'trial' }, perMinute],
    ['the claim is an object', { plan: { name: 'gold' } }, perMinute],
    ['there is no claim', {}, perMinute],
  ])('gives its rate where %s, else the limit its own', (_what, claims, expected) => {
    expect(rateOf(claims)).toBe(expected)
  })

  test('is nothing to an anonymous caller', () => {
    expect(rateFor(planned, anonymous)).toBe(perMinute)
  })

  test('sets the rate of what is charged', () => {
    const charge = chargeOf({ ...planned, cost: 3 }, sourceOf({}), () => 'hashed')

    expect(charge).toMatchObject({ rate: gold, key: 'hashed', cost: 3 })
  })
})

describe('a rate', () => {
  test.each([
    ['the limit', { limit: 0, windowMs: 1 }, undefined],
    ['the limit', { limit: 1.5, windowMs: 1 }, undefined],
    ['the limit', { limit: Number.NaN, windowMs: 1 }, undefined],
    ['the window', { limit: 1, windowMs: 0 }, undefined],
    ['the burst', { limit: 1, windowMs: 1 }, 0],
    ['too fine', { limit: 999_999_937, windowMs: 2_678_400_000 }, undefined],
  ])('is refused for %s', (what, rate, burst) => {
    expect(rateProblem(rate, burst)).toContain(what)
  })

  test.each([
    [{ limit: 1, windowMs: 1 }],
    [{ limit: 1_000_000_000, windowMs: 30 * 86_400_000 }],
    [{ limit: 999_983, windowMs: 86_400_000 }],
  ])('is taken where it can be counted exactly: %p', (rate) => {
    expect(rateProblem(rate)).toBeUndefined()
  })

  test('is told in whole ticks of the longest length', () => {
    expect(tickRate(perMinute)).toEqual({ perMs: 1, perUnit: 600 })
    expect(tickRate({ limit: 7, windowMs: 1_000 })).toEqual({ perMs: 7, perUnit: 1_000 })
  })
})
