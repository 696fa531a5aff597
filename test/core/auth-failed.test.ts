import { describe, expect, test } from '@jest/globals'
import { authFailed } from '../../src/core/auth-failed.ts'
import { deny } from '../../src/core/denials.ts'
import { anonymous, type Caller } from '../../src/core/identity.ts'
import type { RequestContext } from '../../src/core/request.ts'
import { requestWith } from '../support/requests.ts'

const route = { name: 'orders', auth: 'required' as const, scopes: [] }

function refused(request: RequestContext, caller: Caller = anonymous) {
  return authFailed(request, { route, caller, denial: deny('invalid_token', 'No.') })
}

test('the event has the reason, the path without its query, the address and the route', () => {
  const event = refused(requestWith({}, { path: '/orders/7?token=secret#part', clientAddress: '192.0.2.9' }))

  expect(event).toEqual({
    reason: 'invalid_token',
    path: '/orders/7',
    client_ip: '192.0.2.9',
    token_type: 'none',
    route: 'orders',
  })
})

test('what is not known is left out', () => {
  expect(refused(requestWith({}, { clientAddress: undefined }))).not.toHaveProperty('client_ip')
})

test('the issuer is told once a token’s signature held, and never who the caller is', () => {
  const caller: Caller = {
    kind: 'token',
    issuer: 'https://login.example.com/',
    userId: 'alice',
    clientId: 'shop',
    scopes: [],
    claims: {},
  }

  const event = refused(requestWith(), caller)

  expect(event.issuer).toBe('https://login.example.com/')
  expect(JSON.stringify(event)).not.toMatch(/alice|shop/)
})

describe('the kind of credential', () => {
  test.each([
    ['nothing', undefined, 'none'],
    ['a bearer token', 'Bearer abc', 'bearer'],
    ['a bearer token in small letters', 'bearer abc', 'bearer'],
    ['a bearer token after blanks', '  BEARER abc', 'bearer'],
    ['another scheme', 'Basic abc', 'other'],
    ['the word alone', 'Bearer', 'other'],
    ['an empty header', '', 'other'],
  ])('of %s', (_what, authorization, expected) => {
    const headers = authorization === undefined ? {} : { authorization }

    expect(refused(requestWith(headers)).token_type).toBe(expected)
  })
})

test('a path is cut to 2 KiB', () => {
  const event = refused(requestWith({}, { path: `/${'é'.repeat(2_000)}` }))

  expect(Buffer.byteLength(event.path)).toBeLessThanOrEqual(2_048)
  expect(event.path).toBe(`/${'é'.repeat(1_023)}`)
})
