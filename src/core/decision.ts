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

/**
 * What the observer is told of a decision, as Envoy's dynamic metadata. Absent values are left out.
 * The namespace can be written by other filters: it enriches an observation and is never believed as a verdict.
 */
export function decisionMetadata(decision: Decision, requestId: string): Record<string, string | number> {
  const { route, caller } = decision
  const identity = caller.kind === 'anonymous' ? undefined : caller
  return withoutAbsent({
    decision_id: decision.decisionId,
    request_id: requestId || undefined,
    route: route.name,
    service: route.service,
    user_id: identity?.userId,
    client_id: identity?.clientId,
    issuer: identity?.issuer,
    decision: decision.kind,
    reason: decisionReason(decision),
    status: decisionStatus(decision) || undefined,
  })
}

function withoutAbsent<V>(record: Record<string, V | undefined>): Record<string, V> {
  const present: Record<string, V> = {}
  for (const [key, value] of Object.entries(record)) if (value !== undefined) present[key] = value
  return present
}
