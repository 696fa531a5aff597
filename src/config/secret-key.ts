import { createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import { Unfit } from './parsers.ts'
import type { Secret } from './secret-file.ts'

/** What a sub-key is for. One label for each use, so that no key serves two. */
export type KeyPurpose = 'events.privacy' | 'webhooks.secrets' | 'webhooks.queue'

/** Gives the sub-key of a purpose: 32 bytes, of the secret key as it is now. */
export type SubKeys = (purpose: KeyPurpose) => KeyObject

const subKeyBytes = 32

/** The least characters of a key: 32 random bytes take 43 in base64. */
const leastCharacters = 43
const leastHexDigits = 64

/** A secret key of 256 bits: 32 bytes as base64 or hex, or a text that is as long. */
export function secretKey(value: string): string {
  const least = /^[0-9a-fA-F]+$/.test(value) ? leastHexDigits : leastCharacters
  if (/^\S+$/.test(value) && value.length >= least) return value
  throw new Unfit(
    `at least ${leastCharacters} characters without blanks (${leastHexDigits} if hex): openssl rand -base64 32 makes one`,
  )
}

/**
 * Derives sub-keys from the secret key by HKDF-SHA256 (RFC 5869), the purpose being its `info`: whoever learns one
 * learns neither the secret key nor another. They change when the secret does, and are derived once each until then.
 */
export function createSubKeys(secret: Secret): SubKeys {
  const derived = new Map<KeyPurpose, KeyObject>()
  let from: string | undefined
  return (purpose) => {
    const current = secret()
    if (current !== from) derived.clear()
    from = current
    const key = derived.get(purpose) ?? derive(current, purpose)
    derived.set(purpose, key)
    return key
  }
}

function derive(secret: string, purpose: KeyPurpose): KeyObject {
  // No salt: RFC 5869 §3.1 allows none where the input is a good key already.
  return createSecretKey(Buffer.from(hkdfSync('sha256', secret, '', `gatepost ${purpose}`, subKeyBytes)))
}
