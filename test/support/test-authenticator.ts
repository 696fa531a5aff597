import { type AuthenticatorParts, createAuthenticator } from '../../src/auth/authenticator.ts'
import { TokenCache, type TokenCacheBounds } from '../../src/auth/token-cache.ts'
import type { Denial } from '../../src/core/denials.ts'
import type { Authenticate } from '../../src/core/gateway.ts'
import type { Caller } from '../../src/core/identity.ts'
import type { AuthMode } from '../../src/core/routes.ts'
import type { FakeClock } from './fake-clock.ts'
import type { TestIssuer } from './test-issuer.ts'

/** An authenticator with all its real parts, and what it told its observer. */
export interface TestAuthenticator {
  authenticate: Authenticate
  /** Shows a value of `authorization`, or none, at the clock's time. */
  show(authorization: string | undefined, auth?: AuthMode): Promise<Caller | Denial>
  /** Shows any credentials: headers, and the certificate that Envoy has verified. */
  ask(
    headers: Readonly<Record<string, string>>,
    principal?: string,
    auth?: AuthMode,
  ): Promise<Caller | Denial>
  /** Shows a bearer token and tells how it went: `ok`, or the cause of the denial. */
  verdictOn(token: string): Promise<string>
  cache: TokenCache
  observed: { hits: number; misses: number; refusals: string[] }
}

/**
 * Puts an authenticator together for these issuers.
 * @param more what it knows beside them: further issuers, API keys, certificates.
 */
export function createTestAuthenticator(
  clock: FakeClock,
  issuers: readonly TestIssuer[],
  bounds: Partial<TokenCacheBounds> = {},
  more: Partial<AuthenticatorParts> = {},
): TestAuthenticator {
  const cache = new TokenCache({
    ttlMs: 300_000,
    clockSkewMs: 30_000,
    maxTokens: 100,
    maxCharacters: 1_000_000,
    ...bounds,
  })
  const observed = { hits: 0, misses: 0, refusals: [] as string[] }
  const authenticate = createAuthenticator({
    ...more,
    issuers: [
      ...issuers.map(({ spec, verifier }) => ({ spec, judge: { kind: 'keys', verifier } }) as const),
      ...(more.issuers ?? []),
    ],
    cache,
    observer: {
      cacheHit: () => {
        observed.hits += 1
      },
      cacheMiss: () => {
        observed.misses += 1
      },
      refused: (issuer, cause) => observed.refusals.push(`${issuer}: ${cause}`),
    },
  })

  async function ask(
    headers: Readonly<Record<string, string>>,
    principal?: string,
    auth: AuthMode = 'required',
  ) {
    return authenticate(
      { headers: new Map(Object.entries(headers)), receivedAtMs: clock.now(), principal },
      { name: 'test', auth, scopes: [] },
    )
  }

  async function show(authorization: string | undefined, auth?: AuthMode) {
    return ask(authorization === undefined ? {} : { authorization }, undefined, auth)
  }

  return {
    authenticate,
    show,
    ask,
    async verdictOn(token) {
      const caller = await show(`Bearer ${token}`)
      return caller.kind === 'denial' ? (caller.cause ?? caller.reason) : 'ok'
    },
    cache,
    observed,
  }
}
