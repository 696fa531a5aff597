import { type Denial, isDenial } from '../core/denials.ts'
import { Fault } from '../core/fault.ts'
import { type FetchJson, UnexpectedStatus } from '../core/fetch.ts'
import type { Identity } from '../core/identity.ts'
import type { Answer, AnswerCache } from './answer-cache.ts'
import type { Endpoint } from './endpoint.ts'
import { refuseToken } from './refusals.ts'

/** Claims about a user, as the provider tells them. */
export type UserClaims = Readonly<Record<string, unknown>>

/** An answer that tells of a user. */
export interface Told {
  kind: 'told'
  claims: UserClaims
}

/** Adds to an identity what the provider's userinfo endpoint knows of the user; a denial where it refuses the token. */
export type Enrich = (identity: Identity, token: string, nowMs: number) => Promise<Identity | Denial>

/** What enrichment is made of. */
export interface UserinfoParts {
  /** The issuer's short name, for messages. */
  name: string
  endpoint: Endpoint
  fetchJson: FetchJson
  cache: AnswerCache<Told | Denial>
  times: { goodMs: number; badMs: number }
}

/**
 * Makes the enrichment of one issuer (OpenID Connect Core 1.0 §5.3). The token's own claims win over what is told here,
 * and an answer about somebody else is a fault. A token without the scope `openid` has no user to tell of, and stays as
 * it is.
 */
export function createEnrichment({ name, endpoint, fetchJson, cache, times }: UserinfoParts): Enrich {
  async function ask(token: string, nowMs: number): Promise<Answer<Told | Denial>> {
    const url = await endpoint()
    try {
      const claims = await fetchJson(url, { headers: { authorization: `Bearer ${token}` } })
      const value: Told = { kind: 'told', claims: asObject(claims) }
      return { value, negative: false, freshUntilMs: nowMs + times.goodMs, staleUntilMs: 0 }
    } catch (error) {
      if (!refusesToken(error)) throw error
      return {
        value: refuseToken('inactive'),
        negative: true,
        freshUntilMs: nowMs + times.badMs,
        staleUntilMs: 0,
      }
    }
  }

  return async (identity, token, nowMs) => {
    if (!identity.scopes.includes('openid')) return identity
    const told = await cache.get(token, nowMs, () => ask(token, nowMs))
    if (isDenial(told)) return told
    // OpenID Connect Core 1.0 §5.3.2: the subjects must be the same, or the answer must not be used.
    if (identity.userId === undefined || told.claims['sub'] !== identity.userId) {
      throw new Fault('auth', `Cannot use the userinfo of issuer ${name}: it is about another subject`)
    }
    return { ...identity, claims: { ...told.claims, ...identity.claims }, profile: profileOf(told.claims) }
  }
}

function asObject(value: unknown): UserClaims {
  return typeof value === 'object' && value !== null ? (value as UserClaims) : {}
}

/** OpenID Connect Core 1.0 §5.3.3: the token was revoked, or has expired. */
function refusesToken(error: unknown): boolean {
  const { cause } = error as { cause?: unknown }
  return cause instanceof UnexpectedStatus && cause.status === 401
}

/** The claims of userinfo that become headers: the scalar ones of OpenID Connect Core 1.0 §5.1 that upstreams ask for. */
export const profileClaims = [
  'email',
  'email_verified',
  'name',
  'preferred_username',
  'locale',
  'zoneinfo',
] as const

/** Picks the claims that become headers; what no header can carry is left out. */
function profileOf(claims: UserClaims): Readonly<Record<string, string>> {
  const profile: Record<string, string> = {}
  for (const claim of profileClaims) {
    const value = claims[claim]
    const isScalar = typeof value === 'string' || typeof value === 'boolean'
    const text = isScalar ? String(value).trim() : ''
    if (text !== '' && text.length <= 1_024 && !/\p{Cc}|\p{Cs}/u.test(text)) profile[claim] = text
  }
  return profile
}
