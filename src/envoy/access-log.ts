import { createBacklog } from '../core/backlog.ts'
import { cacheStatus } from '../core/cache-status.ts'
import type { ObservedDecision, Outcome } from '../core/outcome.ts'
import { unmatchedRoute } from '../core/routes.ts'
import { traceId } from '../core/trace.ts'
import { addressText, type ClientAddressSource, clientAddress, grpcStatus, httpStatus } from './attributes.ts'
import type { DecisionObserver } from './ext-authz.ts'
import type { AccessLogCommon__Output } from './gen/envoy/data/accesslog/v3/AccessLogCommon.ts'
import type { HTTPAccessLogEntry__Output } from './gen/envoy/data/accesslog/v3/HTTPAccessLogEntry.ts'
import type { HTTPRequestProperties__Output } from './gen/envoy/data/accesslog/v3/HTTPRequestProperties.ts'
import type { ResponseFlags__Output } from './gen/envoy/data/accesslog/v3/ResponseFlags.ts'
import type { StreamAccessLogsMessage__Output } from './gen/envoy/service/accesslog/v3/StreamAccessLogsMessage.ts'
import type { Duration__Output } from './gen/google/protobuf/Duration.ts'
import type { Seal } from './seal.ts'

/** What the access log service is made of. */
export interface AccessLogParts {
  observe: (outcome: Outcome) => void
  /** Told of entries that are no finished HTTP request, and how many; for metrics. */
  onIgnored: (kind: 'tcp' | 'intermediate', count: number) => void
  /** Told of an entry that could not be taken; the others of its batch are. */
  observer: Pick<DecisionObserver, 'faulted'>
  seal: Pick<Seal, 'open'>
  clientAddress: ClientAddressSource
  /** Runs `task` soon, after what is being done now. */
  defer: (task: () => void) => void
}

/** Takes one batch of Envoy's access log. */
export type TakeBatch = (message: StreamAccessLogsMessage__Output) => void

/** The access log service's reader. */
export interface AccessLog {
  takeBatch: TakeBatch
  /** Takes the entries that wait, at once; for the end. */
  flush(): void
}

// An entry of another type tells of a request that has not ended (periodic, start) or has not only (upstream).
const endOfRequest = new Set<string | undefined>([undefined, 'NotSet', 'DownstreamEnd'])

/**
 * Entries that are taken at once, some half a millisecond's work: a batch brings as many as came within Envoy's flush
 * interval, and all of them at once would be what the slowest verdicts wait for.
 */
const entriesAtOnce = 8

/** Makes the access log service's reader: batches in, outcomes out, a few in each turn of the event loop. */
export function createAccessLog({
  observe,
  onIgnored,
  observer,
  seal,
  clientAddress: source,
  defer,
}: AccessLogParts): AccessLog {
  const waiting = createBacklog<HTTPAccessLogEntry__Output>({
    atOnce: entriesAtOnce,
    defer,
    work: (entries) => entries.forEach(take),
  })

  function take(entry: HTTPAccessLogEntry__Output): void {
    try {
      observe(outcomeOf(entry, seal, source))
    } catch (error) {
      observer.faulted('access_log', error)
    }
  }

  return {
    takeBatch({ http_logs, tcp_logs }) {
      if (tcp_logs?.log_entry) onIgnored('tcp', tcp_logs.log_entry.length)
      for (const entry of http_logs?.log_entry ?? []) {
        if (endOfRequest.has(entry.common_properties?.access_log_type)) waiting.push(entry)
        else onIgnored('intermediate', 1)
      }
    },
    flush: waiting.flush,
  }
}

function outcomeOf(
  entry: HTTPAccessLogEntry__Output,
  seal: Pick<Seal, 'open'>,
  source: ClientAddressSource,
): Outcome {
  const { common_properties: common = {}, request = {}, response = {} } = entry
  const headers = new Map(Object.entries(request.request_headers ?? {}))
  const responseFlags = flagNames(common.response_flags)
  const details = response.response_code_details ?? ''
  return {
    observer: 'access-log',
    startedAtMs: timestampMs(common.start_time),
    durationMs: durationMs(common.duration ?? common.time_to_last_downstream_tx_byte) ?? 0,
    method: methodOf(request),
    path: request.original_path || request.path || '',
    status: httpStatus(response.response_code?.value),
    grpcStatus: grpcStatus(response.response_trailers) ?? grpcStatus(response.response_headers),
    requestId: (request.request_id ?? '').slice(0, 256),
    userAgent: request.user_agent ?? '',
    clientAddress: clientAddress(headers, addressText(common.downstream_direct_remote_address), source),
    bytesIn: sum(request.request_headers_bytes, request.request_body_bytes),
    bytesOut: sum(response.response_headers_bytes, response.response_body_bytes),
    responseFlags,
    details,
    upstreamCluster: common.upstream_cluster || undefined,
    upstreamDurationMs: between(common.time_to_first_upstream_tx_byte, common.time_to_last_upstream_rx_byte),
    upstreamWaitMs: between(common.time_to_last_upstream_tx_byte, common.time_to_first_upstream_rx_byte),
    cacheStatus: cacheStatus(response.response_headers ?? {}),
    traceId: traceId(headers.get('traceparent')),
    decision: decisionOf(common, responseFlags, details, seal),
  }
}

// The filters that can attach Gatepost, each the namespace of its own metadata.
const deciders = ['envoy.filters.http.ext_authz', 'envoy.filters.http.ext_proc']

// What can only happen to a request that has passed every filter, or that ours has stopped. Not NR: ext_authz lets a
// request that has no route pass unasked.
const askedFlags = ['UAEX', 'UH', 'UT', 'UR', 'UF', 'UC', 'UO', 'URX', 'NC']
const askedDetails = /^(via_upstream|direct_response|ext_authz_error|ext_proc_error)/

/**
 * Finds the verdict. Where no sealed one is there, Gatepost gave none: a fault, whether Envoy refused the request for
 * it or `failure_mode_allow` let it through; but a request that Envoy itself answered before any filter asked has none.
 */
function decisionOf(
  { metadata, time_to_first_upstream_tx_byte: sentUpstream }: AccessLogCommon__Output,
  flags: readonly string[],
  details: string,
  seal: Pick<Seal, 'open'>,
): ObservedDecision {
  for (const namespace of deciders) {
    const sealed = seal.open(metadata?.filter_metadata?.[namespace])
    if (sealed) return sealed
  }
  const asked =
    sentUpstream !== undefined ||
    askedFlags.some((flag) => flags.includes(flag)) ||
    askedDetails.test(details)
  return { kind: asked ? 'fault' : 'none', route: unmatchedRoute }
}

function methodOf({ request_method, request_headers }: HTTPRequestProperties__Output): string {
  const { ':method': exact } = request_headers ?? {}
  if (exact) return exact
  // A method that our protos do not know arrives as its number.
  const isNamed = typeof request_method === 'string' && request_method !== 'METHOD_UNSPECIFIED'
  return isNamed ? request_method : ''
}

const flagTable = [
  ['failed_local_healthcheck', 'LH'],
  ['no_healthy_upstream', 'UH'],
  ['upstream_request_timeout', 'UT'],
  ['local_reset', 'LR'],
  ['upstream_remote_reset', 'UR'],
  ['upstream_connection_failure', 'UF'],
  ['upstream_connection_termination', 'UC'],
  ['upstream_overflow', 'UO'],
  ['no_route_found', 'NR'],
  ['delay_injected', 'DI'],
  ['fault_injected', 'FI'],
  ['rate_limited', 'RL'],
  ['unauthorized_details', 'UAEX'],
  ['rate_limit_service_error', 'RLSE'],
  ['downstream_connection_termination', 'DC'],
  ['upstream_retry_limit_exceeded', 'URX'],
  ['stream_idle_timeout', 'SI'],
  ['invalid_envoy_request_headers', 'IH'],
  ['downstream_protocol_error', 'DPE'],
  ['upstream_max_stream_duration_reached', 'UMSDR'],
  ['response_from_cache_filter', 'RFCF'],
  ['no_filter_config_found', 'NFCF'],
  ['duration_timeout', 'DT'],
  ['upstream_protocol_error', 'UPE'],
  ['no_cluster_found', 'NC'],
  ['overload_manager', 'OM'],
  ['dns_resolution_failure', 'DF'],
  ['downstream_remote_reset', 'DR'],
] as const satisfies [keyof ResponseFlags__Output, string][]

function flagNames(flags: ResponseFlags__Output | undefined): readonly string[] {
  return flags ? flagTable.filter(([field]) => flags[field]).map(([, name]) => name) : []
}

/** Far beyond what an entry can mean, while the sum of two still has a year of four digits (RFC 3339). */
const farthestMs = 100_000_000_000_000

function timestampMs(time: AccessLogCommon__Output['start_time']): number {
  return millisecondsOf(time ?? {})
}

function durationMs(duration: Duration__Output | undefined): number | undefined {
  return duration && millisecondsOf(duration)
}

function millisecondsOf({ seconds = 0, nanos = 0 }: Duration__Output): number {
  return Math.min(Math.max(0, seconds * 1_000 + nanos / 1e6), farthestMs)
}

/** Milliseconds from one moment of a request to another; 0 where the other came first. */
function between(
  first: Duration__Output | undefined,
  second: Duration__Output | undefined,
): number | undefined {
  const [from, to] = [durationMs(first), durationMs(second)]
  return from === undefined || to === undefined ? undefined : Math.max(0, to - from)
}

function sum(headers = 0, body = 0): number {
  return headers + body
}
