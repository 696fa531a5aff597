import { AnswerCache } from './auth/answer-cache.ts'
import { createApiKeys } from './auth/api-keys.ts'
import { createAuthenticator, type TokenObserver } from './auth/authenticator.ts'
import { createEndpoint } from './auth/endpoint.ts'
import { createIntrospection, type Introspect } from './auth/introspection.ts'
import { anyIssuer, auth0Issuer, type IssuerSpec, oidcIssuer, oktaIssuer } from './auth/issuers.ts'
import { KeySet, type KeySetState, keySetTimes } from './auth/key-set.ts'
import { createFetchKeys } from './auth/key-source.ts'
import { fileKeyStore } from './auth/key-store.ts'
import { TokenCache } from './auth/token-cache.ts'
import type { TrustedIssuer } from './auth/trusted-issuer.ts'
import { createEnrichment, type Told } from './auth/userinfo.ts'
import { createIssuerVerifier } from './auth/verifier.ts'
import { readApiKeys } from './config/api-keys.ts'
import { followFile } from './config/followed-file.ts'
import { type IssuerSettings, mayFetch } from './config/issuer-settings.ts'
import type { Settings } from './config/settings.ts'
import type { Denial } from './core/denials.ts'
import { Fault } from './core/fault.ts'
import type { FetchJson } from './core/fetch.ts'
import type { Authenticate } from './core/gateway.ts'
import type { Identity } from './core/identity.ts'
import type { Metrics } from './observability/metrics.ts'
import { createFetchJson } from './outward/fetch-json.ts'
import { createOutward, type OutwardObserver, type ResilienceOptions } from './outward/resilience.ts'
import type { Surroundings } from './surroundings.ts'

/** Bounds of the cache of verified tokens: some tens of megabytes at the most. */
const tokenCacheBounds = { maxTokens: 20_000, maxCharacters: 32 * 1024 * 1024 }

/** Bounds of what is remembered of one issuer's answers, good and bad each. */
const answerCacheBounds = { maxAnswers: 20_000, maxCharacters: 16 * 1024 * 1024 }

/** The most bytes of a key set, a discovery document or an answer about a token. */
export const answerBounds = { maxBytes: 512 * 1024 }

/** How long a refusal by introspection or userinfo is remembered, in milliseconds. */
export const refusalTtlMs = 5_000

/** How keys are fetched. The key set has a rhythm of its own for trying again. */
export const keyCalls: Omit<ResilienceOptions, 'target'> = {
  timeoutMs: 5_000,
  attempts: 1,
  backoffMs: 0,
  maxBackoffMs: 0,
  maxConcurrent: 2,
  maxQueued: 2,
  breakAfter: 10,
  openMs: 1_000,
}

/** How providers are asked about tokens. A call outlives the request that waits for it; its answer serves the next. */
export const tokenCalls: Omit<ResilienceOptions, 'target'> = {
  timeoutMs: 2_000,
  attempts: 2,
  backoffMs: 50,
  maxBackoffMs: 250,
  maxConcurrent: 50,
  maxQueued: 500,
  breakAfter: 5,
  openMs: 5_000,
}

/**
 * How long a request waits in all for answers about its token, in milliseconds from its arrival. Envoy's Check has a
 * second.
 */
export const requestWaitMs = 900

/** Everything that says who is calling. */
export interface Auth {
  authenticate: Authenticate
  /**
   * The same, but nothing is counted and no token remembered.
   * @param mayAsk whether issuers may be asked; where not, a fault is what only asking would tell.
   */
  explainer(mayAsk: boolean): Authenticate
  cache: TokenCache
  /** Headers that carry credentials for Gatepost alone. */
  credentialHeaders: readonly string[]
  /**
   * Trusts these issuers from now on. Those that stay keep their keys; what was verified for one that goes, or whose
   * terms change, is forgotten.
   */
  adopt(issuers: readonly IssuerSettings[]): Promise<void>
  /** How the keys of each issuer stand, by its short name. */
  keyStates(): (readonly [string, KeySetState])[]
  /** How many answers about tokens are remembered, by issuer and service. */
  answerCounts(): (readonly [string, number])[]
  /** Resolves when the keys of each issuer are loaded or their first fetch has failed. */
  start(): Promise<void>
  close(): void
}

/** Puts together everything that says who is calling. @param dataDir where keys are kept; absent for nowhere. */
export function openAuth(
  settings: Settings,
  surroundings: Surroundings,
  metrics: Metrics,
  dataDir: string | undefined,
): Auth {
  const { clockSkewSeconds, cacheTtlMs } = settings.tokens
  const workshop = createWorkshop(settings, surroundings, metrics, dataDir)
  const cache = new TokenCache({
    ...tokenCacheBounds,
    ttlMs: cacheTtlMs,
    clockSkewMs: clockSkewSeconds * 1_000,
  })
  const keys = openApiKeys(settings, surroundings)
  const certificates = settings.clientCertificates

  const credentials = { ...(keys && { apiKeys: keys }), ...(certificates !== 'off' && { certificates }) }
  const observer: TokenObserver = {
    cacheHit: () => metrics.tokenCacheHits.inc(),
    cacheMiss: () => metrics.tokenCacheMisses.inc(),
    refused: (issuer, cause) => metrics.tokenRefusals.inc({ issuer, cause }),
  }

  function authenticatorOf(issuers: readonly TrustedIssuer[]): Authenticate {
    return createAuthenticator({ issuers, cache, observer, ...credentials })
  }

  // Explaining must leave no trace.
  const quietCache = { get: (token: string, nowMs: number) => cache.get(token, nowMs), set: () => undefined }
  const nobody = { cacheHit: () => undefined, cacheMiss: () => undefined, refused: () => undefined }

  let benches = settings.policy.first.issuers.map(workshop.trust)
  let current = authenticatorOf(benches.map(({ trusted }) => trusted))

  return {
    authenticate: (request, route) => current(request, route),
    explainer(mayAsk) {
      const issuers = benches.map(({ trusted, quiet }) => (mayAsk ? trusted : quiet))
      return createAuthenticator({ issuers, cache: quietCache, observer: nobody, ...credentials })
    },
    cache,
    credentialHeaders: keys ? [keys.header] : [],
    keyStates: () => benches.flatMap(({ name, keySet }) => (keySet ? [[name, keySet.state] as const] : [])),
    answerCounts: () =>
      benches.flatMap(({ answers }) => answers.map(({ name, size }) => [name, size] as const)),

    async start() {
      await Promise.all(benches.map(({ keySet }) => keySet?.start()))
    },

    async adopt(issuers) {
      const before = new Map(benches.map((bench) => [bench.signature, bench]))
      const next = issuers.map((issuer) => before.get(signatureOf(issuer)) ?? workshop.trust(issuer))
      await Promise.all(next.filter((bench) => !benches.includes(bench)).map(({ keySet }) => keySet?.start()))
      const gone = benches.filter((bench) => !next.includes(bench))
      benches = next
      current = authenticatorOf(benches.map(({ trusted }) => trusted))
      for (const { keySet } of gone) keySet?.retire()
    },

    close() {
      keys?.close()
      for (const { keySet } of benches) keySet?.close()
    },
  }
}

/** An issuer at work: with what its tokens are judged, and what of it must be started and ended. */
interface Bench {
  name: string
  /** Changes with the issuer's settings. */
  signature: string
  trusted: TrustedIssuer
  /** The same issuer for whoever must ask nobody: only what is known already counts. */
  quiet: TrustedIssuer
  /** Absent where the issuer is asked instead. */
  keySet: KeySet | undefined
  answers: readonly { name: string; readonly size: number }[]
}

/** Two settings with the same signature are the same issuer on the same terms; secrets are followed by themselves. */
function signatureOf(issuer: IssuerSettings): string {
  return JSON.stringify(issuer)
}

/** Turns an issuer of the environment or the policy into terms for its tokens. */
export function issuerSpec(settings: IssuerSettings): IssuerSpec {
  switch (settings.kind) {
    case 'auth0':
      return auth0Issuer(settings.origin, settings.audiences)
    case 'okta':
      return oktaIssuer(settings.origin, settings.authorizationServer, settings.audiences, settings)
    case 'oidc':
      return oidcIssuer(settings.issuer, settings.audiences)
    case 'policy': {
      const { issuer, audiences, introspection } = settings
      return anyIssuer({
        name: issuer.name,
        issuer: issuer.issuer,
        audiences,
        algorithms: issuer.algorithms,
        jwksUri: issuer.jwks_uri,
        introspectionEndpoint: issuer.introspection_endpoint,
        userinfoEndpoint: issuer.userinfo_endpoint,
        ...(introspection && { introspection }),
        ...(issuer.userinfo && { userinfo: true }),
      })
    }
  }
}

/** Nobody is told how calls went. */
const unobserved: OutwardObserver = { ended: () => undefined, retried: () => undefined }

/** The fetch of an issuer's keys and discovery document. */
export function keyFetch(
  target: string,
  observer = unobserved,
  monotonicMs = () => performance.now(),
): FetchJson {
  return outwardFetch({ ...keyCalls, target }, observer, monotonicMs)
}

/** The fetch of what an issuer says about tokens, by introspection and userinfo. */
export function tokenFetch(
  target: string,
  observer = unobserved,
  monotonicMs = () => performance.now(),
): FetchJson {
  return outwardFetch({ ...tokenCalls, target }, observer, monotonicMs)
}

function outwardFetch(
  options: ResilienceOptions,
  observer: OutwardObserver,
  monotonicMs: () => number,
): FetchJson {
  return createFetchJson(answerBounds, createOutward(options, observer, monotonicMs))
}

/** Makes trusted issuers, each with key set, caches and ways out of its own: one's trouble is never another's. */
function createWorkshop(
  { allowPlaintext, tokens }: Settings,
  { clock, loggers, monotonicMs }: Surroundings,
  metrics: Metrics,
  dataDir: string | undefined,
) {
  const logger = loggers.named('auth')
  const mayUse = (url: string) => mayFetch(url, allowPlaintext)
  const observer: OutwardObserver = {
    ended(target, result, tookMs) {
      metrics.outwardCalls.inc({ target, result })
      metrics.outwardDuration.observe({ target }, tookMs / 1_000)
    },
    retried: (target) => metrics.outwardRetries.inc({ target }),
  }

  function answerCache<T>(name: string): AnswerCache<T> {
    return new AnswerCache<T>({
      ...answerCacheBounds,
      name,
      clock,
      requestWaitMs,
      onHit: () => metrics.answerCacheHits.inc({ cache: name }),
      onMiss: () => metrics.answerCacheMisses.inc({ cache: name }),
    })
  }

  function keySetOf(spec: IssuerSpec): KeySet {
    return new KeySet({
      name: spec.name,
      algorithms: spec.algorithms,
      fetchKeys: createFetchKeys(spec, keyFetch(`${spec.name}.keys`, observer, monotonicMs), mayUse),
      clock,
      logger,
      store: dataDir === undefined ? undefined : fileKeyStore(dataDir, spec.issuer, logger),
      onFetch: (result) => metrics.issuerFetches.inc({ issuer: spec.name, result }),
      times: keySetTimes,
    })
  }

  function introspectionOf(spec: IssuerSpec) {
    if (!spec.introspection) return undefined
    const { endpoint, client } = spec.introspection
    const name = `${spec.name}.introspection`
    const fetchJson = tokenFetch(name, observer, monotonicMs)
    const cache = answerCache<Identity | Denial>(name)
    const introspect = createIntrospection({
      spec,
      endpoint: createEndpoint(endpoint, fetchJson, mayUse, clock),
      client,
      fetchJson,
      cache,
      times: { goodMs: tokens.introspectionTtlMs, badMs: refusalTtlMs, staleMs: tokens.introspectionStaleMs },
      clockSkewSeconds: tokens.clockSkewSeconds,
    })
    const known: Introspect = async (token, nowMs) => {
      const outcome = cache.peek(token, nowMs)
      if (outcome) return outcome
      throw new Fault('auth', `Cannot tell: issuer ${spec.name} must be asked about this token, and was not`)
    }
    return { introspect, known, cache: { name, cache } }
  }

  function enrichmentOf(spec: IssuerSpec) {
    if (!spec.userinfo) return undefined
    const name = `${spec.name}.userinfo`
    const fetchJson = tokenFetch(name, observer, monotonicMs)
    const cache = answerCache<Told | Denial>(name)
    const enrich = createEnrichment({
      name: spec.name,
      endpoint: createEndpoint(spec.userinfo, fetchJson, mayUse, clock),
      fetchJson,
      cache,
      times: { goodMs: tokens.introspectionTtlMs, badMs: refusalTtlMs },
    })
    return { enrich, cache: { name, cache } }
  }

  return {
    trust(issuer: IssuerSettings): Bench {
      const spec = issuerSpec(issuer)
      const introspection = introspectionOf(spec)
      const enrichment = enrichmentOf(spec)
      const keySet = introspection ? undefined : keySetOf(spec)
      const verifier = (find: KeySet['find']) => createIssuerVerifier(spec, { find }, tokens.clockSkewSeconds)
      const caches = [introspection?.cache, enrichment?.cache].filter((cache) => cache !== undefined)
      return {
        name: spec.name,
        signature: signatureOf(issuer),
        keySet,
        trusted: {
          spec,
          judge: introspection
            ? { kind: 'introspection', introspect: introspection.introspect }
            : {
                kind: 'keys',
                verifier: verifier(async (keyId, algorithm) => (keySet as KeySet).find(keyId, algorithm)),
              },
          ...(enrichment && { enrich: enrichment.enrich }),
        },
        quiet: {
          spec,
          judge: introspection
            ? { kind: 'introspection', introspect: introspection.known }
            : {
                kind: 'keys',
                verifier: verifier(async (keyId, algorithm) => (keySet as KeySet).known(keyId, algorithm)),
              },
        },
        answers: caches.map(({ name, cache }) => ({
          name,
          get size() {
            return cache.size
          },
        })),
      }
    },
  }
}

function openApiKeys({ apiKeys }: Settings, { clock, loggers }: Surroundings) {
  if (!apiKeys) return undefined
  const { path, header, first } = apiKeys
  const file = followFile(path, first, { read: readApiKeys, clock, logger: loggers.named('auth') })
  return { header, verify: createApiKeys(() => file.current), close: () => file.close() }
}
