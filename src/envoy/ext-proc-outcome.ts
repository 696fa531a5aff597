import { cacheHeaderNames, cacheStatus } from '../core/cache-status.ts'
import { type Decision, shadowReasons } from '../core/decision.ts'
import type { ObservedDecision, Outcome } from '../core/outcome.ts'
import type { RequestContext } from '../core/request.ts'
import { unmatchedRoute } from '../core/routes.ts'
import { traceId } from '../core/trace.ts'
import { grpcStatus, headerText, httpStatus } from './attributes.ts'
import type { HeaderMap__Output } from './gen/envoy/config/core/v3/HeaderMap.ts'
import type { ProcessingRequest__Output } from './gen/envoy/service/ext_proc/v3/ProcessingRequest.ts'

/** What a stream has shown so far. */
export interface Seen {
  request: RequestContext
  /** The decision made on this stream; absent where it only observes. */
  decision: Decision | undefined
  /** The decision that another filter's metadata told of, its seal unbroken. */
  forwarded: ObservedDecision | undefined
  nowMs: number
}

/** The outcome of a request whose response is on its way to the client. */
export function outcomeOfResponse(seen: Seen, message: ProcessingRequest__Output): Outcome {
  const headers = responseHeaders(message)
  return {
    ...baseOf(seen),
    status: httpStatus(headers[':status']),
    // The time of the decision is in it: this observer sees no moment after that but this one.
    upstreamWaitMs: Math.max(0, seen.nowMs - seen.request.receivedAtMs),
    grpcStatus: grpcStatus(headers),
    details: detailsOf(message, headers),
    cacheStatus: cacheStatus(headers),
  }
}

/** The outcome of a gRPC call once its trailers are there. */
export function outcomeOfTrailers(
  outcome: Outcome,
  { response_trailers }: ProcessingRequest__Output,
  nowMs: number,
): Outcome {
  return {
    ...outcome,
    durationMs: Math.max(0, nowMs - outcome.startedAtMs),
    grpcStatus: grpcStatus(textOf(response_trailers?.trailers)),
  }
}

/** What Envoy says of an answer's origin, where the filter is configured to send it; it marks overflows in any case. */
function detailsOf({ attributes }: ProcessingRequest__Output, headers: Record<string, string>): string {
  const sent = attributes?.['envoy.filters.http.ext_proc']?.fields ?? {}
  const { 'x-envoy-overloaded': overloaded } = headers
  return sent['response.code_details']?.stringValue || (overloaded === undefined ? '' : 'overflow')
}

/** The outcome of a request that was refused here. */
export function outcomeOfDenial(seen: Seen, status: number): Outcome {
  return { ...baseOf(seen), status }
}

/** The outcome of a request whose stream ended before any response: the client left, or Envoy gave up. */
export function outcomeWithoutResponse(seen: Seen): Outcome {
  return { ...baseOf(seen), status: 0 }
}

/** The outcome of a request that was to be decided here and was not. What Envoy then tells the client, it tells nobody. */
export function outcomeOfFault(seen: Seen): Outcome {
  return { ...baseOf(seen), status: 0, decision: { kind: 'fault', route: unmatchedRoute } }
}

function baseOf({ request, decision, forwarded, nowMs }: Seen): Omit<Outcome, 'status'> {
  return {
    observer: 'ext-proc',
    startedAtMs: request.receivedAtMs,
    // The clock may have been set back meanwhile.
    durationMs: Math.max(0, nowMs - request.receivedAtMs),
    method: request.method,
    path: request.path,
    requestId: request.requestId,
    userAgent: request.headers.get('user-agent') ?? '',
    clientAddress: request.clientAddress,
    bytesIn: undefined,
    bytesOut: undefined,
    grpcStatus: undefined,
    responseFlags: [],
    details: '',
    upstreamCluster: undefined,
    upstreamDurationMs: undefined,
    upstreamWaitMs: undefined,
    cacheStatus: undefined,
    traceId: traceId(request.headers.get('traceparent')),
    decision: decision ? observedDecision(decision) : (forwarded ?? { kind: 'none', route: unmatchedRoute }),
  }
}

function observedDecision(decision: Decision): ObservedDecision {
  const { kind, route, caller } = decision
  const generation = decision.kind === 'allow' ? decision.admission.generation : 0
  const shadow = shadowReasons(decision)
  const { userId, clientId } = caller.kind === 'anonymous' ? {} : caller
  return {
    kind,
    route: route.name,
    ...(route.service !== undefined && { service: route.service }),
    ...(userId !== undefined && { userId }),
    ...(clientId !== undefined && { clientId }),
    ...(generation > 0 && { circuitGeneration: generation }),
    ...(shadow.length > 0 && { shadow }),
  }
}

const wanted = new Set<string>([':status', 'grpc-status', 'x-envoy-overloaded', ...cacheHeaderNames])

function responseHeaders({ response_headers }: ProcessingRequest__Output): Record<string, string> {
  return textOf(response_headers?.headers)
}

function textOf(map: HeaderMap__Output | undefined): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const header of map?.headers ?? []) {
    if (header.key !== undefined && wanted.has(header.key)) headers[header.key] = headerText(header)
  }
  return headers
}
