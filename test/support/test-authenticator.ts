import { createAuthenticator } from '../../src/auth/authenticator.ts'
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
  /** Shows a bearer token and tells how it went: `ok`, or the cause of the denial. */
  verdictOn(token: string): Promise<string>
  cache: TokenCache
  observed: { hits: number; misses: number; refusals: string[] }
}

/** Puts an authenticator together for these issuers. */
export function createTestAuthenticator(
  clock: FakeClock,
  issuers: readonly TestIssuer[],
  bounds: Partial<TokenCacheBounds> = {},
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
    issuers: issuers.map(({ spec, verifier }) => ({ spec, judge: { kind: 'keys', verifier } })),
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

  async function show(authorization: string | undefined, auth: AuthMode = 'required') {
    const headers = new Map(authorization === undefined ? [] : [['authorization', authorization]])
    return authenticate(
      { headers, receivedAtMs: clock.now(), principal: undefined },
      { name: 'test', auth, scopes: [] },
    )
  }

  return {
    authenticate,
    show,
    async verdictOn(token) {
      const caller = await show(`Bearer ${token}`)
      return caller.kind === 'denial' ? (caller.cause ?? caller.reason) : 'ok'
    },
    cache,
    observed,
  }
}
