import type { Publish } from '../../src/core/events.ts'
import { type Authenticate, createGateway, type Gateway } from '../../src/core/gateway.ts'
import type { Outcome } from '../../src/core/outcome.ts'
import { type AuthMode, createRoutes } from '../../src/core/routes.ts'
import { noCircuits } from './circuits.ts'

/** What a test may want otherwise: a policy of `required` and no scopes, and nobody who listens, is the default. */
export interface TestGatewayOptions {
  authenticate: Authenticate
  auth?: AuthMode
  scopes?: readonly string[]
  publish?: Publish
  onOutcome?: (outcome: Outcome) => void
}

/** The whole policy, without a route of its own and without limits. */
export function createTestGateway({
  authenticate,
  auth = 'required',
  scopes = [],
  publish = () => undefined,
  onOutcome = () => undefined,
}: TestGatewayOptions): Gateway {
  return createGateway({
    routes: createRoutes({ defaults: { name: 'unmatched', auth, scopes }, routes: [] }),
    authenticate,
    credentialHeaders: [],
    circuits: noCircuits,
    quota: { take: () => ({ kind: 'granted', headers: [] }) },
    publish,
    onOutcome,
    onShadowFault: () => undefined,
    tellsShadow: false,
    now: () => Date.UTC(2030, 0, 1),
    randomId: () => '00112233445566778899aabbccddeeff',
  })
}
