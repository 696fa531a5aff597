import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import type { EventData, EventType } from '../core/events.ts'
import { type PersonalField, type Privacy, personalFields } from '../core/privacy.ts'

/** The data of an event as it may be told. It does not change what it is given. */
export type Redact = (data: EventData[EventType]) => EventData[EventType]

/**
 * Makes the step that drops or hashes personal fields, in whatever event they stand. It is asked for anew for each
 * batch, so that a key that has changed is known without a look for each event.
 * @param key of the hashes; asked only where something is hashed.
 */
export function createRedactor(privacy: Privacy, key: () => KeyObject): () => Redact {
  const dropped = personalFields.filter((field) => privacy[field] === 'drop')
  const hashed = personalFields.filter((field) => privacy[field] === 'hash')
  if (dropped.length + hashed.length === 0) return () => asItIs
  return () => {
    const hashKey = hashed.length > 0 ? key() : noKey
    return (data) => {
      const told: Personal & EventData[EventType] = { ...data }
      for (const field of dropped) delete told[field]
      for (const field of hashed) {
        const value = told[field]
        if (value !== undefined) told[field] = keyedHash(hashKey, field, value)
      }
      return told
    }
  }
}

type Personal = Partial<Record<PersonalField, string>>

const noKey = createSecretKey(Buffer.alloc(0))

function asItIs(data: EventData[EventType]): EventData[EventType] {
  return data
}

/**
 * HMAC-SHA256 of a field's name and value: 43 characters of base64url. The name is part of it, so that a hash of one
 * field tells nothing of another.
 */
function keyedHash(key: KeyObject, field: PersonalField, value: string): string {
  return createHmac('sha256', key).update(`${field}\0${value}`).digest('base64url')
}
