import type { Cursor } from './cursor.ts'
import { calledClusters, durationMs, guardedManagers, isLoopback, isType, isWhole } from './decisions.ts'
import { type Rule, type Spot, spotIf } from './rule.ts'
import type { Scope } from './scope.ts'

/** Traps of the filters by which Envoy, itself or made by Istio, asks for decisions. */
export const decidingRules: readonly Rule[] = [
  {
    id: 'decision-timeout',
    title: 'ext_authz or ext_proc without a timeout of its own',
    why: 'Envoy’s default is 200 ms, which a first fetch of an issuer’s keys exceeds; that of Istio’s provider is 600 s, for which a hung Gatepost holds every request.',
    mend: 'Set it: `grpc_service.timeout: 1s` (ext_authz), `message_timeout: 1s` (ext_proc), `timeout: 1s` (Istio’s provider).',
    check: decisionTimeouts,
  },
  {
    id: 'status-on-error',
    title: 'ext_authz or ext_proc without `status_on_error`',
    why: 'A fault of the authorisation service then looks like its verdict: ext_authz answers 403, which callers do not retry and dashboards count as denials; ext_proc answers 500.',
    mend: 'Set `status_on_error: { code: ServiceUnavailable }`; in Istio’s provider `statusOnError: "503"`.',
    check: statusesOnError,
  },
  {
    id: 'identity-headers-kept',
    title: 'a request may pass undecided with the client’s own identity headers',
    why: 'Gatepost overwrites `x-user-id` and its like only where it answers. A request that passes without an answer brings the client’s copy to the upstream, which believes it.',
    mend: 'Remove `x-user-id`, `x-client-id`, `x-auth-scopes`, `x-auth-issuer` and `x-gatepost-*` by `early_header_mutation_extensions`, or do not let it pass: `failure_mode_allow: false`, and `auth: none` in place of `disabled: true`.',
    check: keptIdentityHeaders,
  },
  {
    id: 'path-normalization',
    title: 'paths reach the decision as the client wrote them',
    why: 'Envoy, Gatepost and the upstream can each read `/public/../orders`, `//orders` or `/public/..%2forders` as another path: what is decided is not what is served.',
    mend: 'Set `normalize_path: true`, `merge_slashes: true` and `path_with_escaped_slashes_action: REJECT_REQUEST`; in Istio’s mesh configuration `pathNormalization: { normalization: DECODE_AND_MERGE_SLASHES }`, or MERGE_SLASHES where upstreams take %2F for a letter.',
    check: rawPaths,
  },
  {
    id: 'grpc-plaintext',
    title: 'Gatepost is asked across the network in clear text',
    why: 'Whoever can reach its port can ask it, and whoever is on the way reads bearer tokens and can answer “allow” in its place.',
    mend: 'Use loopback, a Unix socket or mTLS (`transport_socket` in Envoy’s cluster, GATEPOST_GRPC_TLS_CERT_FILE and its like in Gatepost); or have the mesh do it and lint the STRICT PeerAuthentication along.',
    check: plaintext,
  },
]

/** The ext_authz providers of Istio's mesh configurations. */
function providers({ meshes }: Pick<Scope, 'meshes'>): Cursor[] {
  return meshes
    .flatMap((mesh) => mesh.get('extensionProviders').list())
    .flatMap((provider) => [provider.get('envoyExtAuthzGrpc'), provider.get('envoyExtAuthzHttp')])
    .filter(({ exists }) => exists)
}

function* decisionTimeouts(scope: Scope): Iterable<Spot> {
  for (const { config } of scope.typed('ExtAuthz').filter(isWhole)) {
    const service = config.get('grpc_service')
    if (service.exists) yield* timeoutSpot(service.get('timeout'), 'ext_authz gives up after 200 ms')
  }
  for (const { config } of scope.typed('ExternalProcessor').filter(isWhole)) {
    if (!config.get('observability_mode').isTrue)
      yield* timeoutSpot(config.get('message_timeout'), 'ext_proc gives up after 200 ms')
  }
  for (const provider of providers(scope))
    yield* timeoutSpot(provider.get('timeout'), 'Istio’s ext_authz provider waits for 600 s')
}

function timeoutSpot(timeout: Cursor, says: string): Spot[] {
  if (!timeout.exists) return [{ at: timeout, says: `no timeout is set: ${says}` }]
  return durationMs(timeout.text) === 0 ? [{ at: timeout, says: 'a timeout of 0 s bounds nothing' }] : []
}

function statusesOnError(scope: Scope): Spot[] {
  return [
    ...scope
      .typed('ExtAuthz')
      .filter(isWhole)
      .flatMap(({ config }) => statusSpot(config, '403')),
    ...scope
      .typed('ExternalProcessor')
      .filter(isWhole)
      .flatMap(({ config }) => statusSpot(config, '500')),
    ...providers(scope).flatMap((provider) => {
      const status = provider.get('statusOnError')
      const matters = !provider.get('failOpen').isTrue && !status.exists
      return spotIf(matters, status, 'a fault is answered with 403: no statusOnError')
    }),
  ]
}

function statusSpot(filter: Cursor, code: string): Spot[] {
  const isOpen = filter.get('failure_mode_allow').isTrue || filter.get('observability_mode').isTrue
  const status = filter.get('status_on_error')
  return spotIf(!isOpen && !status.exists, status, `a fault is answered with ${code}: no status_on_error`)
}

const identityHeaders = ['x-user-id', 'x-client-id', 'x-auth-scopes', 'x-auth-issuer', 'x-gatepost-*']

function keptIdentityHeaders(scope: Scope): Spot[] {
  return [...keptByManagers(scope), ...keptInMesh(scope)]
}

function keptByManagers(scope: Scope): Spot[] {
  return guardedManagers(scope).flatMap(({ manager, decisions }) =>
    keptSpots([...openFilters(decisions), ...disabledRoutes(manager)], keptBy([manager])),
  )
}

/** In a mesh, one EnvoyFilter may bring the filter, or a provider stand for it, and another remove the headers. */
function keptInMesh(scope: Scope): Spot[] {
  const merged = scope.typed('HttpConnectionManager').filter((typed) => !isWhole(typed))
  const filters = ['ExtAuthz', 'ExternalProcessor'].flatMap(scope.typed)
  const inserted = filters.filter(({ envoyFilter }) => envoyFilter === 'whole').map(({ config }) => config)
  const failOpen = providers(scope)
    .map((provider) => provider.get('failOpen'))
    .filter(({ isTrue }) => isTrue)
  return keptSpots([...openFilters(inserted), ...failOpen], keptBy(merged.map(({ config }) => config)))
}

function keptSpots(open: readonly Cursor[], kept: readonly string[]): Spot[] {
  if (kept.length === 0) return []
  return open.map((at) => ({
    at,
    says: `${at.path.at(-1)} lets requests pass undecided, and nothing removes the client’s ${kept.join(', ')}`,
  }))
}

function openFilters(decisions: readonly Cursor[]): Cursor[] {
  return decisions.map((decision) => decision.get('failure_mode_allow')).filter(({ isTrue }) => isTrue)
}

/** Places where a virtual host or a route switches the decision off. */
function disabledRoutes(manager: Cursor): Cursor[] {
  const hosts = manager.get('route_config', 'virtual_hosts').list()
  return hosts
    .flatMap((host) => [host, ...host.get('routes').list()])
    .flatMap((place) => place.get('typed_per_filter_config').entries())
    .map(([, config]) => config)
    .filter((config) => isType(config, 'ExtAuthzPerRoute') || isType(config, 'ExtProcPerRoute'))
    .map((config) => config.get('disabled'))
    .filter(({ isTrue }) => isTrue)
}

function keptBy(managers: readonly Cursor[]): string[] {
  const removed = new Set(managers.flatMap(removedEarly))
  return identityHeaders.filter((header) => !removed.has(header))
}

function removedEarly(manager: Cursor): string[] {
  return manager
    .get('early_header_mutation_extensions')
    .list()
    .flatMap((extension) => extension.get('typed_config', 'mutations').list())
    .flatMap((mutation) => {
      const matcher = mutation.get('remove_on_match', 'key_matcher')
      const { text: prefix } = matcher.get('prefix')
      return [mutation.get('remove').text, matcher.get('exact').text, prefix && `${prefix}*`]
    })
    .flatMap((name) => (name ? [name.toLowerCase()] : []))
}

function rawPaths(scope: Scope): Spot[] {
  return [
    ...guardedManagers(scope).flatMap(({ manager }) => rawInManager(manager)),
    ...scope.meshes.flatMap(rawInMesh),
  ]
}

function rawInManager(manager: Cursor): Spot[] {
  const escaped = manager.get('path_with_escaped_slashes_action').text ?? ''
  const set = {
    normalize_path: manager.get('normalize_path').isTrue,
    merge_slashes: manager.get('merge_slashes').isTrue,
    path_with_escaped_slashes_action: /REJECT|UNESCAPE/.test(escaped),
  }
  const lacking = Object.entries(set).flatMap(([name, isSet]) => (isSet ? [] : [name]))
  return spotIf(
    lacking.length > 0,
    manager.get(lacking[0] ?? ''),
    `not as it should be: ${lacking.join(', ')}`,
  )
}

function rawInMesh(mesh: Cursor): Spot[] {
  // Istio's own profile for the edge normalises paths.
  const isEdge = mesh.get('defaultConfig', 'connectionSettings').exists
  const normalization = mesh.get('pathNormalization', 'normalization')
  const { text = 'Istio’s default, BASE,' } = normalization
  const isRaw = providers({ meshes: [mesh] }).length > 0 && !isEdge && !text.endsWith('MERGE_SLASHES')
  return spotIf(isRaw, normalization, `${text} leaves // and %2F in paths that a provider decides on`)
}

function plaintext(scope: Scope): Spot[] {
  const isStrict = scope
    .objects('PeerAuthentication')
    .some((policy) => policy.get('spec', 'mtls', 'mode').text === 'STRICT')
  const insecure = scope.settings.filter(
    ({ name, value }) => name === 'GATEPOST_GRPC_INSECURE' && value === 'true' && !isStrict,
  )
  return [
    ...calledClusters(scope).flatMap(plaintextCluster),
    ...insecure.map(({ name, at }) => ({ at, says: `${name} is true` })),
  ]
}

function plaintextCluster(cluster: Cursor): Spot[] {
  if (cluster.get('transport_socket').exists || cluster.get('transport_socket_matches').exists) return []
  const far = addressesOf(cluster).find(({ text = '' }) => !isLoopback(text))
  return far
    ? [{ at: far, says: `the cluster ${cluster.get('name').text} goes to ${far.text} without TLS` }]
    : []
}

function addressesOf(cluster: Cursor): Cursor[] {
  return cluster
    .get('load_assignment', 'endpoints')
    .list()
    .flatMap((locality) => locality.get('lb_endpoints').list())
    .map((endpoint) => endpoint.get('endpoint', 'address', 'socket_address', 'address'))
    .filter(({ exists }) => exists)
}
