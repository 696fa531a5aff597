import { Fault } from './fault.ts'

/** Whether a route asks who is calling: `optional` accepts no credential, but no bad one. */
export const authModes = ['required', 'optional', 'none'] as const

/** One of {@link authModes}. */
export type AuthMode = (typeof authModes)[number]

/** What a route asks of its callers, all sources of configuration merged. */
export interface RouteSpec {
  /** The label of the route in metrics and events; `unmatched` where nothing names it. */
  name: string
  /** The upstream service behind the route, where the configuration names it. */
  service?: string
  auth: AuthMode
  /** Every scope that a caller must hold; empty for none. */
  scopes: readonly string[]
}

/** Settings that Envoy's own route carries; they win over every other source. */
export type RouteOverrides = Readonly<Record<string, string>>

/** The label of a request that no route claims. */
export const unmatchedRoute = 'unmatched'

type Setter = (spec: RouteSpec, value: string) => RouteSpec

const setters = new Map<string, Setter>([
  ['route', (spec, value) => ({ ...spec, name: label('route', value) })],
  ['service', (spec, value) => ({ ...spec, service: label('service', value) })],
  ['auth', (spec, value) => ({ ...spec, auth: authMode(value) })],
  ['scopes', (spec, value) => ({ ...spec, scopes: scopeList(value) })],
])

/**
 * The longest list of distinct override sets that stays compiled. Envoy's routes are few and constant; a peer that
 * sends ever new ones pays for its own parsing.
 */
const maxCompiled = 1_000

/** Finds what the route of a request asks. */
export interface Routes {
  /**
   * Merges Envoy's settings over the configured defaults.
   * @throws Fault where a setting is unknown or has a bad value: a typo must not lower the guard.
   */
  match(overrides: RouteOverrides): RouteSpec
}

/** Compiles the route table. Scalars replace, lists replace, an empty list clears. */
export function createRoutes(defaults: Pick<RouteSpec, 'auth' | 'scopes'>): Routes {
  const unmatched: RouteSpec = { name: unmatchedRoute, ...defaults }
  const compiled = new Map<string, RouteSpec>()
  return {
    match(overrides) {
      const key = overridesKey(overrides)
      if (key === '') return unmatched
      const known = compiled.get(key)
      if (known) return known
      const spec = override(unmatched, overrides)
      if (compiled.size < maxCompiled) compiled.set(key, spec)
      return spec
    },
  }
}

function overridesKey(overrides: RouteOverrides): string {
  for (const _ in overrides) return JSON.stringify(overrides)
  return ''
}

function override(base: RouteSpec, overrides: RouteOverrides): RouteSpec {
  let spec = base
  for (const [key, value] of Object.entries(overrides)) {
    const set = setters.get(key)
    if (!set) {
      throw new Fault(
        'routes',
        `Cannot apply the route setting ${JSON.stringify(key)}: known are ${[...setters.keys()].join(', ')}`,
      )
    }
    spec = set(spec, value.trim())
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
