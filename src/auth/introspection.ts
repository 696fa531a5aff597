import { type Denial, isDenial } from '../core/denials.ts'
import type { FetchJson, JsonRequest } from '../core/fetch.ts'
import type { Identity } from '../core/identity.ts'
import type { Answer, AnswerCache } from './answer-cache.ts'
import { identityOf } from './claims.ts'
import type { Endpoint } from './endpoint.ts'
import type { ClientCredentials, IssuerSpec } from './issuers.ts'
import { refuseToken } from './refusals.ts'

/** Says whether a token is good by asking who issued it. */
export type Introspect = (token: string, nowMs: number) => Promise<Identity | Denial>

/** How long answers hold, in milliseconds. */
export interface IntrospectionTimes {
  /** A good token, unless it expires sooner. */
  goodMs: number
  /** A refused one. */
  badMs: number
  /** How much longer a good answer serves where the provider gives no new one; revoked tokens pass meanwhile. */
  staleMs: number
}

/** What introspection is made of. */
export interface IntrospectionParts {
  spec: Pick<IssuerSpec, 'name' | 'issuer' | 'audiences'>
  endpoint: Endpoint
  /** The credentials that the provider gave Gatepost as a client. */
  client: ClientCredentials
  fetchJson: FetchJson
  cache: AnswerCache<Identity | Denial>
  times: IntrospectionTimes
  clockSkewSeconds: number
}

/** What a provider may answer (RFC 7662 §2.2). */
interface IntrospectionResponse {
  active?: unknown
  iss?: unknown
  aud?: unknown
  exp?: unknown
  nbf?: unknown
  token_type?: unknown
}

/** Makes the introspection of one issuer (RFC 7662). Only the answers of tokens that are good may outlive a failure. */
export function createIntrospection(parts: IntrospectionParts): Introspect {
  const { cache, client, endpoint, fetchJson } = parts

  async function ask(token: string, nowMs: number): Promise<Answer<Identity | Denial>> {
    return judge(await fetchJson(await endpoint(), introspectionRequest(client, token)), nowMs, parts)
  }

  return async (token, nowMs) => cache.get(token, nowMs, () => ask(token, nowMs))
}

/** The question after one token, as RFC 7662 §2.1 wants it. */
export function introspectionRequest({ id, secret }: ClientCredentials, token: string): JsonRequest {
  return {
    headers: { authorization: basicCredentials(id, secret()) },
    form: { token, token_type_hint: 'access_token' },
  }
}

function judge(response: unknown, nowMs: number, parts: IntrospectionParts): Answer<Identity | Denial> {
  const claims = (typeof response === 'object' && response !== null ? response : {}) as IntrospectionResponse
  if (typeof claims.active !== 'boolean') {
    throw new Error(
      `Cannot use the answer of issuer ${parts.spec.name}: it does not say whether the token is active`,
    )
  }
  const { goodMs, badMs, staleMs } = parts.times
  const value =
    objectionTo(claims, nowMs, parts) ??
    identityOf(parts.spec.issuer, asClaims(claims)) ??
    refuseToken('bad_claims')
  if (isDenial(value)) return { value, negative: true, freshUntilMs: nowMs + badMs, staleUntilMs: 0 }
  const expiresAtMs = typeof claims.exp === 'number' ? claims.exp * 1_000 : Number.POSITIVE_INFINITY
  const freshUntilMs = Math.min(nowMs + goodMs, expiresAtMs)
  return { value, negative: false, freshUntilMs, staleUntilMs: Math.min(freshUntilMs + staleMs, expiresAtMs) }
}

/** The provider has the last word on the token; on whether it is meant for us, we have. */
function objectionTo(
  { active, iss, exp, nbf, aud, token_type: type }: IntrospectionResponse,
  nowMs: number,
  { spec, clockSkewSeconds }: IntrospectionParts,
): Denial | undefined {
  if (active !== true) return refuseToken('inactive')
  // RFC 7662 §2.2: a refresh token or an ID token may be active too, and opens nothing (RFC 6749 §7.1).
  if (type !== undefined && !isBearer(type)) return refuseToken('unsupported_type')
  if (iss !== undefined && iss !== spec.issuer) return refuseToken('unknown_issuer')
  const skewMs = clockSkewSeconds * 1_000
  if (typeof exp === 'number' && nowMs >= exp * 1_000 + skewMs) return refuseToken('expired')
  if (typeof nbf === 'number' && nowMs < nbf * 1_000 - skewMs) return refuseToken('not_yet_valid')
  return isMeantFor(aud, spec.audiences) ? undefined : refuseToken('wrong_audience')
}

function isBearer(type: unknown): boolean {
  return typeof type === 'string' && type.toLowerCase() === 'bearer'
}

function isMeantFor(aud: unknown, audiences: IssuerSpec['audiences']): boolean {
  if (audiences === 'any') return true
  const named: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  return named.some((name) => typeof name === 'string' && audiences.includes(name))
}

// `username` is how a human reads the token's owner; what identifies them is `sub`.
function asClaims(response: IntrospectionResponse): Readonly<Record<string, unknown>> {
  const { active: _active, ...claims } = response
  return claims
}

// RFC 6749 §2.3.1: both parts are form-encoded before they are joined.
function basicCredentials(id: string, secret: string): string {
  return `Basic ${Buffer.from(`${formEncode(id)}:${formEncode(secret)}`).toString('base64')}`
}

function formEncode(text: string): string {
  return new URLSearchParams([['', text]]).toString().slice(1)
}
