import { expect, test } from '@jest/globals'
import { anonymous, type Identity, identityHeaderNames, identityHeaders } from '../../src/core/identity.ts'

const token: Identity = {
  kind: 'token',
  issuer: 'https://login.example.com/',
  userId: 'auth0|42',
  clientId: 'shop',
  scopes: ['read:orders', 'write:orders'],
  claims: {},
}

function named(headers: readonly (readonly [string, string])[]): Record<string, string> {
  return Object.fromEntries(headers)
}

test('the upstream learns who is calling, by which client, for what, and who vouches for it', () => {
  const { set, remove } = identityHeaders(token, [])

  expect(named(set)).toEqual({
    'x-user-id': 'auth0|42',
    'x-client-id': 'shop',
    'x-auth-scopes': 'read:orders write:orders',
    'x-auth-issuer': 'https://login.example.com/',
  })
  expect(remove).toEqual([])
})

test('an identity header without a value of ours is removed, so that a forged one does not stand in', () => {
  const { userId: _, clientId: __, ...nameless } = token

  const { set, remove } = identityHeaders({ ...nameless, scopes: [] }, identityHeaderNames)

  expect(named(set)).toEqual({ 'x-auth-issuer': 'https://login.example.com/' })
  expect(remove).toEqual(['x-user-id', 'x-client-id', 'x-auth-scopes'])
})

test('an anonymous caller reaches the upstream with no identity header at all', () => {
  const { set, remove } = identityHeaders(anonymous, ['x-user-id', 'accept'])

  expect(set).toEqual([])
  expect(remove).toEqual([...identityHeaderNames])
})

test('every x-gatepost- header of a client is removed, and nothing that only looks like one', () => {
  const sent = [
    'x-gatepost-shadow',
    'accept',
    'x-gatepost-',
    'x-gatepost',
    'ax-gatepost-b',
    'x-gatepost-probe',
  ]

  const { remove } = identityHeaders(token, sent)

  expect(remove).toEqual(['x-gatepost-shadow', 'x-gatepost-', 'x-gatepost-probe'])
})

test('no header is both set and removed: Envoy would remove it last', () => {
  const { set, remove } = identityHeaders(token, [...identityHeaderNames, 'x-gatepost-a'])

  expect(set.map(([name]) => name).filter((name) => remove.includes(name))).toEqual([])
})
