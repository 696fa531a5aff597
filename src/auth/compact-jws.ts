import type { Denial } from '../core/denials.ts'
import { refuseToken } from './refusals.ts'

/** The longest token that is looked into, in characters. */
export const maxTokenLength = 16 * 1024

/** The longest protected header, in base64url characters. */
const maxHeaderLength = 4 * 1024

/** The longest `kid`, in characters. */
const maxKeyIdLength = 256

/** A JWT taken apart and not yet verified: good for choosing an issuer and a key, and for nothing else. */
export interface UnverifiedToken {
  kind: 'unverified'
  /** The whole token, as sent. */
  token: string
  algorithm: string
  keyId: string | undefined
  /** `iss`; empty if it is missing or no string. */
  issuer: string
}

type Json = Record<string, unknown>

// RFC 9068 §2.1, RFC 7519 §5.1; the `application/` prefix may be left out (RFC 7515 §4.1.9).
const acceptedTypes = new Set(['jwt', 'at+jwt', 'application/jwt', 'application/at+jwt'])

/**
 * Takes a compact JWS apart, strictly: sizes first, then the alphabet, then JSON.
 * Key material that a token brings along (`jku`, `jwk`, `x5u`, `x5c`) is never looked at (RFC 8725 §3.10).
 */
export function parseToken(token: string): UnverifiedToken | Denial {
  if (token.length > maxTokenLength) return refuseToken('too_large')
  const segments = token.split('.', 4)
  const [protectedHeader, payload, signature] = segments
  if (segments.length !== 3 || !protectedHeader || !payload || !signature) return refuseToken('malformed')
  if (protectedHeader.length > maxHeaderLength) return refuseToken('too_large')
  if (!isBase64Url(signature)) return refuseToken('malformed')
  const header = decodeObject(protectedHeader)
  const claims = decodeObject(payload)
  if (!header || !claims) return refuseToken('malformed')
  return readHeader(header) ?? describe(token, header, claims)
}

/** Looks for what forbids the token whatever its signature says. */
function readHeader(header: Json): Denial | undefined {
  const { alg, typ, kid } = header as { alg?: unknown; typ?: unknown; kid?: unknown }
  if (typeof alg !== 'string') return refuseToken('malformed')
  // RFC 7515 §4.1.11 and RFC 7797: we understand no extension, so every `crit` is one too many.
  if ('crit' in header || 'b64' in header) return refuseToken('unsupported_header')
  if (typ !== undefined && !(typeof typ === 'string' && acceptedTypes.has(typ.toLowerCase()))) {
    return refuseToken('unsupported_type')
  }
  if (kid !== undefined && !(typeof kid === 'string' && kid.length <= maxKeyIdLength)) {
    return refuseToken('malformed')
  }
  return undefined
}

function describe(token: string, header: Json, claims: Json): UnverifiedToken {
  const { alg, kid } = header as { alg: string; kid?: string }
  const { iss } = claims as { iss?: unknown }
  return {
    kind: 'unverified',
    token,
    algorithm: alg,
    keyId: kid,
    issuer: typeof iss === 'string' ? iss : '',
  }
}

const base64UrlAlphabet = /^[A-Za-z0-9_-]*$/

/**
 * Whether a text is base64url as RFC 7515 §2 wants it: no padding, no other alphabet, and no stray bits at the end,
 * which would give one token many spellings.
 */
export function isBase64Url(text: string): boolean {
  const tail = text.length % 4
  if (tail === 1 || !base64UrlAlphabet.test(text)) return false
  if (tail === 0) return true
  const last = text.slice(-tail)
  return Buffer.from(last, 'base64url').toString('base64url') === last
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decodeObject(segment: string): Json | undefined {
  if (!isBase64Url(segment)) return undefined
  try {
    const value: unknown = JSON.parse(utf8.decode(Buffer.from(segment, 'base64url')))
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined
  } catch {
    return undefined
  }
}
