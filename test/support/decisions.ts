import { unguarded } from '../../src/core/circuits.ts'
import type { Allow, Deny } from '../../src/core/decision.ts'
import { type DenialReason, deny } from '../../src/core/denials.ts'
import { anonymous, type Caller } from '../../src/core/identity.ts'

/** A caller named alice, by the client shop. */
export const alice: Caller = {
  kind: 'token',
  issuer: 'https://login.example.com/',
  userId: 'alice',
  clientId: 'shop',
  scopes: ['read:orders'],
  claims: {},
}

const route = { name: 'orders', service: 'order-service', auth: 'required' as const, scopes: [] }

/** An allow that changes nothing; `more` replaces whatever matters. */
export function allowWith(more: Partial<Allow> = {}): Allow {
  return {
    kind: 'allow',
    decisionId: '00112233445566778899aabbccddeeff',
    route,
    caller: anonymous,
    upstreamHeaders: { set: [], remove: [] },
    clientHeaders: [],
    admission: unguarded,
    shadow: [],
    ...more,
  }
}

/** A denial for a reason; `more` replaces whatever matters. */
export function denyWith(reason: DenialReason, more: Partial<Deny> = {}): Deny {
  return {
    kind: 'deny',
    decisionId: '00112233445566778899aabbccddeeff',
    route,
    caller: anonymous,
    denial: deny(reason, 'Not so.'),
    ...more,
  }
}
