import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { type Denial, deny } from '../core/denials.ts'
import type { Identity } from '../core/identity.ts'

/** An API key as the file describes it; the key itself is nowhere. */
export interface ApiKeyEntry {
  /** The public part of the key. */
  id: string
  clientId: string
  /** SHA-256 of the whole key, 32 bytes. */
  hash: Buffer
  scopes: readonly string[]
  /** Milliseconds since the epoch; absent if the key does not expire. */
  expiresAtMs?: number
}

/** Says whose key this is. */
export type VerifyApiKey = (key: string, nowMs: number) => Identity | Denial

/** The issuer of identities that stand on a key of Gatepost's own. */
export const apiKeyIssuer = 'urn:gatepost:api-keys'

const keyShape = /^gp_([A-Za-z0-9]{1,64})_[A-Za-z0-9_-]{43}$/

// What an unknown id is compared with, so that it costs what a known one does.
const nobody = randomBytes(32)

/** Makes the check of API keys. @param entries the entries at this moment, by id. */
export function createApiKeys(entries: () => ReadonlyMap<string, ApiKeyEntry>): VerifyApiKey {
  return (key, nowMs) => {
    const [, id = ''] = keyShape.exec(key) ?? []
    const entry = entries().get(id)
    const matches = timingSafeEqual(hashOf(key), entry?.hash ?? nobody)
    if (!entry || !matches) return refuseKey(whyUnknown(key, entry), 'The API key is not known here.')
    if (entry.expiresAtMs !== undefined && nowMs >= entry.expiresAtMs)
      return refuseKey('expired', 'The API key has expired.')
    return { kind: 'key', issuer: apiKeyIssuer, clientId: entry.clientId, scopes: entry.scopes, claims: {} }
  }
}

/** For logs and metrics: the caller is told the same of all three. */
function whyUnknown(key: string, entry: ApiKeyEntry | undefined): string {
  if (key.includes(',')) return 'repeated_key'
  return entry ? 'wrong_secret' : 'unknown_key'
}

function refuseKey(cause: string, detail: string): Denial {
  return deny('invalid_api_key', detail, { cause })
}

function hashOf(key: string): Buffer {
  return createHash('sha256').update(key).digest()
}

/** A new key, and what the file needs to know of it. */
export interface NewApiKey {
  /** `gp_ID_SECRET`, the secret being 256 random bits; it can be had only now. */
  key: string
  id: string
  /** `sha256:HEX` of the whole key. */
  hash: string
}

/** Makes an API key. */
export function newApiKey(): NewApiKey {
  // A letter first: an id of digits alone would be a number in YAML, wherever somebody leaves the quotes out.
  const id = `k${randomBytes(6).toString('hex')}`
  const key = `gp_${id}_${randomBytes(32).toString('base64url')}`
  return { key, id, hash: `sha256:${hashOf(key).toString('hex')}` }
}
