import type { Cursor } from './cursor.ts'
import { isType } from './decisions.ts'
import type { Rule, Spot } from './rule.ts'
import type { Scope } from './scope.ts'

/** Traps of Istio's objects. */
export const istioRules: readonly Rule[] = [
  {
    id: 'consecutive-errors',
    title: '`consecutiveErrors` in a DestinationRule',
    why: 'Istio accepts the field and ignores it: no endpoint is ever ejected by it.',
    mend: 'Use `consecutive5xxErrors`, or `consecutiveGatewayErrors` for 502, 503 and 504 alone.',
    check: consecutiveErrors,
  },
  {
    id: 'unknown-provider',
    title: 'a policy names an extension provider that the mesh configuration does not have',
    why: 'An AuthorizationPolicy of action CUSTOM then refuses every request with 403; a Telemetry sends no access log, so that Gatepost hears of no outcome.',
    mend: 'Name a provider of `meshConfig.extensionProviders`, letter by letter, or add it there.',
    check: unknownProviders,
  },
  {
    id: 'envoyfilter-unversioned',
    title: 'a patch of an EnvoyFilter says for no version of the proxy that it is meant',
    why: 'It reaches proxies that nobody tried it on, during every upgrade: a field they do not know makes them refuse the whole listener, and what Istio generates differs between versions.',
    mend: 'Add `match: { proxy: { proxyVersion: ^1\\.31.* } }` with the versions that you have tried.',
    check: unversionedPatches,
  },
  {
    id: 'envoyfilter-position',
    title: 'a patch of an HTTP filter says no place among the filters, or the wrong one',
    why: 'Without `subFilter`, INSERT_BEFORE puts it first and INSERT_AFTER and ADD last, behind the router, where Envoy refuses the listener; REPLACE and REMOVE do nothing, and MERGE changes every filter.',
    mend: 'Name the filter to stand beside in `match.listener.filterChain.filter.subFilter`, or use INSERT_FIRST.',
    check: misplacedFilters,
  },
  {
    id: 'envoyfilter-anchor',
    title: 'a patch stands beside a filter that need not be there',
    why: 'Where Istio has not generated that filter the patch does nothing, without a word: requests pass undecided.',
    mend: 'Use INSERT_FIRST, or a filter that is always there: `envoy.filters.http.router`.',
    check: doubtfulAnchors,
  },
  {
    id: 'envoyfilter-everywhere',
    title: 'an EnvoyFilter attaches Gatepost to every proxy of its namespace',
    why: 'In the root namespace that is every proxy of the mesh. A request that passes several of them is decided on, counted and told several times.',
    mend: 'Choose the proxies by `workloadSelector` or `targetRefs`, or match `context: GATEWAY`.',
    check: unselected,
  },
]

function* consecutiveErrors(scope: Scope): Iterable<Spot> {
  for (const rule of scope.objects('DestinationRule')) {
    for (const place of rule.get('spec').descendants()) {
      const ignored = place.get('consecutiveErrors')
      if (place.path.at(-1) === 'outlierDetection' && ignored.exists)
        yield { at: ignored, says: 'consecutiveErrors is ignored' }
    }
  }
}

/** Istio has these by itself. */
const builtIn = ['prometheus', 'stackdriver', 'envoy']

function* unknownProviders(scope: Scope): Iterable<Spot> {
  if (scope.meshes.length === 0) return
  const known = scope.meshes
    .flatMap((mesh) => mesh.get('extensionProviders').list())
    .map((provider) => provider.get('name').text)
  for (const name of [...customProviders(scope), ...telemetryProviders(scope)]) {
    if (name.exists && ![...known, ...builtIn].includes(name.text))
      yield { at: name, says: `the mesh configuration has no provider ${JSON.stringify(name.text)}` }
  }
}

function customProviders(scope: Scope): Cursor[] {
  return scope
    .objects('AuthorizationPolicy', 'security.istio.io')
    .filter((policy) => policy.get('spec', 'action').text === 'CUSTOM')
    .map((policy) => policy.get('spec', 'provider', 'name'))
}

function telemetryProviders(scope: Scope): Cursor[] {
  return scope
    .objects('Telemetry', 'telemetry.istio.io')
    .flatMap((telemetry) => telemetry.get('spec', 'accessLogging').list())
    .flatMap((logging) => logging.get('providers').list())
    .map((provider) => provider.get('name'))
}

function patchesOf(scope: Scope): Cursor[] {
  return scope.objects('EnvoyFilter').flatMap((filter) => filter.get('spec', 'configPatches').list())
}

function* unversionedPatches(scope: Scope): Iterable<Spot> {
  for (const patch of patchesOf(scope)) {
    const version = patch.get('match', 'proxy', 'proxyVersion')
    if (!version.exists) yield { at: version, says: 'no proxyVersion is matched' }
  }
}

function httpFilterPatches(scope: Scope): Cursor[] {
  return patchesOf(scope).filter((patch) => patch.get('applyTo').text === 'HTTP_FILTER')
}

function anchorOf(patch: Cursor): Cursor {
  return patch.get('match', 'listener', 'filterChain', 'filter', 'subFilter', 'name')
}

/** What Istio does with each operation where no filter is named. */
const withoutAnchor: Readonly<Record<string, string>> = {
  INSERT_BEFORE: 'puts the filter before all others',
  INSERT_AFTER: 'puts the filter behind the router',
  REPLACE: 'does nothing',
  REMOVE: 'does nothing',
  MERGE: 'changes every filter',
}

function* misplacedFilters(scope: Scope): Iterable<Spot> {
  for (const patch of httpFilterPatches(scope)) {
    const operation = patch.get('patch', 'operation')
    const effect = withoutAnchor[operation.text ?? '']
    if (operation.text === 'ADD') yield { at: operation, says: 'ADD puts the filter behind the router' }
    else if (effect && !anchorOf(patch).exists)
      yield { at: operation, says: `${operation.text} without subFilter ${effect}` }
  }
}

/** Istio puts these into every chain of HTTP filters. */
const alwaysThere = ['envoy.filters.http.router', 'envoy.filters.http.fault', 'envoy.filters.http.cors']

function* doubtfulAnchors(scope: Scope): Iterable<Spot> {
  for (const patch of httpFilterPatches(scope)) {
    const anchor = anchorOf(patch)
    const inserts = /^INSERT_(BEFORE|AFTER)$/.test(patch.get('patch', 'operation').text ?? '')
    if (inserts && anchor.exists && !alwaysThere.includes(anchor.text ?? ''))
      yield { at: anchor, says: `without ${anchor.text} nothing is inserted` }
  }
}

const attaching = ['ExtAuthz', 'ExternalProcessor', 'HttpGrpcAccessLogConfig']

function* unselected(scope: Scope): Iterable<Spot> {
  for (const filter of scope.objects('EnvoyFilter')) {
    const spec = filter.get('spec')
    const isSelected = ['workloadSelector', 'targetRefs'].some((name) => spec.get(name).exists)
    const attached = spec.get('configPatches').list().find(attaches)
    if (!isSelected && attached)
      yield {
        at: spec,
        says: 'neither workloadSelector nor targetRefs, and a patch that is not for gateways alone',
      }
  }
}

function attaches(patch: Cursor): boolean {
  if (patch.get('match', 'context').text === 'GATEWAY') return false
  return patch.descendants().some((message) => attaching.some((type) => isType(message, type)))
}
