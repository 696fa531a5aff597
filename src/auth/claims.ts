import type { Identity } from '../core/identity.ts'
import { isScope } from '../core/routes.ts'

type Claims = Readonly<Record<string, unknown>>

/** The longest `sub` or client id that fits a header, in characters. */
const maxNameLength = 1_024

/**
 * Reads the identity out of verified claims.
 * @returns undefined where a claim that identifies the caller has a wrong type or cannot stand in a header: a token
 * that would reach the upstream as somebody else, or as nobody, is refused instead.
 */
export function identityOf(issuer: string, claims: Claims): Identity | undefined {
  const { sub, client_id, azp, cid } = claims as Record<string, unknown>
  const client = client_id ?? azp ?? cid
  if (!isName(sub) || !isName(client)) return undefined
  return {
    kind: 'token',
    issuer,
    ...(sub !== undefined && { userId: sub }),
    ...(client !== undefined && { clientId: client }),
    scopes: scopesOf(claims),
    claims,
  }
}

/** Absent, or a text that a header can carry as it is: no control characters, no blanks at the ends. */
function isName(value: unknown): value is string | undefined {
  if (value === undefined) return true
  if (typeof value !== 'string' || value === '' || value.length > maxNameLength) return false
  return value.trim() === value && !/\p{Cc}|\p{Cs}/u.test(value)
}

/**
 * The union of `scope` (separated by spaces), `scp` and `permissions` (either form), without repeats.
 * What is no scope token by RFC 6749 §3.3 grants nothing: an entry with a space inside would read as two upstream.
 */
function scopesOf(claims: Claims): readonly string[] {
  const { scope, scp, permissions } = claims as Record<string, unknown>
  return [...new Set([...listOf(scope), ...listOf(scp), ...listOf(permissions)])].filter(isScope)
}

function listOf(claim: unknown): string[] {
  if (typeof claim === 'string') return claim.split(' ')
  if (Array.isArray(claim)) return claim.filter((entry) => typeof entry === 'string')
  return []
}
