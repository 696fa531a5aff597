import { type Allow, type Decision, type Deny, decisionMetadata } from '../core/decision.ts'
import { denialRow } from '../core/denials.ts'
import type { Gateway } from '../core/gateway.ts'
import { grpcReply, httpReply } from '../core/reply.ts'
import { isGrpcCall, type RequestContext } from '../core/request.ts'
import { checkRequestContext } from './attributes.ts'
import type { HeaderValueOption } from './gen/envoy/config/core/v3/HeaderValueOption.ts'
import type { CheckRequest__Output } from './gen/envoy/service/auth/v3/CheckRequest.ts'
import type { CheckResponse } from './gen/envoy/service/auth/v3/CheckResponse.ts'
import type { StatusCode } from './gen/envoy/type/v3/StatusCode.ts'
import { toStruct } from './struct.ts'

/** `envoy.service.auth.v3.Authorization/Check` as a function; it rejects where there is no verdict. */
export type Check = (request: CheckRequest__Output) => Promise<CheckResponse>

/** Told how each request ended; for metrics and logs. */
export interface DecisionObserver {
  decided(request: RequestContext, decision: Decision): void
  faulted(request: RequestContext, error: unknown): void
}

/** What the door is made of. */
export interface ExtAuthzParts {
  decide: Gateway['decide']
  observer: DecisionObserver
  /** Milliseconds since the epoch. */
  now: () => number
}

/** Makes the ext_authz door. It knows messages, not calls, so that the transport below can be exchanged. */
export function createExtAuthz({ decide, observer, now }: ExtAuthzParts): Check {
  return async (message) => {
    const request = checkRequestContext(message, now())
    try {
      const decision = await decide(request)
      observer.decided(request, decision)
      return decision.kind === 'allow' ? allowed(decision, request) : denied(decision, request)
    } catch (error) {
      observer.faulted(request, error)
      throw error
    }
  }
}

function allowed(decision: Allow, request: RequestContext): CheckResponse {
  const { set, remove } = decision.upstreamHeaders
  return {
    status: { code: 0 },
    ok_response: { headers: set.map(overwrite), headers_to_remove: [...remove] },
    dynamic_metadata: toStruct(decisionMetadata(decision, request.requestId)),
  }
}

function denied(decision: Deny, request: RequestContext): CheckResponse {
  const { denial } = decision
  const { httpStatus, headers, body } = isGrpcCall(request)
    ? grpcReply(denial)
    : httpReply(denial, request.requestId)
  return {
    status: { code: denialRow(denial).grpcStatus, message: denial.reason },
    denied_response: { status: { code: httpStatus as StatusCode }, headers: headers.map(overwrite), body },
    dynamic_metadata: toStruct(decisionMetadata(decision, request.requestId)),
  }
}

function overwrite([key, value]: readonly [string, string]): HeaderValueOption {
  return { header: { key, value }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' }
}
