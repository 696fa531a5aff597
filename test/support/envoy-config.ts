import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'

interface SocketAddress {
  socket_address: { address: string; port_value: number }
}

type Address = SocketAddress | { pipe: { path: string } }

interface Filter {
  name: string
  typed_config: Record<string, unknown>
}

/** A listener, as far as tests touch it. */
export interface Listener {
  name: string
  address: Address
  filter_chains: { filters: Filter[] }[]
}

interface Cluster {
  name: string
  load_assignment: { endpoints: { lb_endpoints: { endpoint: { address: Address } }[] }[] }
}

/** An Envoy bootstrap configuration: the parts that tests touch; the rest passes through as it is. */
export interface EnvoyConfig {
  admin: { address: Address }
  static_resources: { listeners: Listener[]; clusters: Cluster[] }
}

/** What to change in a bundled configuration. What is left out stays as shipped. */
export interface EnvoyOverrides {
  /** Port of the listener `ingress`; 0 lets the system choose. */
  listenerPort?: number
  /** Port of the admin interface; 0 lets the system choose. */
  adminPort?: number
  /** Addresses by cluster name, each `host:port` or `unix:/path`. */
  clusters?: Readonly<Record<string, string>>
}

/** The path of a bundled configuration, such as `ext-authz`. */
function bundledConfigFile(name: string): string {
  return fileURLToPath(new URL(`../../envoy/${name}.yaml`, import.meta.url))
}

/** Reads a bundled configuration and overrides what a test needs. */
export async function bundledConfig(name: string, overrides: EnvoyOverrides = {}): Promise<EnvoyConfig> {
  const config = parse(await readFile(bundledConfigFile(name), 'utf8')) as EnvoyConfig
  const { listenerPort, adminPort, clusters = {} } = overrides
  if (listenerPort !== undefined) listener(config, 'ingress').address = loopback(listenerPort)
  if (adminPort !== undefined) config.admin.address = loopback(adminPort)
  for (const [clusterName, address] of Object.entries(clusters)) {
    setClusterAddress(cluster(config, clusterName), address)
  }
  return config
}

/** A listener of the configuration. */
export function listener(config: EnvoyConfig, name: string): Listener {
  return named(config.static_resources.listeners, name)
}

/** A cluster of the configuration. */
function cluster(config: EnvoyConfig, name: string): Cluster {
  return named(config.static_resources.clusters, name)
}

/** The typed configuration of an HTTP filter in a listener, to be changed in place. */
export function httpFilter({ filter_chains }: Listener, name: string): Record<string, unknown> {
  const manager = filter_chains[0]?.filters[0]?.typed_config as { http_filters: Filter[] }
  return named(manager.http_filters, name).typed_config
}

/** Adds a listener that is a copy of another, on a port of its own, and returns it. */
export function copyListener(
  config: EnvoyConfig,
  { from, name, port = 0 }: { from: string; name: string; port?: number },
): Listener {
  const copy = { ...structuredClone(listener(config, from)), name, address: loopback(port) }
  config.static_resources.listeners.push(copy)
  return copy
}

/** Adds a cluster that is a copy of another, at an address of its own, and returns it. */
export function copyCluster(
  config: EnvoyConfig,
  { from, name, address }: { from: string; name: string; address: string },
): Cluster {
  const copy = structuredClone(cluster(config, from))
  copy.name = name
  Object.assign(copy.load_assignment, { cluster_name: name })
  setClusterAddress(copy, address)
  config.static_resources.clusters.push(copy)
  return copy
}

function setClusterAddress({ load_assignment }: Cluster, address: string): void {
  for (const { endpoint } of load_assignment.endpoints.flatMap((group) => group.lb_endpoints)) {
    endpoint.address = parseAddress(address)
  }
}

function parseAddress(address: string): Address {
  if (address.startsWith('unix:')) return { pipe: { path: address.slice('unix:'.length) } }
  const { hostname, port } = new URL(`tcp://${address}`)
  return { socket_address: { address: hostname, port_value: Number(port) } }
}

function loopback(port: number): SocketAddress {
  return { socket_address: { address: '127.0.0.1', port_value: port } }
}

function named<T extends { name: string }>(all: readonly T[], name: string): T {
  const found = all.find((one) => one.name === name)
  if (found) return found
  throw new Error(`Cannot find "${name}": there is ${all.map((one) => one.name).join(', ')}`)
}
