import { CompactSign, exportJWK, generateKeyPair, type JWK } from 'jose'

/** A private key with everything that is needed to sign tokens and to publish its public half. */
export interface Signer {
  algorithm: string
  keyId: string | undefined
  /** The public key as an issuer would publish it. */
  jwk: JWK
  /** The private key as a JWK: for whoever publishes it by mistake. */
  privateJwk: JWK
  /**
   * Signs what the test wants signed, however wrong it is.
   * @param payload claims, or a text that is signed as it is.
   * @param header members beside, or in place of, `alg` and `kid`.
   */
  sign(payload: object | string, header?: Record<string, unknown>): Promise<string>
}

/** Makes a key pair for one algorithm. Without `keyId` neither its JWK nor its tokens name one. */
export async function createSigner(algorithm: string, keyId?: string): Promise<Signer> {
  const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const named = { ...(keyId !== undefined && { kid: keyId }), alg: algorithm }
  return {
    algorithm,
    keyId,
    jwk: { ...(await exportJWK(publicKey)), ...named, use: 'sig' },
    privateJwk: { ...(await exportJWK(privateKey)), ...named, use: 'sig' },
    sign(payload, header = {}) {
      const text = typeof payload === 'string' ? payload : JSON.stringify(payload)
      return new CompactSign(Buffer.from(text)).setProtectedHeader({ ...named, ...header }).sign(privateKey)
    },
  }
}

/** The base64url of a text or of a value's JSON. */
export function base64Url(value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
}
