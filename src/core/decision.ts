import { type Denial, denialRow } from './denials.ts'
import type { Caller, HeaderChanges } from './identity.ts'
import type { RouteSpec } from './routes.ts'

interface DecisionBase {
  /** 128 random bits in hex, ours: unlike a request id, no client can choose it. */
  decisionId: string
  route: RouteSpec
  /** Who is calling, as far as that was established. */
  caller: Caller
}

/** The request may go on. */
export interface Allow extends DecisionBase {
  kind: 'allow'
  /** How the upstream's request differs from the client's. */
  upstreamHeaders: HeaderChanges
  /** Headers that the client gets with the upstream's response. */
  clientHeaders: readonly (readonly [name: string, value: string])[]
}

/** The request is refused. */
export interface Deny extends DecisionBase {
  kind: 'deny'
  denial: Denial
}

/** A verdict. A fault gives none. */
export type Decision = Allow | Deny

/** `allow`, or the reason of a denial. */
export function decisionReason(decision: Decision): string {
  return decision.kind === 'allow' ? 'ok' : decision.denial.reason
}

/** The HTTP status that the decision itself gives the client; 0 where the upstream will choose it. */
export function decisionStatus(decision: Decision): number {
  return decision.kind === 'allow' ? 0 : denialRow(decision.denial).httpStatus
}

/** What the observer is told of a decision, by way of Envoy's dynamic metadata. Empty texts stand for what is absent. */
export interface DecisionMetadata {
  decision_id: string
  request_id: string
  route: string
  service: string
  user_id: string
  client_id: string
  issuer: string
  decision: string
  reason: string
  /** HTTP status of a denial; 0 for an allow. */
  status: number
}

/**
 * Writes what the observer is told. Every field is there, empty or not: Envoy merges metadata field by field, and one
 * left out could be filled by a client.
 */
export function decisionMetadata(decision: Decision, requestId: string): DecisionMetadata {
  const { route, caller } = decision
  const identity = caller.kind === 'anonymous' ? undefined : caller
  return {
    decision_id: decision.decisionId,
    request_id: requestId,
    route: route.name,
    service: route.service ?? '',
    user_id: identity?.userId ?? '',
    client_id: identity?.clientId ?? '',
    issuer: identity?.issuer ?? '',
    decision: decision.kind,
    reason: decisionReason(decision),
    status: decisionStatus(decision),
  }
}
