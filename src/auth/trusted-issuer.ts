import { type Denial, isDenial } from '../core/denials.ts'
import type { Identity } from '../core/identity.ts'
import type { UnverifiedToken } from './compact-jws.ts'
import type { Introspect } from './introspection.ts'
import type { IssuerSpec } from './issuers.ts'
import type { TokenCache } from './token-cache.ts'
import type { Enrich } from './userinfo.ts'
import type { IssuerVerifier } from './verifier.ts'

/** An issuer with the means to judge its tokens: by its keys, or by asking it. */
export interface TrustedIssuer {
  spec: Pick<IssuerSpec, 'name' | 'issuer'>
  judge:
    | { kind: 'keys'; verifier: Pick<IssuerVerifier, 'verify'> }
    | { kind: 'introspection'; introspect: Introspect }
  /** Adds what userinfo tells; absent where nobody asked for it. */
  enrich?: Enrich
}

/**
 * Judges a token that names this issuer.
 * @throws Fault where the issuer gives neither keys nor answers.
 */
export async function judgeToken(
  { judge }: TrustedIssuer,
  parsed: UnverifiedToken,
  cache: Pick<TokenCache, 'set'>,
  nowMs: number,
): Promise<Identity | Denial> {
  if (judge.kind === 'introspection') return judge.introspect(parsed.token, nowMs)
  const outcome = await judge.verifier.verify(parsed, nowMs)
  if (isDenial(outcome)) return outcome
  cache.set(parsed.token, outcome, nowMs)
  return outcome.identity
}

/**
 * Judges a token that names no issuer: whoever can be asked is asked, in the order of the configuration, until one
 * knows it.
 * @throws whatever the first failure was, where nobody knows the token and somebody could not be asked.
 */
export async function judgeOpaqueToken(
  issuers: readonly TrustedIssuer[],
  token: string,
  nowMs: number,
): Promise<{ issuer: TrustedIssuer; outcome: Identity | Denial } | undefined> {
  let last: { issuer: TrustedIssuer; outcome: Identity | Denial } | undefined
  let failure: { error: unknown } | undefined
  for (const issuer of issuers) {
    if (issuer.judge.kind !== 'introspection') continue
    try {
      last = { issuer, outcome: await issuer.judge.introspect(token, nowMs) }
      if (!isDenial(last.outcome) || last.outcome.cause !== 'inactive') return last
    } catch (error) {
      failure ??= { error }
    }
  }
  if (failure) throw failure.error
  return last
}
