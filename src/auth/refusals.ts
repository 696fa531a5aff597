import { type Denial, deny } from '../core/denials.ts'

/** Everything for which a bearer token is refused, and the sentence the caller gets. */
const sentences = {
  too_large: 'The token is larger than this gateway accepts.',
  malformed: 'The token is not a well-formed signed JWT.',
  unsupported_algorithm: 'The token is signed with an algorithm that its issuer may not use here.',
  unsupported_type: 'The token is of a type that is not accepted here.',
  unsupported_header: 'The token demands header extensions that are not supported.',
  unknown_issuer: 'The token is from an issuer that is not trusted here.',
  unknown_key: 'The token is signed with a key that its issuer does not publish.',
  bad_signature: 'The signature of the token does not verify.',
  inactive: 'The token is not active: it was revoked, has expired, or is not of this issuer.',
  expired: 'The token has expired.',
  not_yet_valid: 'The token is not valid yet.',
  wrong_audience: 'The token is meant for another audience.',
  bad_claims: 'A claim of the token is missing or malformed.',
} as const satisfies Record<string, string>

/** Why exactly a token was refused; the label `cause` of `gateway_token_refusals_total`. */
export type RefusalCause = keyof typeof sentences

/** Refuses a bearer token. To the caller each cause is `invalid_token` (RFC 6750 §3.1). */
export function refuseToken(cause: RefusalCause): Denial & { cause: RefusalCause } {
  return { ...deny('invalid_token', sentences[cause]), cause }
}
