import type { Gatepost } from '../test/support/gatepost.ts'
import type { OpenIdProvider } from '../test/support/openid-provider.ts'

/** An HTTP filter of Envoy. */
export interface Filter {
  name: string
  typed_config: Record<string, unknown>
}

/** One way to run Envoy, measured beside the others. */
export interface Setup {
  title: string
  /** The bundled configuration whose listener it is. */
  base: 'ext-authz' | 'ext-proc'
  /** Changes the filter that asks Gatepost, as the bundled configuration has it; null takes it away. */
  filter?: ((shipped: Filter, provider: OpenIdProvider) => Filter) | null
  /** Whether the bundled access log stays. */
  accessLog: boolean
  /** What the setup's own Gatepost is told beside its issuer; absent where it has none. */
  gatepost?: Record<string, string>
}

/** The setups, in the order of the table. */
export const setups = {
  alone: { title: 'Envoy alone', base: 'ext-authz', filter: null, accessLog: false },
  'jwt-cache': {
    title: 'Envoy + its own jwt_authn, token cache on',
    base: 'ext-authz',
    filter: (_shipped, provider) => jwtAuthn(provider, { jwt_cache_config: { jwt_cache_size: 1_000 } }),
    accessLog: false,
  },
  jwt: {
    title: 'Envoy + its own jwt_authn, no cache',
    base: 'ext-authz',
    filter: (_shipped, provider) => jwtAuthn(provider),
    accessLog: false,
  },
  'ext-authz': { title: 'ext_authz', base: 'ext-authz', accessLog: false, gatepost: {} },
  'ext-authz-log': { title: 'ext_authz + access log', base: 'ext-authz', accessLog: true, gatepost: {} },
  'ext-proc': { title: 'ext_proc', base: 'ext-proc', accessLog: false, gatepost: {} },
  'ext-proc-log': { title: 'ext_proc + access log', base: 'ext-proc', accessLog: true, gatepost: {} },
  'ext-proc-observe': {
    title: 'ext_proc that observes as well',
    base: 'ext-proc',
    filter: decideAndObserve,
    accessLog: false,
    gatepost: { GATEPOST_OBSERVER: 'ext-proc' },
  },
} as const satisfies Record<string, Setup>

/** The name of a setup on the command line. */
export type SetupName = keyof typeof setups

/** A setup that runs. */
export interface RunningSetup {
  name: SetupName
  title: string
  /** Where wrk sends to. */
  url: string
  gatepost: Gatepost | undefined
  /** The file of the setup's events; only in a stack that was started with them. */
  eventsFile: string | undefined
}

/** Whether a setup has somebody who tells Gatepost how requests ended. */
export function isObserved(name: SetupName): boolean {
  const setup: Setup = setups[name]
  return setup.gatepost !== undefined && (setup.accessLog || 'GATEPOST_OBSERVER' in setup.gatepost)
}

function jwtAuthn(provider: OpenIdProvider, cache: object = {}): Filter {
  const known = {
    issuer: provider.issuer,
    audiences: [provider.audience],
    local_jwks: { inline_string: JSON.stringify({ keys: provider.publicKeys }) },
    forward: true,
    ...cache,
  }
  return {
    name: 'envoy.filters.http.jwt_authn',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication',
      providers: { known },
      rules: [{ match: { prefix: '/' }, requires: { provider_name: 'known' } }],
    },
  }
}

function decideAndObserve({ name, typed_config }: Filter): Filter {
  const service = typed_config['grpc_service'] as object
  const initial_metadata = [{ key: 'gatepost-mode', value: 'decide,observe' }]
  return { name, typed_config: { ...typed_config, grpc_service: { ...service, initial_metadata } } }
}
