import { bundledConfig, copyCluster, type EnvoyConfig } from '../test/support/envoy-config.ts'
import type { OpenIdProvider } from '../test/support/openid-provider.ts'
import { type Filter, type Setup, type SetupName, setups } from './setups.ts'

type Listener = EnvoyConfig['static_resources']['listeners'][number]

/** What an Envoy with all chosen setups is made of. */
export interface EnvoyParts {
  names: readonly SetupName[]
  provider: OpenIdProvider
  /** `host:port`. */
  upstream: string
  /** `host:port` of each setup's own Gatepost. */
  gateposts: ReadonlyMap<SetupName, string>
}

/**
 * Writes a configuration with a listener for each setup, named as the setup and counted under its name. All have what
 * the bundled configurations have (header rules, path rules, CORS) and differ in the filter and the access log alone.
 */
export async function envoyConfig({
  names,
  provider,
  upstream,
  gateposts,
}: EnvoyParts): Promise<EnvoyConfig> {
  const overrides = {
    listenerPort: 0,
    adminPort: 0,
    clusters: { user_service: upstream, order_service: upstream },
  }
  const bases = {
    'ext-authz': await bundledConfig('ext-authz', overrides),
    'ext-proc': await bundledConfig('ext-proc', overrides),
  }
  const config = bases['ext-authz']
  const listeners = names.map((name) => listenerOf(name, bases[setups[name].base], provider))
  for (const [name, address] of gateposts) {
    copyCluster(config, { from: 'gatepost', name: clusterOf(name), address })
  }
  const { clusters } = config.static_resources
  const used = clusters.filter(({ name }) => name !== 'gatepost')
  return { ...config, static_resources: { ...config.static_resources, listeners, clusters: used } }
}

interface Manager {
  stat_prefix: string
  access_log?: unknown
  http_filters: Filter[]
}

function listenerOf(name: SetupName, base: EnvoyConfig, provider: OpenIdProvider): Listener {
  const setup: Setup = setups[name]
  const listener = withCluster(base.static_resources.listeners[0]!, clusterOf(name))
  const manager = listener.filter_chains[0]!.filters[0]!.typed_config as unknown as Manager
  listener.name = name
  manager.stat_prefix = name
  if (!setup.accessLog) delete manager.access_log
  manager.http_filters = manager.http_filters.flatMap((filter) => changed(filter, setup, provider))
  return listener
}

const gatepostFilter = /^envoy\.filters\.http\.(ext_authz|ext_proc)$/

function changed(shipped: Filter, { filter }: Setup, provider: OpenIdProvider): Filter[] {
  if (filter === undefined || !gatepostFilter.test(shipped.name)) return [shipped]
  return filter === null ? [] : [filter(shipped, provider)]
}

/** A copy of a listener whose filter and access log ask another cluster. */
function withCluster(listener: Listener, cluster: string): Listener {
  const text = JSON.stringify(listener)
  return JSON.parse(text.replaceAll('"cluster_name":"gatepost"', `"cluster_name":${JSON.stringify(cluster)}`))
}

function clusterOf(name: SetupName): string {
  return `gatepost_${name}`
}
