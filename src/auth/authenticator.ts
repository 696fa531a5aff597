import { type Denial, deny, isDenial } from '../core/denials.ts'
import type { Authenticate } from '../core/gateway.ts'
import { anonymous, type TokenIdentity } from '../core/identity.ts'
import { parseToken } from './compact-jws.ts'
import { readCredential } from './credentials.ts'
import { refuseToken } from './refusals.ts'
import type { TokenCache } from './token-cache.ts'
import type { IssuerVerifier } from './verifier.ts'

/** Told what happens to tokens; for metrics. */
export interface TokenObserver {
  cacheHit(): void
  cacheMiss(): void
  /** @param issuer the short name of a configured issuer, or `unknown`. */
  refused(issuer: string, cause: string): void
}

/** What the authenticator is made of. */
export interface AuthenticatorParts {
  verifiers: readonly IssuerVerifier[]
  cache: TokenCache
  observer: TokenObserver
}

/** Makes the step that says who is calling. The issuer is chosen by `iss` before any key is looked for. */
export function createAuthenticator({ verifiers, cache, observer }: AuthenticatorParts): Authenticate {
  const byIssuer = new Map(verifiers.map((verifier) => [verifier.spec.issuer, verifier]))

  async function verify(token: string, nowMs: number): Promise<TokenIdentity | Denial> {
    observer.cacheMiss()
    const parsed = parseToken(token)
    if (isDenial(parsed)) return refused('unknown', parsed)
    const verifier = byIssuer.get(parsed.issuer)
    if (!verifier) return refused('unknown', refuseToken('unknown_issuer'))
    const outcome = await verifier.verify(parsed, nowMs)
    if (isDenial(outcome)) return refused(verifier.spec.name, outcome)
    cache.set(token, outcome, nowMs)
    return outcome.identity
  }

  function refused(issuer: string, denial: Denial): Denial {
    observer.refused(issuer, denial.cause ?? denial.reason)
    return denial
  }

  function identify(token: string, nowMs: number): TokenIdentity | Denial | Promise<TokenIdentity | Denial> {
    const known = cache.get(token, nowMs)
    if (!known) return verify(token, nowMs)
    observer.cacheHit()
    return known.identity
  }

  return ({ headers, receivedAtMs }, { auth }) => {
    if (auth === 'none') return anonymous
    const credential = readCredential(headers.get('authorization'))
    if (credential.kind === 'bearer') return identify(credential.token, receivedAtMs)
    if (isDenial(credential)) return credential
    return auth === 'optional' ? anonymous : missing()
  }
}

function missing(): Denial {
  return deny('missing_token', 'This route asks for a bearer token.')
}
