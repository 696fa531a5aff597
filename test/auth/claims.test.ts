import { describe, expect, test } from '@jest/globals'
import { identityOf } from '../../src/auth/claims.ts'

const issuer = 'https://login.example.com/'
const identify = (claims: Record<string, unknown>) => identityOf(issuer, claims)

test('the caller is sub, vouched for by the issuer, with every claim as signed', () => {
  const claims = { sub: 'auth0|42', azp: 'shop', scope: 'read:a', tier: 'gold' }

  expect(identify(claims)).toEqual({
    kind: 'token',
    issuer,
    userId: 'auth0|42',
    clientId: 'shop',
    scopes: ['read:a'],
    claims,
  })
})

describe('the client is the first of client_id, azp and cid', () => {
  test.each([
    [{ client_id: 'a', azp: 'b', cid: 'c' }, 'a'],
    [{ azp: 'b', cid: 'c' }, 'b'],
    [{ cid: 'c' }, 'c'],
    [{ client_id: null, azp: 'b' }, 'b'],
  ])('%j', (claims, client) => {
    expect(identify(claims)?.clientId).toBe(client)
  })
})

test('a token that names neither user nor client still has an issuer', () => {
  expect(identify({})).toEqual({ kind: 'token', issuer, scopes: [], claims: {} })
})

describe('scopes are the union of scope, scp and permissions, in order and without repeats', () => {
  test.each([
    ['by spaces', { scope: 'read:a write:a' }, ['read:a', 'write:a']],
    ['lists', { scp: ['read:a', 'write:a'] }, ['read:a', 'write:a']],
    ['all three', { scope: 'a b', scp: ['b', 'c'], permissions: ['d', 'a'] }, ['a', 'b', 'c', 'd']],
    ['scp as a text, permissions as a text', { scp: 'a b', permissions: 'c' }, ['a', 'b', 'c']],
    ['scope as a list', { scope: ['a', 'b'] }, ['a', 'b']],
    ['spaces too many', { scope: '  a   b ' }, ['a', 'b']],
    ['empty', { scope: '', scp: [], permissions: null }, []],
    ['other types', { scope: 7, scp: { a: true }, permissions: [1, null, ['a'], 'b'] }, ['b']],
    ['an entry with a space, which would read as two', { scp: ['read:a admin', 'b'] }, ['b']],
    ['what no scope may hold', { scp: ['a"b', 'a\\b', 'a\nb', 'ä', '', 'ok'] }, ['ok']],
    ['separated by tabs or commas, which separate nothing', { scope: 'a\tb c,d' }, ['c,d']],
  ])('%s', (_how, claims, scopes) => {
    expect(identify(claims)?.scopes).toEqual(scopes)
  })
})

describe('a name that cannot stand in a header makes the token unusable', () => {
  const bad: [string, unknown][] = [
    ['a number', 42],
    ['a list', ['42']],
    ['an object', { id: 42 }],
    ['false', false],
    ['empty', ''],
    ['blank', ' '],
    ['with a blank before it', ' 42'],
    ['with a blank after it', '42 '],
    ['with a line break', '42\r\nx-user-id: root'],
    ['with NUL', '4\u00002'],
    ['with a tab', '4\t2'],
    ['with DEL', '4\u007f2'],
    ['with a control character beyond ASCII', '4\u00852'],
    ['with half a character', '4\ud83d2'],
    ['longer than 1,024 characters', 'u'.repeat(1_025)],
  ]

  test.each(bad)('sub: %s', (_what, sub) => {
    expect(identify({ sub, client_id: 'shop' })).toBeUndefined()
  })

  test.each(bad)('client_id: %s', (_what, client_id) => {
    expect(identify({ sub: '42', client_id, azp: 'shop' })).toBeUndefined()
  })

  test('sub: null', () => {
    expect(identify({ sub: null })).toBeUndefined()
  })
})

test.each(['auth0|42', 'u'.repeat(1_024), 'Jörg Müller', '名前', 'a b', '😀', 'client@clients'])(
  'the name %j is taken as it is',
  (sub) => {
    expect(identify({ sub })?.userId).toBe(sub)
  },
)

test('a name that Object’s prototype knows is not found in the claims', () => {
  const claims = JSON.parse('{"__proto__": {"sub": "root", "scope": "admin"}}') as Record<string, unknown>

  expect(identify(claims)).toMatchObject({ scopes: [] })
  expect(identify(claims)).not.toHaveProperty('userId')
})
