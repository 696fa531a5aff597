import { describe, expect, test } from '@jest/globals'
import { type ClaimRule, claimHeader, claimValues, unmetClaims } from '../../src/core/claims.ts'
import { anonymous, type Identity } from '../../src/core/identity.ts'

function callerWith(claims: Record<string, unknown>): Identity {
  return { kind: 'token', issuer: 'https://login.example.com/', scopes: [], claims }
}

const caller = callerWith({
  tier: 'gold',
  level: 3,
  ratio: 0.5,
  admin: false,
  groups: ['staff', 7, true, null, { name: 'x' }, ['nested']],
  nothing: null,
  org: { id: 'acme', address: { city: 'Bern' }, units: ['a', 'b'] },
  'https://example.com/roles': ['reader'],
  'org.id': 'dotted',
  '': 'nameless',
})

describe('the values of a claim', () => {
  test.each([
    ['a text', 'tier', ['gold']],
    ['a whole number', 'level', ['3']],
    ['a fraction', 'ratio', ['0.5']],
    ['a boolean, and false is one', 'admin', ['false']],
    ['a list, of which objects and lists do not count', 'groups', ['staff', '7', 'true']],
    ['null is none', 'nothing', []],
    ['an object is none', 'org', []],
    ['one that is missing is none', 'tenant', []],
    ['a path of names', 'org.address.city', ['Bern']],
    ['a path to a list', 'org.units', ['a', 'b']],
    ['a path through a list', 'org.units.1', ['b']],
    ['a path through a text leads nowhere', 'tier.length', []],
    ['a path through what is missing leads nowhere', 'a.b.c', []],
    ['a name with dots of its own', 'https://example.com/roles', ['reader']],
    ['a whole name before a path', 'org.id', ['dotted']],
  ])('%s', (_what, claim, values) => {
    expect(claimValues(caller, claim)).toEqual(values)
  })

  test.each([
    'constructor',
    '__proto__',
    'toString',
    'org.constructor',
    'org.__proto__.id',
    'constructor.name',
    'org.units.__proto__.length',
  ])('names that objects have are no claims: %s', (claim) => {
    expect(claimValues(caller, claim)).toEqual([])
  })

  test('nor where a token brings one of its own, beyond what it says', () => {
    const forged = callerWith(JSON.parse('{"__proto__": {"tier": "gold"}, "constructor": "x"}'))

    expect(claimValues(forged, 'tier')).toEqual([])
    expect(claimValues(forged, '__proto__.tier')).toEqual(['gold'])
    expect(claimValues(forged, 'constructor')).toEqual(['x'])
  })

  test('an anonymous caller has none', () => {
    expect(claimValues(anonymous, 'tier')).toEqual([])
  })
})

describe('a rule', () => {
  test.each<[string, ClaimRule, boolean]>([
    ['is met by one of its values', { claim: 'tier', values: ['silver', 'gold'] }, true],
    ['is not met by another', { claim: 'tier', values: ['silver'] }, false],
    ['is not met by other letters', { claim: 'tier', values: ['GOLD'] }, false],
    ['is met by one of several values', { claim: 'groups', values: ['staff'] }, true],
    ['is met by a number as its digits', { claim: 'level', values: ['3'] }, true],
    ['is not met by a number spelled in another way', { claim: 'level', values: ['3.0'] }, false],
    ['is met by a boolean as its word', { claim: 'admin', values: ['false'] }, true],
    ['is not met by null', { claim: 'nothing', values: ['null', '', 'undefined'] }, false],
    ['is not met by an object', { claim: 'org', values: ['[object Object]'] }, false],
    ['is not met by a part of a text', { claim: 'tier', values: ['gol', ''] }, false],
    ['is not met by all of a list in one', { claim: 'org.units', values: ['a,b'] }, false],
  ])('%s', (_what, rule, isMet) => {
    expect(unmetClaims(caller, [rule])).toEqual(isMet ? [] : [rule])
  })

  test('of several each must be met, and those that are not are told in order', () => {
    const rules = ['level', 'tier', 'tenant'].map((claim) => ({ claim, values: ['gold'] }))

    expect(unmetClaims(caller, rules).map(({ claim }) => claim)).toEqual(['level', 'tenant'])
    expect(unmetClaims(caller, [])).toEqual([])
  })

  test('is met by no anonymous caller', () => {
    expect(unmetClaims(anonymous, [{ claim: 'tier', values: ['gold'] }])).toHaveLength(1)
  })
})

describe('a claim in a header', () => {
  test.each([
    ['a text', 'gold', 'gold'],
    ['a number', 7, '7'],
    ['a list, by commas', ['a', 2, true], 'a,2,true'],
    ['a text of another script', 'Zoë 日本', 'Zoë 日本'],
    ['blanks around it do not count', '  gold ', 'gold'],
    ['the longest that may be', 'x'.repeat(1_024), 'x'.repeat(1_024)],
    ['one that is longer is left out', 'x'.repeat(1_025), undefined],
    ['an empty one is left out', '', undefined],
    ['a blank one is left out', '   ', undefined],
    ['an empty list is left out', [], undefined],
    ['a line break is left out', 'gold\r\nx-admin: 1', undefined],
    ['a NUL is left out', 'a\u0000', undefined],
    ['a tab is left out', 'a\tb', undefined],
    ['half a character is left out', 'a\ud800', undefined],
    ['an object is left out', { a: 1 }, undefined],
  ])('%s', (_what, value, header) => {
    expect(claimHeader(callerWith({ tier: value }), 'tier')).toBe(header)
  })
})
