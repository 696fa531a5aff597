import type { Cursor } from './cursor.ts'
import { durationMs, guardedManagers, metadata } from './decisions.ts'
import { type Rule, type Spot, spotIf } from './rule.ts'
import type { Scope } from './scope.ts'

/** Traps of routes: Envoy's, Istio's, and those of Kubernetes. */
export const routingRules: readonly Rule[] = [
  {
    id: 'wildcard-host',
    title: 'a route answers to every host while the policy may go by host',
    why: 'Gatepost matches its policy’s routes by the host that the client names. With an invented one a request reaches the same upstream, but falls to the policy’s defaults.',
    mend: 'Name the hosts that you serve; or, in Envoy’s own files, name the policy’s route beside each route (`context_extensions: { route: … }`, for ext_proc `gatepost-route`), which no client can choose.',
    check: wildcardHosts,
  },
  {
    id: 'route-timeout',
    title: 'a route without a timeout that somebody chose',
    why: 'A hung upstream is told to Gatepost only when the route gives up: until then no circuit counts it and no event names it. Envoy’s default is 15 s, `0s` is never, and so is Istio’s default.',
    mend: 'Set the route’s `timeout`; for streams `0s` with `max_stream_duration` or the route’s `idle_timeout`. In an HTTPRoute: `timeouts: { request: 15s }`.',
    check: routeTimeouts,
  },
  {
    id: 'retries-repeat-writes',
    title: 'retries send a POST again that the upstream may have carried out',
    why: '`5xx`, `gateway-error` and `reset` also retry requests that have reached the upstream: an order is placed twice, while Gatepost has decided and counted once.',
    mend: 'Retry on `connect-failure,refused-stream` (and `reset-before-request`), or match GET and HEAD in a route of their own.',
    check: repeatedWrites,
  },
]

function wildcardHosts(scope: Scope): Spot[] {
  return [
    ...virtualHosts(scope).flatMap(wildcardVirtualHost),
    ...scope
      .objects('Gateway', 'networking.istio.io')
      .flatMap((gateway) => gateway.get('spec', 'servers').list())
      .filter(speaksHttp)
      .flatMap((server) => server.get('hosts').list())
      .flatMap((host) =>
        spotIf(
          /^(\*\/)?\*$/.test(host.text ?? ''),
          host,
          'every namespace may bind every host to this Gateway',
        ),
      ),
    ...virtualServicesOfGateways(scope)
      .filter((service) => service.get('spec', 'http').exists)
      .flatMap((service) => service.get('spec', 'hosts').list())
      .flatMap((host) => spotIf(host.text === '*', host, 'the VirtualService answers to every host')),
    ...scope
      .objects('HTTPRoute', 'gateway.networking.k8s.io')
      .filter((route) => route.get('spec', 'hostnames').list().length === 0 && hasOpenListener(scope, route))
      .map((route) => ({
        at: route.get('spec'),
        says: 'neither the HTTPRoute nor its Gateway’s listener names a host',
      })),
    ...scope
      .objects('Ingress')
      .flatMap((ingress) => ingress.get('spec', 'rules').list())
      .flatMap((rule) => spotIf(!rule.get('host').exists, rule, 'the rule names no host')),
  ]
}

/** Whether a server of an Istio Gateway sees requests, and not only connections. */
function speaksHttp(server: Cursor): boolean {
  if (server.get('tls', 'mode').text?.endsWith('PASSTHROUGH')) return false
  return /^(HTTP|HTTPS|HTTP2|GRPC)(-|$)/i.test(server.get('port', 'protocol').text ?? '')
}

function wildcardVirtualHost(host: Cursor): Spot[] {
  const star = host
    .get('domains')
    .list()
    .find(({ text }) => text === '*')
  const loose = host
    .get('routes')
    .list()
    .find((route) => isForwarding(route) && !namesPolicyRoute(host) && !namesPolicyRoute(route))
  return star && loose
    ? [{ at: star, says: `every host reaches ${label(loose)}, which names no route of the policy` }]
    : []
}

function label(route: Cursor): string {
  const { text } = route.get('name')
  return text === undefined ? 'a route' : `the route ${text}`
}

function isForwarding(route: Cursor): boolean {
  return route.get('route').exists
}

function namesPolicyRoute(place: Cursor): boolean {
  return place
    .get('typed_per_filter_config')
    .entries()
    .some(
      ([, config]) =>
        config.get('check_settings', 'context_extensions', 'route').exists ||
        metadata(config.get('overrides', 'grpc_initial_metadata'), 'gatepost-route') !== undefined ||
        config.get('disabled').isTrue,
    )
}

function nameOf(object: Cursor): string {
  return `${object.get('metadata', 'namespace').text}/${object.get('metadata', 'name').text}`
}

/** Whether one of the route's Gateways is among the files and has a listener for every host. */
function hasOpenListener(scope: Scope, route: Cursor): boolean {
  const namespace = route.get('metadata', 'namespace').text
  const parents = route
    .get('spec', 'parentRefs')
    .list()
    .map((parent) => `${parent.get('namespace').text ?? namespace}/${parent.get('name').text}`)
  return scope
    .objects('Gateway', 'gateway.networking.k8s.io')
    .filter((gateway) => parents.includes(nameOf(gateway)))
    .flatMap((gateway) => gateway.get('spec', 'listeners').list())
    .some((listener) => !listener.get('hostname').exists)
}

/** Those that take requests from outside; within the mesh, the timeout and the hosts of the edge hold already. */
function virtualServicesOfGateways(scope: Scope): Cursor[] {
  return scope.objects('VirtualService').filter((service) =>
    service
      .get('spec', 'gateways')
      .list()
      .some(({ text }) => text !== 'mesh'),
  )
}

function routeTimeouts(scope: Scope): Spot[] {
  return [
    ...envoyRoutes(scope).flatMap(envoyTimeout),
    ...virtualServicesOfGateways(scope)
      .flatMap((service) => service.get('spec', 'http').list())
      .filter(isForwarding)
      .flatMap((route) =>
        spotIf(
          !route.get('timeout').exists,
          route.get('timeout'),
          `${label(route)} waits for ever: no timeout`,
        ),
      ),
    ...scope
      .objects('HTTPRoute', 'gateway.networking.k8s.io')
      .filter(hangsOnGateway)
      .flatMap((route) => route.get('spec', 'rules').list())
      .flatMap(httpRouteTimeout),
  ]
}

function httpRouteTimeout(rule: Cursor): Spot[] {
  const timeout = rule.get('timeouts', 'request')
  const isMissing = rule.get('backendRefs').exists && !timeout.exists
  return spotIf(isMissing, timeout, 'the rule has no request timeout; on Istio it then waits for ever')
}

function hangsOnGateway(route: Cursor): boolean {
  return route
    .get('spec', 'parentRefs')
    .list()
    .some((parent) => (parent.get('kind').text ?? 'Gateway') === 'Gateway')
}

/** The virtual hosts of connection managers that ask for decisions. */
function virtualHosts(scope: Scope): Cursor[] {
  return guardedManagers(scope).flatMap(({ manager }) => manager.get('route_config', 'virtual_hosts').list())
}

function envoyRoutes(scope: Scope): Cursor[] {
  return virtualHosts(scope)
    .flatMap((host) => host.get('routes').list())
    .filter(isForwarding)
}

function envoyTimeout(route: Cursor): Spot[] {
  const action = route.get('route')
  const timeout = action.get('timeout')
  if (action.get('max_stream_duration').exists) return []
  if (!timeout.exists) return [{ at: timeout, says: `${label(route)} has Envoy’s default timeout of 15 s` }]
  const isBounded = durationMs(timeout.text) !== 0 || action.get('idle_timeout').exists
  return isBounded
    ? []
    : [
        {
          at: timeout,
          says: `${label(route)} waits for ever, with neither max_stream_duration nor idle_timeout`,
        },
      ]
}

const repeating = new Set(['5xx', 'gateway-error', 'reset', 'http3-post-connect-failure'])
const safeMethods = /^(GET|HEAD|OPTIONS)(\|(GET|HEAD|OPTIONS))*$/

function repeatedWrites(scope: Scope): Spot[] {
  const virtualServices = scope.objects('VirtualService')
  return [
    ...virtualHosts(scope).flatMap((host) => repeats(host.get('retry_policy', 'retry_on'))),
    ...envoyRoutes(scope)
      .filter((route) => !route.get('match', 'headers').list().some(isSafeMethod))
      .flatMap((route) => repeats(route.get('route', 'retry_policy', 'retry_on'))),
    ...virtualServices
      .flatMap((service) => service.get('spec', 'http').list())
      .filter((route) => !matchesSafeMethods(route.get('match').list()))
      .flatMap((route) => repeats(route.get('retries', 'retryOn'))),
  ]
}

function matchesSafeMethods(matches: readonly Cursor[]): boolean {
  return matches.length > 0 && matches.every((match) => isSafe(match.get('method')))
}

function isSafeMethod(header: Cursor): boolean {
  return header.get('name').text === ':method' && isSafe(header)
}

function isSafe(matcher: Cursor): boolean {
  const exact = [matcher, matcher.get('string_match')].flatMap((place) => [
    place.get('exact'),
    place.get('exact_match'),
    place.get('regex'),
  ])
  return exact.some(({ text }) => text !== undefined && safeMethods.test(text.replaceAll(/[()]/g, '')))
}

function repeats(retryOn: Cursor): Spot[] {
  const found = retryOn.text?.split(',').find((on) => repeating.has(on.trim()))
  return found === undefined
    ? []
    : [{ at: retryOn, says: `${found.trim()} retries requests of every method` }]
}
