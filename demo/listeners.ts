import {
  copyCluster,
  copyListener,
  type EnvoyConfig,
  httpFilter,
  type Listener,
  listener,
} from '../test/support/envoy-config.ts'
import { freePort } from '../test/support/ports.ts'
import type { Certificates } from './files.ts'

/** Where Envoy listens: as shipped, and on listeners of the demo's own beside it. */
export interface Doors {
  ingress: string
  /** Over TLS, with a client certificate. */
  mtls: string
  /** Gatepost is down and `failure_mode_allow` is on. */
  faultAllowed: string
  /** Gatepost is down and `failure_mode_allow` is off. */
  faultRefused: string
}

/**
 * Adds to a bundled configuration what the demo shows beside it: a route of which Envoy says nothing, a listener that
 * asks for a client certificate, and two whose Gatepost is down.
 * @param decider the filter that attaches Gatepost.
 */
export async function addDemoListeners(
  config: EnvoyConfig,
  decider: string,
  certificates: Certificates,
): Promise<void> {
  addPolicyRoute(listener(config, 'ingress'))
  addTlsListener(config, certificates)
  await addFaultListeners(config, decider)
}

/** The addresses of a running Envoy's listeners. */
export function doorsOf(listeners: Readonly<Record<string, string>>): Doors {
  const url = (name: string) => `http://${listeners[name]}`
  return {
    ingress: url('ingress'),
    mtls: `https://${listeners['mtls']}`,
    faultAllowed: url('fault_allowed'),
    faultRefused: url('fault_refused'),
  }
}

/** Paths of which Envoy says nothing to Gatepost: what they ask is the policy file's to say. */
function addPolicyRoute({ filter_chains }: Listener): void {
  const manager = filter_chains[0]?.filters[0]?.typed_config as {
    route_config: { virtual_hosts: { routes: object[] }[] }
  }
  manager.route_config.virtual_hosts[0]?.routes.push({
    name: 'api',
    match: { path_separated_prefix: '/api' },
    route: { cluster: 'user_service', timeout: '15s' },
  })
}

function addTlsListener(config: EnvoyConfig, { ca, server }: Certificates): void {
  const inline = (text: string) => ({ inline_string: text })
  Object.assign(copyListener(config, { from: 'ingress', name: 'mtls' }).filter_chains[0] ?? {}, {
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
        require_client_certificate: true,
        common_tls_context: {
          tls_certificates: [{ certificate_chain: inline(server.cert), private_key: inline(server.key) }],
          validation_context: { trusted_ca: inline(ca) },
        },
      },
    },
  })
}

/** Two copies of the shipped listener that ask a Gatepost where nothing listens: one lets faults pass, one does not. */
async function addFaultListeners(config: EnvoyConfig, decider: string): Promise<void> {
  copyCluster(config, { from: 'gatepost', name: 'gatepost_down', address: `127.0.0.1:${await freePort()}` })
  for (const [name, allow] of [
    ['fault_allowed', true],
    ['fault_refused', false],
  ] as const) {
    const filter = httpFilter(copyListener(config, { from: 'ingress', name }), decider)
    const service = filter['grpc_service'] as { envoy_grpc: { cluster_name: string } }
    service.envoy_grpc.cluster_name = 'gatepost_down'
    filter['failure_mode_allow'] = allow
  }
}
