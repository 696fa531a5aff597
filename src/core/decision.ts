import type { Admission } from './circuits.ts'
import { type Denial, denialRow } from './denials.ts'
import type { Caller, HeaderChanges } from './identity.ts'
import type { RouteSpec } from './routes.ts'
import type { ShadowDenial } from './shadow.ts'

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
  /** How the circuit of the route's service let it through. */
  admission: Admission
  /** What would have refused it, were the part not in shadow mode; mostly empty. */
  shadow: readonly ShadowDenial[]
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
  /** Reasons for which it would have been refused, by blanks. */
  shadow: string
  /** Of the circuit's state that admitted the request; 0 where no circuit was asked. */
  circuit_generation: number
  /** 1 for a request that tries out an upstream that was found unfit, else 0. */
  probe: number
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
    ...circuitMetadata(decision),
  }
}

/** Reasons for which a decision would have been a denial, were the parts at issue not in shadow mode. */
export function shadowReasons(decision: Decision): readonly string[] {
  return decision.kind === 'allow' ? decision.shadow.map(({ reason }) => reason) : []
}

function circuitMetadata(
  decision: Decision,
): Pick<DecisionMetadata, 'shadow' | 'circuit_generation' | 'probe'> {
  if (decision.kind === 'deny') return { shadow: '', circuit_generation: 0, probe: 0 }
  const { generation, probe } = decision.admission
  return {
    shadow: shadowReasons(decision).join(' '),
    circuit_generation: generation,
    probe: probe ? 1 : 0,
  }
}
