import type { CircuitSpec } from './circuits.ts'
import type { ClaimRule } from './claims.ts'
import { type Denial, deny } from './denials.ts'
import { Fault } from './fault.ts'
import { keyPartsForm, parseKeyParts } from './key-parts.ts'
import { type LimitSpec, rateProblem } from './limits.ts'
import { hasEscapedSlash, normalizePath } from './paths.ts'
import { parseRate, rateForm } from './rates.ts'
import type { RequestContext, RouteOverrides } from './request.ts'
import { createRouteTable, type RouteMatch } from './route-table.ts'
import type { ShadowPart } from './shadow.ts'

/** Whether a route asks who is calling: `optional` accepts no credential, but no bad one. */
export const authModes = ['required', 'optional', 'none'] as const

/** One of {@link authModes}. */
export type AuthMode = (typeof authModes)[number]

/** Which credentials a route accepts. */
export interface AcceptedCredentials {
  /** Issuers by their exact name; absent for every trusted one. */
  issuers?: readonly string[]
  apiKeys: boolean
  certificates: boolean
}

/** A setting of a route whose source is told by `gatepost explain`. */
export type SettingName = 'service' | 'auth' | 'scopes' | 'claims' | 'circuit' | 'limits' | 'shadow'

/** What a route asks of its callers, all sources of configuration merged. */
export interface RouteSpec {
  /** The label of the route in metrics and events; `unmatched` where nothing names it. */
  name: string
  /** The upstream service behind the route, where the configuration names it. */
  service?: string
  auth: AuthMode
  /** Absent where every configured credential will do. */
  accepts?: AcceptedCredentials
  /** Every scope that a caller must hold; empty for none. */
  scopes: readonly string[]
  /** Every claim that a caller must have; absent for none. */
  claims?: readonly ClaimRule[]
  /** Every limit that a request counts against; absent for none. */
  limits?: readonly LimitSpec[]
  /** When the circuit of the service trips; absent for never. Without a service there is none. */
  circuit?: CircuitSpec
  /** Parts that report what they would refuse, and refuse nothing; absent for none. */
  shadow?: readonly ShadowPart[]
  /** Headers for the upstream, each filled from a claim; absent for none. */
  claimHeaders?: readonly { header: string; claim: string }[]
  /** Whether a CORS preflight passes without identity. */
  allowPreflight?: boolean
  /** Where each setting comes from; absent ones are Gatepost's own defaults. */
  sources?: Partial<Readonly<Record<SettingName, string>>>
}

/** The label of a request that no route claims. */
export const unmatchedRoute = 'unmatched'

/** A route of the policy: which requests it is for, and what it asks of them. */
export interface PolicyRoute {
  match: RouteMatch
  spec: RouteSpec
}

/** What the configuration says of all routes. */
export interface RoutePolicy {
  /** What holds where no route fits. */
  defaults: RouteSpec
  routes: readonly PolicyRoute[]
  /** How a limit counts of which Envoy's route tells the rate alone. Default: each client, by GCRA. */
  limitForm?: LimitForm
}

/** How a limit counts, and whom. */
export type LimitForm = Pick<LimitSpec, 'by' | 'algorithm'>

/** The request's side of matching. */
export type Routable = Pick<RequestContext, 'authority' | 'path' | 'method' | 'headers' | 'overrides'>

/** The route of a request; `preflight` where it is a CORS preflight that may pass without identity. */
export interface MatchedRoute {
  kind: 'route'
  spec: RouteSpec
  preflight: boolean
  /** The policy's rule that fits, or that Envoy's route names; absent where the defaults hold. */
  rule?: RouteMatch
  /** Whether Envoy's route names the rule, whose host and path then mean nothing. */
  named?: true
}

/** Finds what the route of a request asks. */
export interface Routes {
  /**
   * Finds the route and merges Envoy's own settings over it.
   * @returns a denial where the path is unclear or the route has no such method.
   * @throws Fault where a setting of Envoy's is unknown or bad: a typo must not lower the guard.
   */
  match(request: Routable): MatchedRoute | Denial
  /** Takes another policy from the next request on. */
  replace(policy: RoutePolicy): void
  /** Headers for the upstream that some route fills from claims; no client's copy of one may pass. */
  readonly claimHeaders: readonly string[]
}

/** Compiles the policy. Scalars replace, lists replace, an empty list clears. */
export function createRoutes(policy: RoutePolicy): Routes {
  let compiled = compile(policy)
  return {
    match: (request) => compiled.match(request),
    replace(next) {
      compiled = compile(next)
    },
    get claimHeaders() {
      return compiled.claimHeaders
    },
  }
}

function compile({ defaults, routes, limitForm }: RoutePolicy): Omit<Routes, 'replace'> {
  const table = createRouteTable(routes.map((route) => ({ match: route.match, route })))
  const byName = new Map(routes.map((route) => [route.spec.name, route]))
  const override = createOverrides(limitForm)

  /** The policy's route that Envoy's names, or the one that fits, or the defaults. */
  function find(request: Routable, method: string): Found | Denial {
    const { route: name } = request.overrides
    const named = name === undefined ? undefined : byName.get(name.trim())
    if (!named) return routes.length === 0 ? { spec: defaults } : findByPath(request, method)
    return admits(named, method) ? { ...found(named), named: true } : wrongMethod(named.match.methods ?? [])
  }

  function findByPath({ authority, path }: Routable, method: string): Found | Denial {
    const normal = normalizePath(path)
    if (normal.kind === 'unclear') return unclearPath(normal.why)
    if (hasEscapedSlash(normal.path)) return unclearPath('it holds an escaped slash')
    const finding = table.find(authority, normal.path, method)
    if (finding.kind === 'wrong_method') return wrongMethod(finding.allow)
    return finding.kind === 'route' ? found(finding.route) : { spec: defaults }
  }

  function matched({ spec, ...how }: Found, request: Routable, preflight: boolean): MatchedRoute {
    return { kind: 'route', spec: override(spec, request.overrides), preflight, ...how }
  }

  return {
    claimHeaders: [
      ...new Set(routes.flatMap(({ spec }) => spec.claimHeaders ?? []).map(({ header }) => header)),
    ],

    match(request) {
      const wanted = preflightMethod(request)
      const foreseen = wanted === undefined ? undefined : find(request, wanted)
      if (foreseen && !isDenied(foreseen) && foreseen.spec.allowPreflight)
        return matched(foreseen, request, true)
      const sought = find(request, request.method)
      return isDenied(sought) ? sought : matched(sought, request, false)
    },
  }
}

type Found = Pick<MatchedRoute, 'spec' | 'rule' | 'named'>

function found({ spec, match }: PolicyRoute): Found {
  return { spec, rule: match }
}

function isDenied(value: Found | Denial): value is Denial {
  return 'kind' in value
}

/** Fetch standard, CORS-preflight fetch: OPTIONS with Origin and the method that is to come. */
function preflightMethod({ method, headers }: Routable): string | undefined {
  return method === 'OPTIONS' && headers.has('origin')
    ? headers.get('access-control-request-method')
    : undefined
}

function admits({ match: { methods } }: PolicyRoute, method: string): boolean {
  return methods === undefined || methods.includes(method)
}

function wrongMethod(allow: readonly string[]): Denial {
  // RFC 9110 §15.5.6: a 405 says what would do.
  return deny('method_not_allowed', 'The route does not offer this method.', {
    headers: [['allow', allow.join(', ')]],
  })
}

function unclearPath(why: string): Denial {
  return deny('invalid_path', `The path cannot be matched: ${why}.`)
}

type Setter = (spec: RouteSpec, value: string, form: LimitForm) => RouteSpec

const setters = new Map<string, Setter>([
  ['route', (spec, value) => ({ ...spec, name: label('route', value) })],
  [
    'service',
    (spec, value) => ({ ...spec, service: label('service', value), sources: told(spec, 'service') }),
  ],
  ['auth', (spec, value) => ({ ...spec, auth: authMode(value), sources: told(spec, 'auth') })],
  ['scopes', (spec, value) => ({ ...spec, scopes: scopeList(value), sources: told(spec, 'scopes') })],
  [
    'rate_limit',
    (spec, value, form) => ({
      ...spec,
      limits: limitList(spec, value, form),
      sources: told(spec, 'limits'),
    }),
  ],
  [
    'rate_limit_key',
    (spec, value) => ({ ...spec, limits: rekeyed(spec, value), sources: told(spec, 'limits') }),
  ],
])

function told(spec: RouteSpec, setting: SettingName): NonNullable<RouteSpec['sources']> {
  return { ...spec.sources, [setting]: "Envoy's route" }
}

/**
 * The most distinct sets of Envoy's settings that stay compiled. Envoy's routes are few and constant; a peer that sends
 * ever new ones pays for its own parsing.
 */
const maxCompiled = 1_000

/** Makes the merge of Envoy's settings over a route's, which remembers what it has merged. */
function createOverrides(
  form: LimitForm = { by: [{ kind: 'client' }], algorithm: 'gcra' },
): (base: RouteSpec, overrides: RouteOverrides) => RouteSpec {
  const merged = new Map<RouteSpec, Map<string, RouteSpec>>()
  let count = 0
  return (base, overrides) => {
    const key = overridesKey(overrides)
    if (key === '') return base
    const ofBase = merged.get(base) ?? new Map<string, RouteSpec>()
    const known = ofBase.get(key)
    if (known) return known
    const spec = override(base, overrides, form)
    if (count < maxCompiled) {
      count += 1
      merged.set(base, ofBase.set(key, spec))
    }
    return spec
  }
}

function overridesKey(overrides: RouteOverrides): string {
  for (const _ in overrides) return JSON.stringify(overrides)
  return ''
}

function override(base: RouteSpec, overrides: RouteOverrides, form: LimitForm): RouteSpec {
  for (const key of Object.keys(overrides)) {
    if (setters.has(key)) continue
    throw new Fault(
      'routes',
      `Cannot apply the route setting ${JSON.stringify(key)}: known are ${[...setters.keys()].join(', ')}`,
    )
  }
  // In the order of the table: the key of a limit is changed after the limit is there.
  let spec = base
  for (const [key, set] of setters) {
    const value = Object.hasOwn(overrides, key) ? overrides[key] : undefined
    if (value !== undefined) spec = set(spec, value.trim(), form)
  }
  return spec
}

function label(key: string, value: string): string {
  if (value === '' || value.length > 128) {
    throw new Fault(
      'routes',
      `Cannot apply the route setting ${key}: 1 to 128 characters, got ${value.length}`,
    )
  }
  return value
}

function authMode(value: string): AuthMode {
  const mode = authModes.find((known) => known === value)
  if (mode) return mode
  throw new Fault(
    'routes',
    `Cannot apply the route setting auth: one of ${authModes.join(', ')}, got ${JSON.stringify(value)}`,
  )
}

function scopeList(value: string): readonly string[] {
  const scopes = splitList(value)
  const bad = scopes.find((scope) => !isScope(scope))
  if (bad === undefined) return scopes
  throw new Fault('routes', `Cannot apply the route setting scopes: ${JSON.stringify(bad)} is no scope`)
}

function limitList(spec: RouteSpec, value: string, form: LimitForm): readonly LimitSpec[] {
  if (value === 'none' || value === '') return []
  const rate = parseRate(value)
  const problem = rate ? rateProblem(rate) : rateForm
  if (!rate || problem) {
    throw new Fault(
      'routes',
      `Cannot apply the route setting rate_limit: ${problem}, got ${JSON.stringify(value)}`,
    )
  }
  return [{ name: 'default', owner: `route:${spec.name}`, rate, ...form, cost: 1 }]
}

function rekeyed({ limits = [] }: RouteSpec, value: string): readonly LimitSpec[] {
  const by = parseKeyParts(value)
  if (by) return limits.map((limit) => ({ ...limit, by }))
  throw new Fault(
    'routes',
    `Cannot apply the route setting rate_limit_key: ${keyPartsForm}, got ${JSON.stringify(value)}`,
  )
}

/** Splits a list by commas; blanks around an entry and empty entries do not count. */
export function splitList(value: string): string[] {
  return value
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
}

/** Whether a text is one scope: printable ASCII but for space, quote and backslash (RFC 6749 §3.3). */
export function isScope(text: string): boolean {
  return /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(text)
}
