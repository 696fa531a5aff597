import type { Cursor } from './cursor.ts'
import type { Scope, Typed } from './scope.ts'

/** A connection manager of Envoy that asks for decisions, whole and not a patch of one. */
export interface Guarded {
  manager: Cursor
  /** Its ext_authz filters, and those ext_proc filters by which Gatepost decides. */
  decisions: readonly Cursor[]
}

/** The connection managers that ask somebody whether a request may pass. */
export function guardedManagers(scope: Scope): Guarded[] {
  return scope
    .typed('HttpConnectionManager')
    .filter(({ envoyFilter }) => envoyFilter !== 'merge')
    .map(({ config }) => ({ manager: config, decisions: filtersOf(config).filter(isDecision) }))
    .filter(({ decisions }) => decisions.length > 0)
}

/** The configurations of a connection manager's HTTP filters, in order. */
export function filtersOf(manager: Cursor): Cursor[] {
  return manager
    .get('http_filters')
    .list()
    .map((filter) => filter.get('typed_config'))
}

/** Whether a message is of this type. */
export function isType(config: Cursor, type: string): boolean {
  return config.get('@type').text?.endsWith(`.${type}`) ?? false
}

function isDecision(config: Cursor): boolean {
  if (isType(config, 'ExtAuthz')) return true
  return isType(config, 'ExternalProcessor') && isOurs(config) && modesOf(config).includes('decide')
}

/** What an ext_proc filter says that it is for, `decide` where it says nothing. */
export function modesOf(processor: Cursor): string[] {
  return (metadata(processor.get('grpc_service', 'initial_metadata'), 'gatepost-mode') ?? 'decide')
    .split(',')
    .map((mode) => mode.trim())
}

/** Whether a filter or an access log calls Gatepost: it says what for, or its log or cluster has that name. */
export function isOurs(config: Cursor): boolean {
  if (metadata(config.get('grpc_service', 'initial_metadata'), 'gatepost-mode') !== undefined) return true
  if (config.get('common_config', 'log_name').text === 'gatepost') return true
  return [config, config.get('common_config')].some((place) => clusterOf(place)?.includes('gatepost'))
}

/** The cluster that a message with a `grpc_service` calls. */
function clusterOf(config: Cursor): string | undefined {
  return config.get('grpc_service', 'envoy_grpc', 'cluster_name').text
}

/** The value of one entry of gRPC metadata. */
export function metadata(list: Cursor, key: string): string | undefined {
  return list
    .list()
    .find((entry) => entry.get('key').text === key)
    ?.get('value').text
}

/** Whether a message is all that there is, and not a patch that changes a part of it. */
export function isWhole({ envoyFilter }: Typed): boolean {
  return envoyFilter !== 'merge'
}

/** A duration of protobuf's JSON in milliseconds; undefined where it is none. */
export function durationMs(text: string | undefined): number | undefined {
  const [, seconds] = /^(\d+(?:\.\d+)?)s$/.exec(text ?? '') ?? []
  return seconds === undefined ? undefined : Number(seconds) * 1_000
}

/** The clusters of the files that are asked for decisions or hear of outcomes. */
export function calledClusters(scope: Scope): Cursor[] {
  const filters = ['ExtAuthz', 'ExternalProcessor'].flatMap(scope.typed).map(({ config }) => config)
  const logs = scope.typed('HttpGrpcAccessLogConfig').map(({ config }) => config.get('common_config'))
  const names = new Set([...filters, ...logs].flatMap((place) => clusterOf(place) ?? []))
  return scope.clusters.filter((cluster) => names.has(cluster.get('name').text ?? ''))
}

/** Whether an address, with or without a port, stays on the machine. */
export function isLoopback(address: string): boolean {
  return /^(127\.|::1$|\[::1\]|localhost(:|$)|unix:)/.test(address)
}
