import type { Cursor } from './cursor.ts'
import { calledClusters, filtersOf, guardedManagers, isOurs, isType, isWhole, modesOf } from './decisions.ts'
import type { Rule, Spot } from './rule.ts'
import type { Scope } from './scope.ts'

/** Traps of Envoy's own files, and of what an EnvoyFilter brings. */
export const envoyRules: readonly Rule[] = [
  {
    id: 'second-observer',
    title: 'two observers tell Gatepost of the same request',
    why: 'Nothing is de-duplicated: every request counts twice in metrics, events and circuits. Gatepost warns at run time, when it has already happened.',
    mend: 'Keep one: the access log (GATEPOST_OBSERVER=access-log), or ext_proc with `observe` (GATEPOST_OBSERVER=ext-proc).',
    check: secondObservers,
  },
  {
    id: 'underscore-headers',
    title: 'headers with underscores are let in',
    why: 'CGI, WSGI, Rack and nginx read `x_user_id` and `x-user-id` as one header: a client forges with the one what Gatepost sets and removes as the other.',
    mend: 'Set `common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }`.',
    check: underscores,
  },
  {
    id: 'client-address',
    title: 'the client’s address is what X-Forwarded-For says',
    why: 'Without `use_remote_address: true` Envoy believes that header. GATEPOST_CLIENT_ADDRESS=envoy then has no `x-envoy-external-address` to read, and the address that ext_proc tells, by which limits count, is the client’s invention.',
    mend: 'Set `use_remote_address: true`; behind load balancers also `xff_num_trusted_hops`. An Envoy that takes requests only from another one of yours may silence this rule.',
    check: forgeableAddresses,
  },
  {
    id: 'clear-route-cache',
    title: 'the route is chosen anew after the decision',
    why: 'A header that the decision sets, or one that the client sent, can then lead the request to a route nobody decided on.',
    mend: 'Take `clear_route_cache` off; in ext_proc set `route_cache_action: RETAIN`.',
    check: clearedRoutes,
  },
  {
    id: 'mode-override',
    title: 'ext_proc skips response headers and may not be asked for them',
    why: 'Gatepost asks by `mode_override` for the responses on which it has something to say. Envoy ignores that unless it is allowed: replies carry no quota headers, and `observe` sees no outcome.',
    mend: 'Set `allow_mode_override: true`, or `response_header_mode: SEND`.',
    check: forbiddenOverrides,
  },
  {
    id: 'hidden-headers',
    title: 'ext_authz hides headers from the decision',
    why: 'A credential that Gatepost does not see still reaches the upstream: a second or a bad one passes beside the good one.',
    mend: 'Take `allowed_headers` and `disallowed_headers` off; Gatepost keeps and logs no credential.',
    check: hiddenHeaders,
  },
  {
    id: 'decision-sampled',
    title: 'ext_authz is asked about some requests only',
    why: 'What `filter_enabled` leaves out passes undecided, and nothing tells so.',
    mend: 'Take `filter_enabled` off, or set `deny_at_disable`. To try a policy without refusing anybody there is GATEPOST_SHADOW.',
    check: sampledDecisions,
  },
  {
    id: 'cluster-not-http2',
    title: 'a cluster that is called by gRPC does not speak HTTP/2',
    why: 'Envoy accepts it and then fails every call: each request is refused, or with `failure_mode_allow` each one passes.',
    mend: 'Set `http2_protocol_options` in the cluster’s `explicit_http_config` (`typed_extension_protocol_options`).',
    check: http1Clusters,
  },
  {
    id: 'cors-after-decision',
    title: 'the CORS filter stands behind the decision',
    why: 'A browser’s preflight carries no credential and is refused, and refusals lack the CORS headers without which the page may not read them.',
    mend: 'Put `envoy.filters.http.cors` before ext_authz or ext_proc.',
    check: lateCors,
  },
]

function* underscores(scope: Scope): Iterable<Spot> {
  for (const { manager } of guardedManagers(scope)) {
    const action = manager.get('common_http_protocol_options', 'headers_with_underscores_action')
    if (!/^(REJECT_REQUEST|DROP_HEADER)$/.test(action.text ?? ''))
      yield { at: action, says: 'headers_with_underscores_action is not REJECT_REQUEST' }
  }
}

function* forgeableAddresses(scope: Scope): Iterable<Spot> {
  for (const { manager } of guardedManagers(scope)) {
    const remote = manager.get('use_remote_address')
    if (!remote.isTrue) yield { at: remote, says: 'use_remote_address is not true' }
  }
}

function* clearedRoutes(scope: Scope): Iterable<Spot> {
  for (const { config } of scope.typed('ExtAuthz')) {
    const clear = config.get('clear_route_cache')
    if (clear.isTrue) yield { at: clear, says: 'ext_authz clears the route cache' }
  }
  for (const { config } of scope.typed('ExternalProcessor')) {
    const action = config.get('route_cache_action')
    if (action.text === 'CLEAR') yield { at: action, says: 'ext_proc clears the route cache' }
  }
}

function* forbiddenOverrides(scope: Scope): Iterable<Spot> {
  for (const { config } of scope.typed('ExternalProcessor')) {
    const response = config.get('processing_mode', 'response_header_mode')
    if (isOurs(config) && response.text === 'SKIP' && !config.get('allow_mode_override').isTrue)
      yield { at: response, says: 'response headers are skipped, and allow_mode_override is not true' }
  }
}

function* hiddenHeaders(scope: Scope): Iterable<Spot> {
  for (const { config } of scope.typed('ExtAuthz')) {
    if (!config.get('grpc_service').exists) continue
    for (const list of [config.get('allowed_headers'), config.get('disallowed_headers')])
      if (list.exists) yield { at: list, says: `${list.path.at(-1)} keeps headers from the decision` }
  }
}

const denominators: Readonly<Record<string, number>> = {
  HUNDRED: 100,
  TEN_THOUSAND: 10_000,
  MILLION: 1_000_000,
}

function* sampledDecisions(scope: Scope): Iterable<Spot> {
  for (const { config } of scope.typed('ExtAuthz')) {
    const share = config.get('filter_enabled', 'default_value')
    if (!share.exists || config.get('deny_at_disable').exists) continue
    const whole = denominators[share.get('denominator').text ?? 'HUNDRED'] ?? 100
    const asked = Number(share.get('numerator').text ?? 0)
    if (asked < whole) yield { at: share, says: `${asked} of ${whole} requests are decided on` }
  }
}

function http1Clusters(scope: Scope): Spot[] {
  return calledClusters(scope)
    .filter((cluster) => !speaksHttp2(cluster))
    .map((cluster) => cluster.get('name'))
    .map((at) => ({ at, says: `the cluster ${at.text} is called by gRPC without http2_protocol_options` }))
}

function speaksHttp2(cluster: Cursor): boolean {
  if (cluster.get('http2_protocol_options').exists) return true
  const { value = {} } = cluster.get('typed_extension_protocol_options')
  return /"http_?2_?protocol_?options"/i.test(JSON.stringify(value))
}

function* lateCors(scope: Scope): Iterable<Spot> {
  for (const { manager, decisions } of guardedManagers(scope)) {
    const filters = filtersOf(manager)
    const first = filters.findIndex((filter) =>
      decisions.some(({ path }) => path.join() === filter.path.join()),
    )
    const late = filters.slice(first).find((filter) => isType(filter, 'Cors'))
    if (late) yield { at: late, says: 'preflights meet the decision before this filter' }
  }
}

function* secondObservers(scope: Scope): Iterable<Spot> {
  for (const { config: manager } of scope.typed('HttpConnectionManager').filter(isWhole)) {
    const logs = manager
      .get('access_log')
      .list()
      .map((log) => log.get('typed_config'))
    yield* surplus([...logs, ...filtersOf(manager)].filter(isObserver))
  }
  const patched = ['HttpGrpcAccessLogConfig', 'ExternalProcessor'].flatMap(scope.typed)
  const inFilters = patched.filter(({ envoyFilter }) => envoyFilter !== 'none').map(({ config }) => config)
  // Files may hold one way each; only within one do they stand side by side.
  for (const observers of Map.groupBy(inFilters.filter(isObserver), ({ file }) => file).values())
    yield* surplus(observers)
}

function isObserver(config: Cursor): boolean {
  if (!isOurs(config)) return false
  return (
    isType(config, 'HttpGrpcAccessLogConfig') ||
    (isType(config, 'ExternalProcessor') && modesOf(config).includes('observe'))
  )
}

function surplus(observers: readonly Cursor[]): Spot[] {
  return observers.slice(1).map((at) => ({ at, says: 'Gatepost is told of each request here as well' }))
}
