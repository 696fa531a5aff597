import { describe, expect, test } from '@jest/globals'
import { type Denial, deny } from '../../src/core/denials.ts'
import { Fault } from '../../src/core/fault.ts'
import { type Authenticate, createGateway } from '../../src/core/gateway.ts'
import { anonymous, type Caller, type Identity } from '../../src/core/identity.ts'
import type { RouteOverrides } from '../../src/core/request.ts'
import { createRoutes } from '../../src/core/routes.ts'
import { requestWith } from '../support/requests.ts'

const token: Identity = {
  kind: 'token',
  issuer: 'https://login.example.com/',
  userId: 'auth0|42',
  scopes: ['read:a', 'read:b'],
  claims: {},
}

const ignore = () => undefined

function gateway(authenticate: Authenticate, scopes: readonly string[] = []) {
  let ids = 0
  const randomId = () => {
    ids += 1
    return `id-${ids}`
  }
  const routes = createRoutes({ defaults: { name: 'unmatched', auth: 'required', scopes }, routes: [] })
  return createGateway({
    routes,
    authenticate,
    credentialHeaders: [],
    quota: { take: () => ({ kind: 'granted', headers: [] }) },
    randomId,
    publish: ignore,
    onOutcome: ignore,
  })
}

const badToken = deny('invalid_token', 'The token has expired.')

describe('decides', () => {
  test.each<[string, Caller | Denial, RouteOverrides, string]>([
    ['a token where none of its scopes is asked for', token, {}, 'allow'],
    ['a token that holds the one scope', token, { scopes: 'read:a' }, 'allow'],
    ['a token that holds every scope', token, { scopes: 'read:b,read:a' }, 'allow'],
    ['a token that lacks one of two scopes', token, { scopes: 'read:a,write:a' }, 'insufficient_scope'],
    ['a scope in other letters', token, { scopes: 'READ:A' }, 'insufficient_scope'],
    ['a refused token', badToken, {}, 'invalid_token'],
    ['a refused token on an optional route', badToken, { auth: 'optional' }, 'invalid_token'],
    ['an anonymous caller on an optional route', anonymous, { auth: 'optional' }, 'allow'],
    [
      'an anonymous caller where scopes are',
      anonymous,
      { auth: 'optional', scopes: 'read:a' },
      'missing_token',
    ],
    ['an anonymous caller on an open route', anonymous, { auth: 'none', scopes: 'read:a' }, 'allow'],
  ])('%s', async (_who, caller, overrides, verdict) => {
    const { decide } = gateway(() => caller)

    const decision = await decide(requestWith({}, { overrides }))

    expect(decision.kind === 'allow' ? 'allow' : decision.denial.reason).toBe(verdict)
  })
})

test('the scopes of the environment hold where the route says nothing, and yield where it does', async () => {
  const { decide } = gateway(() => token, ['write:all'])

  const unsaid = await decide(requestWith())
  const cleared = await decide(requestWith({}, { overrides: { scopes: '' } }))

  expect(unsaid).toMatchObject({ kind: 'deny', denial: { reason: 'insufficient_scope' } })
  expect(cleared.kind).toBe('allow')
})

test('the denial for missing scopes names all that are asked for, and says which are missing', async () => {
  const { decide } = gateway(() => token)

  const decision = await decide(requestWith({}, { overrides: { scopes: 'read:a,write:a,write:b' } }))

  expect(decision).toMatchObject({
    caller: token,
    denial: {
      requiredScopes: ['read:a', 'write:a', 'write:b'],
      detail: 'The credential lacks the scope write:a, write:b.',
    },
  })
})

test('an allow tells the upstream who is calling and takes forged headers away', async () => {
  const { decide } = gateway(() => token)

  const decision = await decide(requestWith({ 'x-user-id': 'root', 'x-gatepost-probe': '1' }))

  expect(decision).toMatchObject({
    kind: 'allow',
    upstreamHeaders: {
      set: [
        ['x-user-id', 'auth0|42'],
        ['x-auth-scopes', 'read:a read:b'],
        ['x-auth-issuer', 'https://login.example.com/'],
      ],
      remove: ['x-client-id', 'x-gatepost-probe'],
    },
  })
})

test('a refused caller is nobody: nothing of an unverified token is repeated', async () => {
  const { decide } = gateway(() => badToken)

  await expect(decide(requestWith())).resolves.toMatchObject({ kind: 'deny', caller: anonymous })
})

test('the step that authenticates sees the request and its route', async () => {
  const seen: unknown[] = []
  const { decide } = gateway((request, route) => {
    seen.push(request, route.name)
    return token
  })
  const request = requestWith({ accept: '*/*' }, { overrides: { route: 'users' } })

  await decide(request)

  expect(seen).toEqual([request, 'users'])
})

test('every decision has an id of its own', async () => {
  const { decide } = gateway(() => token)

  const ids = [await decide(requestWith()), await decide(requestWith())].map(({ decisionId }) => decisionId)

  expect(ids).toEqual(['id-1', 'id-2'])
})

describe('gives no verdict', () => {
  test('where the caller cannot be established', async () => {
    const { decide } = gateway(() => Promise.reject(new Fault('auth', 'no keys')))

    await expect(decide(requestWith())).rejects.toThrow('no keys')
  })

  test('where the route’s settings make no sense, and asks nobody who they are', async () => {
    let asked = false
    const { decide } = gateway(() => {
      asked = true
      return token
    })

    await expect(decide(requestWith({}, { overrides: { auth: 'off' } }))).rejects.toThrow(Fault)
    expect(asked).toBe(false)
  })
})
