import type { Caller } from './identity.ts'

/** A claim that a caller must have, with one of these values. */
export interface ClaimRule {
  /** Its name, or a path of names joined by dots. */
  claim: string
  values: readonly string[]
}

/**
 * Finds a claim of a caller: by its whole name, else by a path of names joined by dots.
 * @returns its values as texts: one, several for a list, none where it is missing or an object.
 */
export function claimValues(caller: Caller, claim: string): readonly string[] {
  if (caller.kind === 'anonymous') return []
  const { claims } = caller
  const value = Object.hasOwn(claims, claim)
    ? claims[claim]
    : claim.split('.').reduce(member, claims as unknown)
  return (Array.isArray(value) ? value : [value]).filter(isScalar).map(String)
}

function member(value: unknown, name: string): unknown {
  const isRecord = typeof value === 'object' && value !== null && Object.hasOwn(value, name)
  return isRecord ? (value as Record<string, unknown>)[name] : undefined
}

function isScalar(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}

/** The rules that a caller does not meet. A rule is met by any of its values. */
export function unmetClaims(caller: Caller, rules: readonly ClaimRule[]): readonly ClaimRule[] {
  return rules.filter(
    ({ claim, values }) => !claimValues(caller, claim).some((value) => values.includes(value)),
  )
}

/** The longest value that a claim may bring into a header, in characters. */
const maxHeaderLength = 1_024

/** A claim as the value of a header; undefined where it is missing, too long, or no header can carry it. */
export function claimHeader(caller: Caller, claim: string): string | undefined {
  const text = claimValues(caller, claim).join(',').trim()
  return text === '' || text.length > maxHeaderLength || /\p{Cc}|\p{Cs}/u.test(text) ? undefined : text
}
