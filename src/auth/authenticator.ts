import { type Denial, deny, isDenial } from '../core/denials.ts'
import type { Authenticate } from '../core/gateway.ts'
import { anonymous, type Identity } from '../core/identity.ts'
import type { AcceptedCredentials } from '../core/routes.ts'
import type { VerifyApiKey } from './api-keys.ts'
import { type Certificates, createCertificates } from './certificates.ts'
import { parseToken } from './compact-jws.ts'
import { readCredential } from './credentials.ts'
import { refuseToken } from './refusals.ts'
import type { TokenCache } from './token-cache.ts'
import { judgeOpaqueToken, judgeToken, type TrustedIssuer } from './trusted-issuer.ts'

/** Told what happens to tokens; for metrics. */
export interface TokenObserver {
  cacheHit(): void
  cacheMiss(): void
  /** @param issuer the short name of a configured issuer, or `unknown`. */
  refused(issuer: string, cause: string): void
}

/** What the authenticator is made of. */
export interface AuthenticatorParts {
  issuers: readonly TrustedIssuer[]
  cache: Pick<TokenCache, 'get' | 'set'>
  observer: TokenObserver
  /** API keys and the header they come in (lower-case); absent where there are none. */
  apiKeys?: { header: string; verify: VerifyApiKey } | undefined
  /** How client certificates are known; absent where they are no credential. */
  certificates?: Certificates | undefined
}

type Outcome = Identity | Denial

/**
 * Makes the step that says who is calling. A credential that is there must be good; of several good ones the bearer
 * token names the caller, then the API key, then the client certificate.
 */
export function createAuthenticator(parts: AuthenticatorParts): Authenticate {
  const identifyByToken = createTokenCheck(parts)
  const identifyByKey = createKeyCheck(parts)
  const identifyByCertificate = createCertificateCheck(parts)
  const missing = deny('missing_token', `This route asks for ${whatWouldDo(parts)}.`)

  function identify(
    { headers, receivedAtMs, principal }: Parameters<Authenticate>[0],
    accepts: AcceptedCredentials = everyCredential,
  ) {
    const credential = readCredential(headers.get('authorization'))
    if (isDenial(credential)) return credential
    const byKey = identifyByKey(headers, receivedAtMs, accepts)
    if (byKey?.kind === 'denial') return byKey
    const byCertificate = identifyByCertificate(headers, principal, accepts)
    if (byCertificate?.kind === 'denial') return byCertificate
    if (credential.kind === 'bearer') return identifyByToken(credential.token, receivedAtMs, accepts.issuers)
    return byKey ?? byCertificate
  }

  return (request, { auth, accepts }) => {
    if (auth === 'none') return anonymous
    return identify(request, accepts) ?? (auth === 'optional' ? anonymous : missing)
  }
}

function createCertificateCheck({ certificates = 'off' }: AuthenticatorParts) {
  const check = createCertificates(certificates)
  return (
    headers: ReadonlyMap<string, string>,
    principal: string | undefined,
    accepts: AcceptedCredentials,
  ) => (accepts.certificates ? check(headers, principal) : undefined)
}

function createKeyCheck({ apiKeys }: AuthenticatorParts) {
  return (
    headers: ReadonlyMap<string, string>,
    nowMs: number,
    accepts: AcceptedCredentials,
  ): Outcome | undefined => {
    const key = apiKeys && headers.get(apiKeys.header)
    if (key === undefined) return undefined
    if (!accepts.apiKeys)
      return deny('invalid_api_key', 'This route accepts no API keys.', { cause: 'not_accepted' })
    return apiKeys?.verify(key, nowMs)
  }
}

/** Makes the check of bearer tokens. The issuer is chosen by `iss` before any key is looked for. */
function createTokenCheck({ issuers, cache, observer }: AuthenticatorParts) {
  const byIssuer = new Map(issuers.map((issuer) => [issuer.spec.issuer, issuer]))

  async function judge(token: string, nowMs: number, accepted: Accepted): Promise<Outcome> {
    const parsed = parseToken(token)
    if (isDenial(parsed))
      return mayBeOpaque(token, parsed)
        ? judgeOpaque(token, nowMs, parsed, accepted)
        : told('unknown', parsed)
    const issuer = byIssuer.get(parsed.issuer)
    if (!issuer || !isAccepted(parsed.issuer, accepted)) return told('unknown', refuseToken('unknown_issuer'))
    if (issuer.judge.kind === 'keys') observer.cacheMiss()
    return finish(issuer, await judgeToken(issuer, parsed, cache, nowMs), token, nowMs)
  }

  async function judgeOpaque(
    token: string,
    nowMs: number,
    malformed: Denial,
    accepted: Accepted,
  ): Promise<Outcome> {
    const asked = issuers.filter(({ spec }) => isAccepted(spec.issuer, accepted))
    const judged = await judgeOpaqueToken(asked, token, nowMs)
    return judged ? finish(judged.issuer, judged.outcome, token, nowMs) : told('unknown', malformed)
  }

  function finish({ spec, enrich }: TrustedIssuer, outcome: Outcome, token: string, nowMs: number) {
    if (isDenial(outcome)) return told(spec.name, outcome)
    return enrich ? enrich(outcome, token, nowMs) : outcome
  }

  function told(issuer: string, denial: Denial): Denial {
    observer.refused(issuer, denial.cause ?? denial.reason)
    return denial
  }

  return (token: string, nowMs: number, accepted: Accepted): Outcome | Promise<Outcome> => {
    const known = cache.get(token, nowMs)
    if (!known) return judge(token, nowMs, accepted)
    observer.cacheHit()
    const { issuer } = known.identity
    if (!isAccepted(issuer, accepted)) return told('unknown', refuseToken('unknown_issuer'))
    const enrich = byIssuer.get(issuer)?.enrich
    return enrich ? enrich(known.identity, token, nowMs) : known.identity
  }
}

/** Issuers that a route accepts, by exact name; undefined for all. */
type Accepted = AcceptedCredentials['issuers']

function isAccepted(issuer: string, accepted: Accepted): boolean {
  return accepted === undefined || accepted.includes(issuer)
}

/** What a route accepts that says nothing of it. */
const everyCredential: AcceptedCredentials = { apiKeys: true, certificates: true }

/** What is no JWT may be a token that only its issuer understands; what RFC 6750 §2.1 knows as no token is nobody's. */
function mayBeOpaque(token: string, { cause }: Denial): boolean {
  return cause === 'malformed' && /^[A-Za-z0-9._~+/-]+=*$/.test(token)
}

function whatWouldDo({ issuers, apiKeys, certificates }: AuthenticatorParts): string {
  const ways = [
    ...(issuers.length > 0 || !apiKeys ? ['a bearer token'] : []),
    ...(apiKeys ? [`an API key in ${apiKeys.header}`] : []),
    ...(certificates ? ['a client certificate'] : []),
  ]
  return ways.join(' or ')
}
