import { isDeepStrictEqual } from 'node:util'
import type { CircuitSpec } from '../core/circuits.ts'
import type { ClaimRule } from '../core/claims.ts'
import { identityHeaderNames } from '../core/identity.ts'
import { keyPartsForm, parseKeyParts } from '../core/key-parts.ts'
import { type KeyPart, type LimitSpec, rateProblem } from '../core/limits.ts'
import { hasEscapedSlash, normalizePath } from '../core/paths.ts'
import { parseRate, type Rate, rateForm } from '../core/rates.ts'
import {
  type AcceptedCredentials,
  type AuthMode,
  type LimitForm,
  type PolicyRoute,
  type RoutePolicy,
  type RouteSpec,
  unmatchedRoute,
} from '../core/routes.ts'
import type { ShadowPart } from '../core/shadow.ts'
import { readCircuit } from './circuit-settings.ts'
import type { DocumentPath } from './document.ts'
import type { PolicyAuth, PolicyDocument, PolicyLimit, PolicyRouteDocument } from './policy.ts'

/** What the environment says of every route. */
export interface RouteDefaults {
  auth: AuthMode
  scopes: readonly string[]
  limits: readonly LimitSpec[]
  circuit?: CircuitSpec
  shadow: readonly ShadowPart[]
}

/** What is fixed at the start and no document can change. */
export interface FixedSettings {
  /** How a limit counts of which Envoy's route tells the rate alone. */
  limitForm: LimitForm
  /** The header that API keys come in, which cannot be filled from a claim; absent where there are none. */
  apiKeyHeader?: string
}

/** Told of a problem and where in the document it is. */
export type Complain = (at: DocumentPath, problem: string) => void

/** What merging needs beside the document. */
interface Merging {
  /** Exact names of all trusted issuers, by their short ones. */
  issuers: ReadonlyMap<string, string>
  complain: Complain
  apiKeyHeader?: string | undefined
}

/**
 * Merges the policy file over the environment. Scalars replace, lists replace, an empty list clears.
 * @param issuers exact names of all trusted issuers, by their short ones.
 * @param complain told of what is wrong beyond the schema.
 */
export function compileRoutes(
  environment: RouteDefaults,
  { defaults = {}, routes = [] }: Pick<PolicyDocument, 'defaults' | 'routes'>,
  issuers: ReadonlyMap<string, string>,
  complain: Complain,
  { limitForm, apiKeyHeader }: FixedSettings,
): RoutePolicy {
  const merging = { issuers, complain, apiKeyHeader }
  const base: RouteSpec = {
    name: unmatchedRoute,
    ...environment,
    sources: Object.fromEntries(
      (['auth', 'scopes', 'limits', 'circuit', 'shadow'] as const).map((setting) => [
        setting,
        'the environment',
      ]),
    ),
  }
  const level = { document: { ...defaults, name: unmatchedRoute }, at: ['defaults'], owner: 'defaults' }
  const merged = merge(base, { ...level, source: "the policy's defaults" }, merging)
  checkNames(routes, complain)
  const compiled = routes.map((route, at) => compileRoute(route, ['routes', at], merged, merging))
  checkCircuits(compiled, complain)
  return { defaults: merged, limitForm, routes: compiled }
}

function compileRoute(
  document: PolicyRouteDocument,
  at: DocumentPath,
  base: RouteSpec,
  merging: Merging,
): PolicyRoute {
  const { host, path, methods } = document.match ?? {}
  checkPath(path, [...at, 'match', 'path'], merging.complain)
  const { name } = document
  const source = `the policy's route ${JSON.stringify(name)}`
  const spec = merge(base, { document, at, owner: `route:${name}`, source }, merging)
  return { match: { host: host?.toLowerCase(), path, methods }, spec }
}

/** A part of the policy that is laid over what is weaker. */
interface Level {
  document: PolicyRouteDocument
  at: DocumentPath
  /** Whose the counters of its limits are. */
  owner: string
  /** How `gatepost explain` calls it. */
  source: string
}

function merge(base: RouteSpec, { document, at, owner, source }: Level, merging: Merging): RouteSpec {
  const { name, service, auth, rate_limits: limits, headers, allow_preflight: allowPreflight } = document
  const { shadow } = document
  const { circuit: inherited, ...weaker } = base
  const circuit = mergeCircuit(document.circuit, inherited, [...at, 'circuit'], merging.complain)
  const told = (setting: string, value: unknown) => value !== undefined && { [setting]: source }
  const asks = auth === undefined ? {} : readAuth(auth, base.accepts, [...at, 'auth'], merging)
  checkHeaders(headers, [...at, 'headers'], merging)
  const limitsAt = (index: number) => [...at, 'rate_limits', index]
  checkLimitNames(limits, limitsAt, merging.complain)
  return {
    ...weaker,
    ...asks,
    name,
    ...(service !== undefined && { service }),
    ...(limits && {
      limits: limits.map((limit, index) => readLimit(limit, owner, limitsAt(index), merging.complain)),
    }),
    ...(circuit && { circuit }),
    ...(shadow && { shadow }),
    ...(headers && { claimHeaders: Object.entries(headers).map(([header, claim]) => ({ header, claim })) }),
    ...(allowPreflight !== undefined && { allowPreflight }),
    sources: {
      ...base.sources,
      ...told('service', service),
      ...told('auth', auth),
      ...told('scopes', asks.scopes),
      ...told('claims', asks.claims),
      ...told('circuit', document.circuit),
      ...told('limits', limits),
      ...told('shadow', shadow),
    },
  }
}

/** What a level says of its circuit replaces the weaker one's word, setting by setting. */
function mergeCircuit(
  written: PolicyRouteDocument['circuit'],
  inherited: CircuitSpec | undefined,
  at: DocumentPath,
  complain: Complain,
): CircuitSpec | undefined {
  if (written === undefined) return inherited
  if (written === 'none') return undefined
  return readCircuit(
    written,
    (setting, problem) => complain([...at, setting], `${setting}: ${problem}`),
    inherited,
  )
}

/** A service is fit or it is not, whichever route leads there. */
function checkCircuits(routes: readonly PolicyRoute[], complain: Complain): void {
  const seen = new Map<string, RouteSpec>()
  for (const [at, { spec }] of routes.entries()) {
    const { service, circuit } = spec
    if (service === undefined || circuit === undefined) continue
    const other = seen.get(service)
    if (other && !isDeepStrictEqual(other.circuit, circuit)) {
      const [mine, theirs] = [spec.name, other.name].map((name) => JSON.stringify(name))
      complain(
        ['routes', at],
        `the routes ${theirs} and ${mine} lead to the service ${JSON.stringify(service)}, which has one circuit: give both the same settings, or one of them none`,
      )
    }
    seen.set(service, spec)
  }
}

/** The short form says whether a credential is asked for, and leaves scopes as they are; the long one says it all. */
function readAuth(
  auth: PolicyAuth,
  inherited: AcceptedCredentials | undefined,
  at: DocumentPath,
  merging: Merging,
): Partial<Pick<RouteSpec, 'auth' | 'accepts' | 'scopes' | 'claims'>> {
  if (typeof auth === 'string') return { auth }
  return {
    auth: auth.mode ?? 'required',
    accepts: readAccepted(auth, inherited, at, merging),
    ...(auth.scopes && { scopes: auth.scopes }),
    ...(auth.claims && { claims: readClaims(auth.claims) }),
  }
}

function readAccepted(
  { issuers: names, api_key: apiKeys, certificate }: Exclude<PolicyAuth, string>,
  inherited: AcceptedCredentials = { apiKeys: true, certificates: true },
  at: DocumentPath,
  { issuers, complain }: Merging,
): AcceptedCredentials {
  const exact = names?.map((name, index) => {
    const issuer = issuers.get(name)
    const known = [...issuers.keys()].join(', ') || 'none'
    if (issuer === undefined) {
      complain([...at, 'issuers', index], `there is no issuer ${JSON.stringify(name)}, known are ${known}`)
    }
    return issuer ?? ''
  })
  // A route that names issuers means these; one that names none must not let in whom a weaker level keeps out.
  const base = exact ? { issuers: exact, apiKeys: false, certificates: false } : inherited
  return { ...base, apiKeys: apiKeys ?? base.apiKeys, certificates: certificate ?? base.certificates }
}

function readClaims(claims: Readonly<Record<string, readonly (string | number | boolean)[]>>): ClaimRule[] {
  return Object.entries(claims).map(([claim, values]) => ({ claim, values: values.map(String) }))
}

function readLimit(limit: PolicyLimit, owner: string, at: DocumentPath, complain: Complain): LimitSpec {
  const { name, by = 'client', algorithm = 'gcra', burst, cost = 1, plan } = limit
  const rateOf = (text: string, path: DocumentPath) => readRate(text, { burst, cost }, path, complain)
  if (burst !== undefined && algorithm !== 'gcra')
    complain([...at, 'burst'], `a burst is for gcra alone, ${algorithm} has none`)
  return {
    name,
    owner,
    rate: rateOf(limit.limit, [...at, 'limit']),
    algorithm,
    by: readKey(by, [...at, 'by'], complain),
    cost,
    ...(burst !== undefined && { burst }),
    ...(plan && {
      plan: {
        claim: plan.claim,
        rates: new Map(
          Object.entries(plan.limits).map(([value, rate]) => [
            value,
            rateOf(rate, [...at, 'plan', 'limits', value]),
          ]),
        ),
      },
    }),
  }
}

function readRate(
  text: string,
  { burst, cost }: { burst: number | undefined; cost: number },
  at: DocumentPath,
  complain: Complain,
): Rate {
  const rate = parseRate(text)
  const problem = rate
    ? rateProblem(rate, burst)
    : `${JSON.stringify(text)} does not do, it must be ${rateForm}`
  if (problem) complain(at, problem)
  const atOnce = rate && (burst ?? rate.limit)
  if (atOnce !== undefined && cost > atOnce)
    complain(at, `no request would ever pass: each costs ${cost}, and at most ${atOnce} are left at once`)
  return rate ?? { limit: 1, windowMs: 1 }
}

function readKey(text: string, at: DocumentPath, complain: Complain): readonly KeyPart[] {
  const parts = parseKeyParts(text)
  if (!parts) complain(at, `${JSON.stringify(text)} does not do, it must be ${keyPartsForm}`)
  return parts ?? []
}

/** Headers that mean something of their own cannot be filled from a claim. */
function checkHeaders(
  headers: Readonly<Record<string, string>> = {},
  at: DocumentPath,
  { complain, apiKeyHeader }: Merging,
): void {
  for (const name of Object.keys(headers)) {
    const isTaken =
      (identityHeaderNames as readonly string[]).includes(name) ||
      ownPrefixes.test(name) ||
      name === apiKeyHeader
    if (isTaken || ownHeaders.has(name))
      complain([...at, name], `${JSON.stringify(name)} has a meaning of its own: choose another name`)
  }
}

const ownPrefixes = /^(x-gatepost-|x-envoy-|x-forwarded-|grpc-)/

const ownHeaders = new Set([
  'authorization',
  'connection',
  'content-length',
  'content-type',
  'cookie',
  'forwarded',
  'host',
  'te',
  'traceparent',
  'tracestate',
  'transfer-encoding',
  'upgrade',
  'x-request-id',
])

/** A limit's name tells its counter, and clients read it. */
function checkLimitNames(
  limits: readonly PolicyLimit[] = [],
  limitAt: (index: number) => DocumentPath,
  complain: Complain,
): void {
  for (const [at, { name }] of limits.entries()) {
    if (limits.slice(0, at).some((other) => other.name === name))
      complain([...limitAt(at), 'name'], `there are two limits called ${JSON.stringify(name)}`)
  }
}

function checkNames(routes: readonly PolicyRouteDocument[], complain: Complain): void {
  const seen = new Set<string>()
  for (const [at, { name }] of routes.entries()) {
    if (seen.has(name))
      complain(['routes', at, 'name'], `there are two routes called ${JSON.stringify(name)}`)
    seen.add(name)
  }
}

/** A path that a normalised request can never have would be a rule that never holds. */
function checkPath(path: string | undefined, at: DocumentPath, complain: Complain): void {
  if (path === undefined) return
  const normal = normalizePath(path)
  if (normal.kind === 'unclear' || normal.path !== path || hasEscapedSlash(path)) {
    complain(at, `${JSON.stringify(path)} is not normalised: no request will ever have it`)
  }
  const segments = path.replace(/\/\*$/, '').split('/').slice(1)
  if (segments.some((segment) => segment.includes('*'))) {
    complain(at, `${JSON.stringify(path)} may have a * only as its whole last segment`)
  }
  if (segments.some((segment) => /[{}]/.test(segment) && !/^\{[^{}]+\}$/.test(segment))) {
    complain(at, `${JSON.stringify(path)} may have {name} only as a whole segment`)
  }
}
