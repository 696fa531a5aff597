import type { Authenticate } from '../../src/core/gateway.ts'
import type { ObservedDecision } from '../../src/core/outcome.ts'
import type { AuthMode } from '../../src/core/routes.ts'
import type { ClientAddressSource } from '../../src/envoy/attributes.ts'
import { createExtAuthz } from '../../src/envoy/ext-authz.ts'
import type { CheckRequest } from '../../src/envoy/gen/envoy/service/auth/v3/CheckRequest.ts'
import type { CheckResponse__Output } from '../../src/envoy/gen/envoy/service/auth/v3/CheckResponse.ts'
import { loadProtos } from '../../src/envoy/protos.ts'
import { createSeal } from '../../src/envoy/seal.ts'
import type { FakeClock } from './fake-clock.ts'
import { createTestAuthenticator } from './test-authenticator.ts'
import { createTestGateway } from './test-gateway.ts'
import type { TestIssuer } from './test-issuer.ts'

const { Check } = loadProtos().Authorization

/** What a test may want otherwise: a policy of `required` and no scopes is the default. */
export interface DoorOptions {
  clock: FakeClock
  issuers?: readonly TestIssuer[]
  /** In place of an authenticator for `issuers`. */
  authenticate?: Authenticate
  auth?: AuthMode
  scopes?: readonly string[]
  clientAddress?: ClientAddressSource
}

/** The ext_authz door with the whole policy behind it, spoken to in bytes as Envoy does. */
export interface ExtAuthzDoor {
  /** Sends the bytes of a message. */
  checkBytes(message: Uint8Array): Promise<CheckResponse__Output>
  /** Sends a message. */
  check(message: CheckRequest): Promise<CheckResponse__Output>
  /** What the observer on the other side of Envoy will make of the metadata. */
  observed(response: CheckResponse__Output): ObservedDecision | undefined
  /** Faults that were told, in order. */
  faulted: unknown[]
}

/** Opens the door without a network: every message still goes through its bytes, both ways. */
export function openExtAuthzDoor(options: DoorOptions): ExtAuthzDoor {
  const { clock, issuers = [], auth = 'required', scopes = [], clientAddress = 'peer' } = options
  const { authenticate = createTestAuthenticator(clock, issuers).authenticate } = options
  const faulted: unknown[] = []
  const seal = createSeal()
  const { decide } = createTestGateway({ authenticate, auth, scopes })
  const door = createExtAuthz({
    decide,
    observer: {
      decided: () => undefined,
      faulted: (_door, error) => faulted.push(error),
    },
    seal,
    clientAddress,
    now: clock.now,
  })

  async function checkBytes(message: Uint8Array): Promise<CheckResponse__Output> {
    const response = await door(Check.requestDeserialize(Buffer.from(message)))
    return Check.responseDeserialize(Check.responseSerialize(response))
  }

  return {
    checkBytes,
    check: (message) => checkBytes(Check.requestSerialize(message)),
    observed: ({ dynamic_metadata }) => seal.open(dynamic_metadata),
    faulted,
  }
}
