import { createCipheriv, createDecipheriv } from 'node:crypto'
import { secretPrefix } from '../core/webhooks.ts'

/** Random bytes in a new secret; Standard Webhooks asks for 24 to 64. */
const secretBytes = 32

const algorithm = 'aes-256-gcm'
const nonceBytes = 12
const tagBytes = 16
const version = 'sealed.v1.'

/** Gives so many random bytes; `randomBytes` of node:crypto. */
export type Random = (bytes: number) => Buffer

/** Makes a new secret: `whsec_` and base64 of 32 random bytes. */
export function newSecret(random: Random): string {
  return `${secretPrefix}${random(secretBytes).toString('base64')}`
}

/**
 * Seals a secret for the disk by AES-256-GCM: `sealed.v1.` and base64url of nonce, ciphertext and tag. What was sealed
 * for one endpoint opens for no other.
 * @param key 32 bytes, for nothing but this.
 */
export function sealSecret(key: Buffer, endpointId: string, secret: string, random: Random): string {
  const nonce = random(nonceBytes)
  const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes })
  cipher.setAAD(Buffer.from(endpointId))
  const sealed = [nonce, cipher.update(secret, 'utf8'), cipher.final()]
  return `${version}${Buffer.concat([...sealed, cipher.getAuthTag()]).toString('base64url')}`
}

/** Whether a text from the disk is sealed, and not the secret itself. */
export function isSealed(text: string): boolean {
  return text.startsWith(version)
}

/**
 * Opens what {@link sealSecret} made.
 * @throws Error where it was made by another key, for another endpoint, or was changed since; it quotes nothing of it.
 */
export function openSecret(key: Buffer, endpointId: string, sealed: string): string {
  try {
    return open(key, endpointId, sealed)
  } catch (error) {
    throw new Error(
      `Cannot open the secret of webhook ${JSON.stringify(endpointId)}: GATEPOST_SECRET_KEY is another one than it was sealed by, or it was changed`,
      { cause: error },
    )
  }
}

function open(key: Buffer, endpointId: string, sealed: string): string {
  if (!isSealed(sealed)) throw new Error('it is not sealed')
  const bytes = Buffer.from(sealed.slice(version.length), 'base64url')
  if (bytes.length < nonceBytes + tagBytes) throw new Error('it is too short')
  const nonce = bytes.subarray(0, nonceBytes)
  const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: tagBytes })
  decipher.setAAD(Buffer.from(endpointId))
  decipher.setAuthTag(bytes.subarray(-tagBytes))
  const text = decipher.update(bytes.subarray(nonceBytes, -tagBytes))
  return Buffer.concat([text, decipher.final()]).toString('utf8')
}

/**
 * Reads a secret from the disk, sealed or not, as the key allows.
 * @param key absent where no GATEPOST_SECRET_KEY is set.
 * @throws Error where it is sealed and there is no key; where it stands in plain text although there is one.
 */
export function readStoredSecret(key: Buffer | undefined, endpointId: string, stored: string): string {
  if (key !== undefined && isSealed(stored)) return openSecret(key, endpointId, stored)
  if (key === undefined && !isSealed(stored)) return stored
  const why = key
    ? 'it stands in plain text although GATEPOST_SECRET_KEY is set; rotate it, and the new one is sealed'
    : 'it is sealed, and GATEPOST_SECRET_KEY is not set'
  throw new Error(`Cannot use the secret of webhook ${JSON.stringify(endpointId)}: ${why}`)
}
