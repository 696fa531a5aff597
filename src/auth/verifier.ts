import { errors, type JWTPayload, jwtVerify } from 'jose'
import type { Denial } from '../core/denials.ts'
import type { Identity } from '../core/identity.ts'
import { identityOf } from './claims.ts'
import type { UnverifiedToken } from './compact-jws.ts'
import type { IssuerSpec } from './issuers.ts'
import type { KeySet } from './key-set.ts'
import { type RefusalCause, refuseToken } from './refusals.ts'
import type { VerificationKey } from './verification-key.ts'

/** A token whose signature and claims hold, and until when. Times in milliseconds since the epoch. */
export interface VerifiedToken {
  kind: 'verified'
  identity: Identity
  /** The key that verified it; once it is withdrawn, so is this. */
  key: VerificationKey
  /** `nbf`; absent if the token has none. */
  notBeforeMs: number | undefined
  /** `exp`. */
  expiresAtMs: number
}

/** Verifies tokens of one issuer. */
export interface IssuerVerifier {
  readonly spec: IssuerSpec
  /** @throws Fault where the issuer's keys are not to be had. */
  verify(token: UnverifiedToken, nowMs: number): Promise<VerifiedToken | Denial>
}

/** Makes the verifier of one issuer. */
export function createIssuerVerifier(
  spec: IssuerSpec,
  keySet: Pick<KeySet, 'find'>,
  clockSkewSeconds: number,
): IssuerVerifier {
  const checks = {
    issuer: spec.issuer,
    ...(spec.audiences !== 'any' && { audience: [...spec.audiences] }),
    clockTolerance: clockSkewSeconds,
    requiredClaims: ['exp'],
  }

  async function verifyWith(key: VerificationKey, { token, algorithm }: UnverifiedToken, nowMs: number) {
    const cryptoKey = key.byAlgorithm.get(algorithm)
    if (!cryptoKey) return refuseToken('unknown_key')
    try {
      const options = { ...checks, algorithms: [algorithm], currentDate: new Date(nowMs) }
      const { payload } = await jwtVerify(token, cryptoKey, options)
      return accept(spec.issuer, key, payload)
    } catch (error) {
      return refuseToken(causeOf(error))
    }
  }

  return {
    spec,
    async verify(token, nowMs) {
      if (!spec.algorithms.includes(token.algorithm)) return refuseToken('unsupported_algorithm')
      const keys = await keySet.find(token.keyId, token.algorithm)
      let outcome: VerifiedToken | Denial = refuseToken('unknown_key')
      for (const key of keys) {
        outcome = await verifyWith(key, token, nowMs)
        // Only a failed signature leaves room for another key: past it the claims have spoken.
        if (outcome.kind === 'verified' || outcome.cause !== 'bad_signature') return outcome
      }
      return outcome
    },
  }
}

function accept(issuer: string, key: VerificationKey, claims: JWTPayload): VerifiedToken | Denial {
  const identity = identityOf(issuer, claims)
  if (!identity || claims.exp === undefined) return refuseToken('bad_claims')
  return {
    kind: 'verified',
    identity,
    key,
    notBeforeMs: claims.nbf === undefined ? undefined : claims.nbf * 1_000,
    expiresAtMs: claims.exp * 1_000,
  }
}

const causeByClaim: Readonly<Record<string, RefusalCause>> = { aud: 'wrong_audience', nbf: 'not_yet_valid' }

/** A claim of a wrong type (`invalid`) is malformed, whatever it would have said. */
function claimCause({ claim, reason }: errors.JWTClaimValidationFailed): RefusalCause {
  return (reason === 'invalid' ? undefined : causeByClaim[claim]) ?? 'bad_claims'
}

/** Translates what jose objects to. An error that is not about the token is thrown on: it is a fault. */
function causeOf(error: unknown): RefusalCause {
  if (error instanceof errors.JWTExpired) return 'expired'
  if (error instanceof errors.JWTClaimValidationFailed) return claimCause(error)
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'bad_signature'
  if (error instanceof errors.JOSEError) return 'malformed'
  throw error
}
