import { type Allow, type Decision, type Deny, decisionMetadata, decisionStatus } from '../core/decision.ts'
import { denialRow } from '../core/denials.ts'
import { Fault } from '../core/fault.ts'
import type { Gateway } from '../core/gateway.ts'
import type { ObservedDecision, Outcome } from '../core/outcome.ts'
import { denialReply } from '../core/reply.ts'
import { isGrpcCall, type RequestContext, type RouteOverrides } from '../core/request.ts'
import { type ClientAddressSource, processingRequestContext } from './attributes.ts'
import type { DecisionObserver } from './ext-authz.ts'
import {
  outcomeOfDenial,
  outcomeOfFault,
  outcomeOfResponse,
  outcomeOfTrailers,
  outcomeWithoutResponse,
} from './ext-proc-outcome.ts'
import { type ProcRoles, readProcSettings } from './ext-proc-settings.ts'
import type { HeaderValueOption } from './gen/envoy/config/core/v3/HeaderValueOption.ts'
import type { ImmediateResponse } from './gen/envoy/service/ext_proc/v3/ImmediateResponse.ts'
import type { ProcessingRequest__Output } from './gen/envoy/service/ext_proc/v3/ProcessingRequest.ts'
import type { ProcessingResponse } from './gen/envoy/service/ext_proc/v3/ProcessingResponse.ts'
import type { StatusCode } from './gen/envoy/type/v3/StatusCode.ts'
import type { Seal } from './seal.ts'

/** One ext_proc stream, which is one request. Messages are taken one after the other. */
export interface ProcSession {
  /**
   * Takes a message and gives the answer, or none where Envoy wants none.
   * @throws Fault where there is no verdict, or where the message is not due.
   */
  take(message: ProcessingRequest__Output): Promise<ProcessingResponse | undefined>
  /**
   * Envoy sends no more.
   * @throws Fault where it asked for a verdict and has none: a clean end would let the request pass.
   */
  end(): void
  /** The stream is gone; after the last answer that is how Envoy ends it. */
  cancel(): void
}

/** Opens a session for a stream with this initial metadata. */
export type OpenProcSession = (initialMetadata: Readonly<Record<string, string>>) => ProcSession

/** What the door is made of. */
export interface ExtProcParts {
  decide: Gateway['decide']
  observe: (outcome: Outcome) => void
  observer: DecisionObserver
  seal: Seal
  clientAddress: ClientAddressSource
  /** Milliseconds since the epoch. */
  now: () => number
}

type MessageKind = NonNullable<ProcessingRequest__Output['request']>

type Phase = 'start' | 'request' | 'response' | 'over'

// What may come in which phase, and which phase it leads to.
const transitions: Readonly<Record<MessageKind, { from: readonly Phase[]; to: Phase }>> = {
  request_headers: { from: ['start'], to: 'request' },
  request_body: { from: ['request'], to: 'request' },
  request_trailers: { from: ['request'], to: 'request' },
  // A filter before ours may have answered by itself: then the response is the first that ours hears of.
  response_headers: { from: ['start', 'request'], to: 'response' },
  response_body: { from: ['response'], to: 'response' },
  response_trailers: { from: ['response'], to: 'response' },
}

/** Makes the ext_proc door. It knows messages, not calls, so that the transport below can be exchanged. */
export function createExtProc(parts: ExtProcParts): OpenProcSession {
  return (initialMetadata) => {
    try {
      return new Session(parts, readProcSettings(initialMetadata))
    } catch (error) {
      parts.observer.faulted('ext_proc', error)
      throw error
    }
  }
}

class Session implements ProcSession {
  readonly #parts: ExtProcParts
  readonly #roles: ProcRoles
  readonly #overrides: RouteOverrides
  #phase: Phase = 'start'
  #request: RequestContext | undefined
  #decision: Decision | undefined
  #forwarded: ObservedDecision | undefined
  #observed = false
  /** Of a gRPC call whose status is still to come in the trailers. */
  #unfinished: Outcome | undefined
  #mayAnswer = true

  constructor(parts: ExtProcParts, { roles, overrides }: ReturnType<typeof readProcSettings>) {
    this.#parts = parts
    this.#roles = roles
    this.#overrides = overrides
  }

  async take(message: ProcessingRequest__Output): Promise<ProcessingResponse | undefined> {
    try {
      const kind = this.#advance(message)
      this.#mayAnswer = !message.observability_mode
      const answer = await this.#answer(kind, message)
      return this.#mayAnswer ? answer : undefined
    } catch (error) {
      throw this.#fault(error)
    }
  }

  end(): void {
    // A response that came without its request was made by another filter: nobody asked for a verdict.
    const isOwed = this.#phase === 'start' || this.#phase === 'request'
    if (isOwed && this.#roles.decide && this.#mayAnswer && !this.#decision) {
      throw this.#fault(
        new Fault('door', 'Cannot end the ext_proc stream well: it asked for a verdict and got none'),
      )
    }
    this.cancel()
  }

  cancel(): void {
    if (this.#phase === 'request' && this.#request)
      this.#observe(outcomeWithoutResponse(this.#seen(this.#request)))
    if (this.#unfinished) this.#observe(this.#unfinished)
    this.#phase = 'over'
  }

  #fault(error: unknown): unknown {
    this.#phase = 'over'
    this.#parts.observer.faulted('ext_proc', error, this.#request)
    // Of a gRPC call whose answer had begun, its headers are known.
    if (this.#request) this.#observe(this.#unfinished ?? this.#outcomeOfFault(this.#request))
    return error
  }

  /** A verdict that had been given stays, whatever went wrong later. */
  #outcomeOfFault(request: RequestContext): Outcome {
    const seen = this.#seen(request)
    return this.#decision ? outcomeWithoutResponse(seen) : outcomeOfFault(seen)
  }

  #advance({ request: kind }: ProcessingRequest__Output): MessageKind {
    const transition = kind && transitions[kind]
    if (!kind || !transition?.from.includes(this.#phase)) {
      throw new Fault(
        'door',
        `Cannot take ${kind ?? 'an empty message'} in an ext_proc stream at this point (${this.#phase})`,
      )
    }
    this.#phase = transition.to
    return kind
  }

  async #answer(kind: MessageKind, message: ProcessingRequest__Output): Promise<ProcessingResponse> {
    switch (kind) {
      case 'request_headers':
        return this.#requestHeaders(message)
      case 'response_headers':
        return this.#responseHeaders(message)
      case 'request_body':
        return { request_body: {} }
      case 'response_body':
        return { response_body: {} }
      case 'request_trailers':
        return { request_trailers: {} }
      case 'response_trailers':
        return this.#responseTrailers(message)
    }
  }

  async #requestHeaders(message: ProcessingRequest__Output): Promise<ProcessingResponse> {
    const { decide, observer, seal, clientAddress, now } = this.#parts
    const request = processingRequestContext(message, now(), this.#overrides, clientAddress)
    this.#request = request
    this.#forwarded = seal.open(message.metadata_context?.filter_metadata?.[extAuthzNamespace])
    if (!this.#roles.decide || !this.#mayAnswer) return { request_headers: {} }

    const decision = await decide(request)
    this.#decision = decision
    observer.decided(request, decision)
    const metadata = seal.close(decisionMetadata(decision, request.requestId))
    const dynamic_metadata = { fields: { [namespace]: { structValue: metadata } } }
    if (decision.kind === 'allow') return { ...this.#allowed(decision, request), dynamic_metadata }

    this.#phase = 'over'
    this.#observe(outcomeOfDenial(this.#seen(request), decisionStatus(decision)))
    return { immediate_response: denied(decision, request), dynamic_metadata }
  }

  /** Lets the request pass, and asks for a response phase where there is something to do in it, and only there. */
  #allowed({ upstreamHeaders, clientHeaders }: Allow, request: RequestContext): ProcessingResponse {
    const header_mutation = {
      set_headers: upstreamHeaders.set.map(overwrite),
      remove_headers: [...upstreamHeaders.remove],
    }
    const needsResponse = this.#roles.observe || clientHeaders.length > 0
    return {
      request_headers: { response: { header_mutation } },
      mode_override: {
        response_header_mode: needsResponse ? 'SEND' : 'SKIP',
        // A gRPC call tells how it ended after everything else.
        ...(this.#roles.observe && isGrpcCall(request) && { response_trailer_mode: 'SEND' }),
      },
    }
  }

  #responseHeaders(message: ProcessingRequest__Output): ProcessingResponse {
    if (this.#request) this.#learn(this.#request, outcomeOfResponse(this.#seen(this.#request), message))
    const headers = this.#decision?.kind === 'allow' ? this.#decision.clientHeaders : []
    if (headers.length === 0) return { response_headers: {} }
    return { response_headers: { response: { header_mutation: { set_headers: headers.map(overwrite) } } } }
  }

  #learn(request: RequestContext, outcome: Outcome): void {
    if (isGrpcCall(request) && outcome.grpcStatus === undefined) this.#unfinished = outcome
    else this.#observe(outcome)
  }

  #responseTrailers(message: ProcessingRequest__Output): ProcessingResponse {
    if (this.#unfinished) this.#observe(outcomeOfTrailers(this.#unfinished, message, this.#parts.now()))
    return { response_trailers: {} }
  }

  #seen(request: RequestContext) {
    return { request, decision: this.#decision, forwarded: this.#forwarded, nowMs: this.#parts.now() }
  }

  #observe(outcome: Outcome): void {
    if (!this.#roles.observe || this.#observed) return
    this.#observed = true
    this.#parts.observe(outcome)
  }
}

/** The namespace in which a decision made by ext_authz is told. */
const extAuthzNamespace = 'envoy.filters.http.ext_authz'

/** The namespace of our metadata; the filter must be configured to receive it (`metadata_options`). */
const namespace = 'envoy.filters.http.ext_proc'

function denied({ denial }: Deny, request: RequestContext): ImmediateResponse {
  const { httpStatus, headers, body } = denialReply(denial, request)
  return {
    status: { code: httpStatus as StatusCode },
    headers: { set_headers: headers.map(overwrite) },
    body: Buffer.from(body),
    details: `gatepost_${denial.reason}`,
    ...(isGrpcCall(request) && { grpc_status: { status: denialRow(denial).grpcStatus } }),
  }
}

function overwrite([key, value]: readonly [string, string]): HeaderValueOption {
  return { header: { key, raw_value: Buffer.from(value) }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' }
}
