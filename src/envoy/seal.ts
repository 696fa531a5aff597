import { createHmac, createSecretKey, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto'
import type { DecisionMetadata } from '../core/decision.ts'
import type { ObservedDecision } from '../core/outcome.ts'
import type { Struct, Struct__Output } from './gen/google/protobuf/Struct.ts'
import { fromStruct, toStruct } from './struct.ts'

/** Carries decisions through Envoy's dynamic metadata, so that the observer can tell them from a client's invention. */
export interface Seal {
  /** Writes a decision as metadata. */
  close(fields: DecisionMetadata): Struct
  /** @returns undefined where the metadata is missing or was not written here, field for field. */
  open(metadata: Struct__Output | undefined): ObservedDecision | undefined
}

const fieldNames = [
  'decision_id',
  'request_id',
  'route',
  'service',
  'user_id',
  'client_id',
  'issuer',
  'decision',
  'reason',
  'status',
  'shadow',
  'circuit_generation',
  'probe',
] as const satisfies (keyof DecisionMetadata)[]

/**
 * Makes a seal: HMAC-SHA256 over every field, under a key that only this process knows. Any filter before ours can
 * write our namespace from a client's header, and on a fault nothing of ours would overwrite it: without a seal a
 * client could then name itself. Metadata that another replica sealed, or this one before a restart, is not believed
 * either; such a request is observed without identity.
 */
export function createSeal(key: KeyObject = createSecretKey(randomBytes(32))): Seal {
  function sealOf(fields: Readonly<Record<string, string | number>>): string {
    let text = ''
    for (const name of fieldNames) {
      // With its kind and length before it no value can pass for another kind, or run into the next one.
      const value = fields[name]
      const shown = String(value)
      text += `${typeof value}${shown.length}:${shown}`
    }
    return createHmac('sha256', key).update(text).digest('base64url')
  }

  return {
    close(fields) {
      const values = fields as unknown as Readonly<Record<string, string | number>>
      return toStruct({ ...values, seal: sealOf(values) })
    },

    open(metadata) {
      const fields = fromStruct(metadata)
      const { seal } = fields
      if (typeof seal !== 'string') return undefined
      const shown = Buffer.from(seal)
      const expected = Buffer.from(sealOf(fields))
      if (shown.length !== expected.length || !timingSafeEqual(shown, expected)) return undefined
      return observed(fields as unknown as DecisionMetadata)
    },
  }
}

function observed({
  decision,
  route,
  service,
  user_id,
  client_id,
  ...more
}: DecisionMetadata): ObservedDecision {
  const { shadow, circuit_generation: circuitGeneration } = more
  return {
    kind: decision as 'allow' | 'deny',
    route,
    ...(service && { service }),
    ...(user_id && { userId: user_id }),
    ...(client_id && { clientId: client_id }),
    ...(circuitGeneration > 0 && { circuitGeneration }),
    ...(shadow && { shadow: shadow.split(' ') }),
  }
}
