import { expect, test } from '@jest/globals'
import { unguarded } from '../../src/core/circuits.ts'
import {
  type Allow,
  type Deny,
  decisionMetadata,
  decisionReason,
  decisionStatus,
} from '../../src/core/decision.ts'
import { deny } from '../../src/core/denials.ts'
import { anonymous, type Identity } from '../../src/core/identity.ts'
import type { RouteSpec } from '../../src/core/routes.ts'

const unmatched: RouteSpec = { name: 'unmatched', auth: 'required', scopes: [] }
const users: RouteSpec = { ...unmatched, name: 'users', service: 'user-service' }
const caller: Identity = {
  kind: 'token',
  issuer: 'https://login.example.com/',
  userId: 'auth0|42',
  clientId: 'shop',
  scopes: ['read:orders'],
  claims: { email: 'someone@example.com' },
}
const decisionId = '00112233445566778899aabbccddeeff'
const allow: Allow = {
  kind: 'allow',
  decisionId,
  route: users,
  caller,
  upstreamHeaders: { set: [], remove: [] },
  clientHeaders: [],
  admission: unguarded,
  shadow: [],
}
const denied: Deny = {
  kind: 'deny',
  decisionId,
  route: unmatched,
  caller: anonymous,
  denial: deny('invalid_token', 'The token has expired.', { cause: 'expired' }),
}

test('an allow is told with its route and its caller', () => {
  expect(decisionMetadata(allow, 'request-1')).toEqual({
    decision_id: decisionId,
    request_id: 'request-1',
    route: 'users',
    service: 'user-service',
    user_id: 'auth0|42',
    client_id: 'shop',
    issuer: 'https://login.example.com/',
    decision: 'allow',
    reason: 'ok',
    status: 0,
    shadow: '',
    circuit_generation: 0,
    probe: 0,
  })
})

test('an allow is told with the state of the circuit that let it pass, and with what only reported', () => {
  const decision: Allow = {
    ...allow,
    admission: { generation: 7, probe: true },
    shadow: [
      { part: 'auth', reason: 'missing_token' },
      { part: 'rate_limit', reason: 'fault' },
    ],
  }

  expect(decisionMetadata(decision, '')).toMatchObject({
    reason: 'ok',
    shadow: 'missing_token fault',
    circuit_generation: 7,
    probe: 1,
  })
})

// Envoy merges metadata field by field: one that is left out could be filled by a client.
test('a denial is told with its reason and status, and what nobody knows is there and empty', () => {
  expect(decisionMetadata(denied, '')).toEqual({
    decision_id: decisionId,
    request_id: '',
    route: 'unmatched',
    service: '',
    user_id: '',
    client_id: '',
    issuer: '',
    decision: 'deny',
    reason: 'invalid_token',
    status: 401,
    shadow: '',
    circuit_generation: 0,
    probe: 0,
  })
})

test('the denial of a known caller names the caller', () => {
  const decision: Deny = { ...denied, caller, denial: deny('insufficient_scope', 'Too few.') }

  expect(decisionMetadata(decision, '')).toMatchObject({
    user_id: 'auth0|42',
    client_id: 'shop',
    status: 403,
    shadow: '',
    circuit_generation: 0,
    probe: 0,
  })
})

test('no claim beyond the identity leaves by the metadata', () => {
  expect(JSON.stringify(decisionMetadata(allow, 'request-1'))).not.toContain('someone@example.com')
})

test('an allow leaves the status to the upstream', () => {
  expect([decisionReason(allow), decisionStatus(allow)]).toEqual(['ok', 0])
  expect([decisionReason(denied), decisionStatus(denied)]).toEqual(['invalid_token', 401])
})
