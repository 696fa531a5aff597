import { type CryptoKey, calculateJwkThumbprint, importJWK, type JWK } from 'jose'

/** A key that an issuer publishes, fit to verify one or more algorithms. */
export interface VerificationKey {
  /** `kid`; absent if the issuer names none. */
  readonly keyId: string | undefined
  /** Keys by the algorithm they verify: a key object serves exactly one (RFC 8725 §3.1). */
  readonly byAlgorithm: ReadonlyMap<string, CryptoKey>
  /** What makes two keys the same: id, thumbprint (RFC 7638) and algorithms. */
  readonly fingerprint: string
  /** False once the issuer has withdrawn the key: whatever it verified is forgotten. */
  active: boolean
}

/** A published key that is not used, and why. */
export interface RefusedKey {
  keyId: string | undefined
  why: string
}

/** What a JWKS gave. */
export interface ImportedKeys {
  keys: VerificationKey[]
  refused: RefusedKey[]
}

/** The most keys of one JWKS that are looked at; further ones are refused. */
export const maxKeys = 64

// RFC 7518 §3.3 and §3.5 ask for 2048 bits. The upper bound keeps one signature check cheap.
const minRsaBits = 2_048
const maxRsaBits = 8_192

const curveOf: Readonly<Record<string, string>> = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }

// Members that make a key private or symmetric (RFC 7518 §6).
const secretMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

// What belongs to one key type alone: a key that has another type's too is two keys in one, and is neither.
const membersOf: Readonly<Record<string, readonly string[]>> = {
  RSA: ['n', 'e'],
  EC: ['x', 'y', 'crv'],
  OKP: ['x', 'crv'],
}

/**
 * Imports the keys of a JWKS that may verify one of `algorithms`. A key that is symmetric, private, mixed, too weak or
 * meant for something else is refused alone and never disturbs its neighbours.
 * @throws Error where the document is no JWKS at all.
 */
export async function importKeys(jwks: unknown, algorithms: readonly string[]): Promise<ImportedKeys> {
  const { keys: entries } = (jwks ?? {}) as { keys?: unknown }
  if (!Array.isArray(entries)) throw new Error('Cannot read the key set: it has no array "keys"')
  const imported: ImportedKeys = { keys: [], refused: [] }
  for (const [at, entry] of entries.entries()) {
    const jwk = asJwk(entry)
    const result = at < maxKeys ? await importKey(jwk, algorithms) : `more than ${maxKeys} keys`
    if (typeof result === 'string') imported.refused.push({ keyId: keyIdOf(jwk), why: result })
    else imported.keys.push(result)
  }
  return imported
}

function asJwk(entry: unknown): JWK {
  return typeof entry === 'object' && entry !== null ? (entry as JWK) : {}
}

function keyIdOf({ kid }: JWK): string | undefined {
  return typeof kid === 'string' ? kid : undefined
}

/** Whatever is in the entry, it costs its neighbours nothing: an entry that cannot even be read is refused. */
async function importKey(jwk: JWK, algorithms: readonly string[]): Promise<VerificationKey | string> {
  try {
    return objectionTo(jwk) ?? (await importFitting(jwk, algorithms))
  } catch (error) {
    return `unreadable: ${error instanceof Error ? error.message : 'not a key'}`
  }
}

async function importFitting(jwk: JWK, algorithms: readonly string[]): Promise<VerificationKey | string> {
  const keyId = keyIdOf(jwk)
  const fitting = algorithms.filter((algorithm) => fits(jwk, algorithm))
  if (fitting.length === 0) return `no accepted algorithm fits ${jwk.alg ?? jwk.crv ?? jwk.kty}`
  const thumbprint = await calculateJwkThumbprint(jwk)
  const imported = await Promise.all(fitting.map(async (alg) => [alg, await importOne(jwk, alg)] as const))
  const weakness = weaknessOf(imported[0]?.[1])
  if (weakness) return weakness
  const fingerprint = [keyId, thumbprint, ...fitting].join(' ')
  return { keyId, byAlgorithm: new Map(imported), fingerprint, active: true }
}

function objectionTo(jwk: JWK): string | undefined {
  const own = membersOf[jwk.kty ?? '']
  if (jwk.kty === 'oct') return 'a symmetric key'
  if (!own) return `of type ${JSON.stringify(jwk.kty ?? null)}`
  if (secretMembers.some((member) => member in jwk)) return 'a private key'
  const foreign = Object.values(membersOf)
    .flat()
    .find((member) => member in jwk && !own.includes(member))
  if (foreign) return `a mixed key: ${jwk.kty} with "${foreign}"`
  if (jwk.use !== undefined && jwk.use !== 'sig') return `for use ${JSON.stringify(jwk.use)}`
  if (jwk.key_ops !== undefined && !isListWith(jwk.key_ops, 'verify')) return 'not for verifying'
  return undefined
}

function isListWith(value: unknown, entry: string): boolean {
  return Array.isArray(value) && value.includes(entry)
}

/** Whether a key may verify an algorithm: by its own `alg` where it has one, else by type and curve. */
function fits(jwk: JWK, algorithm: string): boolean {
  if (jwk.alg !== undefined && jwk.alg !== algorithm && !(jwk.alg === 'Ed25519' && algorithm === 'EdDSA'))
    return false
  if (algorithm === 'EdDSA') return jwk.kty === 'OKP' && jwk.crv === 'Ed25519'
  if (algorithm.startsWith('ES')) return jwk.kty === 'EC' && jwk.crv === curveOf[algorithm]
  return jwk.kty === 'RSA'
}

async function importOne(jwk: JWK, algorithm: string): Promise<CryptoKey> {
  const { kty, n, e, crv, x, y } = jwk
  const bare = JSON.parse(JSON.stringify({ kty, n, e, crv, x, y })) as JWK
  return (await importJWK(bare, algorithm)) as CryptoKey
}

function weaknessOf(key: CryptoKey | undefined): string | undefined {
  const { modulusLength, publicExponent } = (key?.algorithm ?? {}) as {
    modulusLength?: number
    publicExponent?: Uint8Array
  }
  if (modulusLength === undefined) return undefined
  if (modulusLength < minRsaBits) return `too weak: ${modulusLength} bits`
  if (modulusLength > maxRsaBits) return `too large: ${modulusLength} bits`
  return exponentWeakness(BigInt(`0x0${Buffer.from(publicExponent ?? []).toString('hex')}`))
}

// RFC 8017 §3.1: odd and at least 3. The upper bound keeps one signature check cheap.
function exponentWeakness(exponent: bigint): string | undefined {
  if (exponent < 3n || exponent % 2n === 0n) return `too weak: public exponent ${exponent}`
  return exponent < 2n ** 64n ? undefined : 'too large: the public exponent'
}
