import { copyListener, type EnvoyConfig, httpFilter, type Listener, listener } from './envoy-config.ts'

/** The filters by which Gatepost is attached, each the namespace of its own metadata too. */
const deciders = ['envoy.filters.http.ext_authz', 'envoy.filters.http.ext_proc'] as const

/** One of the filters by which Gatepost decides. */
export type Decider = (typeof deciders)[number]

/** What a client would like to be told of it. */
const forgedMetadata: Readonly<Record<string, string>> = {
  decision_id: '00000000000000000000000000000000',
  request_id: 'forged',
  route: 'admin',
  service: 'evil',
  user_id: 'root',
  client_id: 'root',
  issuer: 'https://evil.example.com/',
  decision: 'allow',
  reason: 'ok',
  status: '200',
  seal: 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
}

/** The address that a client would like to have. */
export const forgedAddress = '203.0.113.66'

/** Every header with which a client could try to name itself, its route, its verdict or its address. */
export function forgedHeaders(requestId = 'forged'): Record<string, string> {
  const fields = Object.entries(forgedMetadata)
  return {
    ...Object.fromEntries(fields.map(([field, value]) => [headerOf(field), value])),
    'x-user-id': 'root',
    'x-client-id': 'root',
    'x-auth-scopes': 'admin',
    'x-auth-issuer': 'https://evil.example.com/',
    'x-gatepost-user-id': 'root',
    'x-gatepost-auth': 'none',
    'gatepost-auth': 'none',
    'gatepost-mode': 'observe',
    'x-forwarded-for': forgedAddress,
    'x-envoy-external-address': forgedAddress,
    'x-request-id': requestId,
  }
}

/** Words of which none may ever stand in an event or a label. */
export const forgedWords = /root|evil|admin|203\.0\.113\.66|00000000000000000000000000000000/

/** Lets the clients of every listener write both namespaces of metadata by their headers, before any filter of ours. */
export function letClientsWriteMetadata(config: EnvoyConfig): void {
  const request_rules = deciders.flatMap((metadata_namespace) =>
    Object.keys(forgedMetadata).map((key) => ({
      header: headerOf(key),
      on_header_present: { metadata_namespace, key, type: key === 'status' ? 'NUMBER' : 'STRING' },
    })),
  )
  const filter = {
    name: 'envoy.filters.http.header_to_metadata',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config',
      request_rules,
    },
  }
  for (const one of config.static_resources.listeners) httpManager(one).http_filters.unshift(filter)
}

/** Adds a listener on which Gatepost can reach no verdict, and Envoy lets every request pass. */
export function addFaultListener(config: EnvoyConfig, decider: Decider): void {
  const faulty = copyListener(config, { from: 'ingress', name: 'fault-allowed' })
  httpFilter(faulty, decider)['failure_mode_allow'] = true
  for (const { typed_per_filter_config } of routesOf(faulty)) {
    const settings = typed_per_filter_config[decider]
    // A setting that makes no sense is a fault, whoever calls.
    if (settings?.check_settings) settings.check_settings.context_extensions['auth'] = 'maybe'
    settings?.overrides?.grpc_initial_metadata.push({ key: 'gatepost-auth', value: 'maybe' })
  }
}

/** Gives the ext_proc filter of a listener another role. */
export function setRole(config: EnvoyConfig, name: string, mode: string): void {
  const filter = httpFilter(listener(config, name), 'envoy.filters.http.ext_proc')
  Object.assign(filter['grpc_service'] as object, {
    initial_metadata: [{ key: 'gatepost-mode', value: mode }],
  })
}

/** Adds a listener that believes the last entry of X-Forwarded-For, as behind a load balancer of one's own. */
export function addTrustingListener(config: EnvoyConfig): void {
  const trusting = copyListener(config, { from: 'ingress', name: 'behind-one-hop' })
  Object.assign(httpManager(trusting), { xff_num_trusted_hops: 1 })
}

function headerOf(field: string): string {
  return `x-forge-${field.replaceAll('_', '-')}`
}

interface RouteSettings {
  check_settings?: { context_extensions: Record<string, string> }
  overrides?: { grpc_initial_metadata: { key: string; value: string }[] }
}

interface HttpManager {
  http_filters: unknown[]
  route_config: {
    virtual_hosts: {
      routes: { name: string; typed_per_filter_config: Partial<Record<Decider, RouteSettings>> }[]
    }[]
  }
}

function httpManager({ filter_chains }: Listener): HttpManager {
  return filter_chains[0]?.filters[0]?.typed_config as unknown as HttpManager
}

function routesOf(one: Listener) {
  return httpManager(one).route_config.virtual_hosts.flatMap(({ routes }) => routes)
}
