import { type Allow, type Decision, type Deny, decisionMetadata } from '../core/decision.ts'
import { denialRow } from '../core/denials.ts'
import type { Gateway } from '../core/gateway.ts'
import { denialReply } from '../core/reply.ts'
import type { Door, RequestContext } from '../core/request.ts'
import { type ClientAddressSource, checkRequestContext } from './attributes.ts'
import type { HeaderValueOption } from './gen/envoy/config/core/v3/HeaderValueOption.ts'
import type { CheckRequest__Output } from './gen/envoy/service/auth/v3/CheckRequest.ts'
import type { CheckResponse } from './gen/envoy/service/auth/v3/CheckResponse.ts'
import type { StatusCode } from './gen/envoy/type/v3/StatusCode.ts'
import type { Seal } from './seal.ts'

/** `envoy.service.auth.v3.Authorization/Check` as a function; it rejects where there is no verdict. */
export type Check = (request: CheckRequest__Output) => Promise<CheckResponse>

/** Told how each request ended; for metrics and logs. */
export interface DecisionObserver {
  decided(request: RequestContext, decision: Decision): void
  /** @param request as far as it was known. */
  faulted(door: Door, error: unknown, request?: RequestContext): void
}

/** What the door is made of. */
export interface ExtAuthzParts {
  decide: Gateway['decide']
  observer: DecisionObserver
  seal: Pick<Seal, 'close'>
  clientAddress: ClientAddressSource
  /** Milliseconds since the epoch. */
  now: () => number
}

/** Makes the ext_authz door. It knows messages, not calls, so that the transport below can be exchanged. */
export function createExtAuthz({ decide, observer, seal, clientAddress, now }: ExtAuthzParts): Check {
  return async (message) => {
    const request = checkRequestContext(message, now(), clientAddress)
    try {
      const decision = await decide(request)
      observer.decided(request, decision)
      const response = decision.kind === 'allow' ? allowed(decision) : denied(decision, request)
      return { ...response, dynamic_metadata: seal.close(decisionMetadata(decision, request.requestId)) }
    } catch (error) {
      observer.faulted('ext_authz', error, request)
      throw error
    }
  }
}

function allowed({ upstreamHeaders, clientHeaders }: Allow): CheckResponse {
  return {
    status: { code: 0 },
    ok_response: {
      headers: upstreamHeaders.set.map(overwrite),
      headers_to_remove: [...upstreamHeaders.remove],
      response_headers_to_add: clientHeaders.map(overwrite),
    },
  }
}

function denied({ denial }: Deny, request: RequestContext): CheckResponse {
  const { httpStatus, headers, body } = denialReply(denial, request)
  return {
    status: { code: denialRow(denial).grpcStatus, message: denial.reason },
    denied_response: { status: { code: httpStatus as StatusCode }, headers: headers.map(overwrite), body },
  }
}

function overwrite([key, value]: readonly [string, string]): HeaderValueOption {
  return { header: { key, value }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' }
}
