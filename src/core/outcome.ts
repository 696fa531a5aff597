import type { RequestCompleted } from './events.ts'
import { pathWithoutQuery } from './request.ts'
import { maxEventPathBytes, truncateJson } from './text.ts'

/** Who tells Gatepost how requests ended. */
export type Observer = 'access-log' | 'ext-proc'

/** What is known of the verdict on a request that has ended. */
export interface ObservedDecision {
  /** `fault` where a verdict was asked for and Gatepost gave none; `none` where Envoy answered before it asked. */
  kind: 'allow' | 'deny' | 'fault' | 'none'
  /** Label of the route; `unmatched` where nothing trustworthy names it. */
  route: string
  service?: string
  userId?: string
  clientId?: string
  /** Of the circuit's state that admitted the request; absent where no circuit was asked. */
  circuitGeneration?: number
  /** Reasons for which the request would have been refused, were the parts at issue not in shadow mode. */
  shadow?: readonly string[]
}

/** How a request ended, as an observer saw it. Strings are as the client sent them unless said otherwise. */
export interface Outcome {
  observer: Observer
  /** Milliseconds since the epoch. */
  startedAtMs: number
  durationMs: number
  method: string
  path: string
  /** HTTP status that the client got; 0 where it got none. */
  status: number
  /** gRPC status code, where the observer saw one. */
  grpcStatus: number | undefined
  requestId: string
  userAgent: string
  clientAddress: string | undefined
  /** Headers and body, as far as the observer counts them. */
  bytesIn: number | undefined
  bytesOut: number | undefined
  /** Envoy's short names, such as `UF` or `DC`. */
  responseFlags: readonly string[]
  /** Envoy's `response_code_details`; empty if it said nothing. */
  details: string
  /** The upstream cluster, once a request was sent there. */
  upstreamCluster: string | undefined
  /** From the first byte sent to the upstream to the last of its answer. */
  upstreamDurationMs: number | undefined
  /** From the last byte sent to the upstream to the first of its answer: the upstream's own doing. */
  upstreamWaitMs: number | undefined
  cacheStatus: 'hit' | 'miss' | undefined
  traceId: string | undefined
  decision: ObservedDecision
}

/** The upstream service of a request: as the route names it, else Envoy's cluster. */
export function upstreamService({ decision, upstreamCluster }: Outcome): string | undefined {
  return decision.service ?? upstreamCluster
}

const maxMethodBytes = 64
const maxUserAgentBytes = 512
const maxServiceBytes = 256

/** The event of a finished request. What is not known is left out. */
export function requestCompleted(outcome: Outcome): RequestCompleted {
  const { decision } = outcome
  const service = upstreamService(outcome)
  const data: { [K in keyof RequestCompleted]: RequestCompleted[K] | undefined } = {
    method: truncateJson(outcome.method, maxMethodBytes),
    path: truncateJson(pathWithoutQuery(outcome.path), maxEventPathBytes),
    status_code: outcome.status,
    duration_ms: Math.round(outcome.durationMs * 1_000) / 1_000,
    user_id: decision.userId,
    client_ip: outcome.clientAddress,
    user_agent: truncateJson(outcome.userAgent, maxUserAgentBytes) || undefined,
    upstream_service: service && truncateJson(service, maxServiceBytes),
    cache_status: outcome.cacheStatus,
    route: decision.route,
    client_id: decision.clientId,
    decision: decision.kind,
    shadow: decision.shadow && decision.shadow.length > 0 ? [...decision.shadow] : undefined,
    bytes_in: outcome.bytesIn,
    bytes_out: outcome.bytesOut,
    response_flags: outcome.responseFlags.length > 0 ? [...outcome.responseFlags] : undefined,
    trace_id: outcome.traceId,
  }
  for (const key of Object.keys(data) as (keyof RequestCompleted)[]) {
    if (data[key] === undefined) delete data[key]
  }
  return data as RequestCompleted
}
