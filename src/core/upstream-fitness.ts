import { defaultFailures, type FailureClasses } from './circuits.ts'
import type { Outcome } from './outcome.ts'

/** What an outcome says of the upstream; undefined where it says nothing. */
export interface Evidence {
  failed: boolean
  slow: boolean
}

/** What makes evidence of an outcome. */
export interface FitnessRules {
  /** An answer that takes longer, in milliseconds, is slow; absent where none is. */
  slowMs?: number
  /** Failures beside {@link defaultFailures}. */
  failureOn: FailureClasses
}

type Ending = Pick<Outcome, 'status' | 'grpcStatus' | 'responseFlags' | 'details' | 'upstreamWaitMs'> & {
  decision: Pick<Outcome['decision'], 'kind'>
}

/** A protocol that was switched to (WebSocket): it lasts as long as it likes, and ends how it likes. */
const switchingProtocols = 101

// Envoy's flags. What the client or a guard of Envoy's own has ended says nothing of the upstream: gone downstream
// (DC, DR, DPE, DT, IH), its pools full (UO, OM), its own limits and faults (RL, RLSE, FI), no such route or cluster.
const saysNothing = [
  'DC',
  'DR',
  'DPE',
  'DT',
  'IH',
  'UO',
  'OM',
  'RL',
  'RLSE',
  'FI',
  'NR',
  'NC',
  'NFCF',
  'UAEX',
]

// No healthy host, connection failed or cut, reset by the upstream, too late, unspeakable, not found by DNS.
const upstreamFailed = ['UH', 'UF', 'UC', 'UR', 'UT', 'UMSDR', 'UPE', 'DF', 'LR']

// The same in `response_code_details`, for an observer that sees no flags; whatever else Envoy answers says nothing either,
// but for a 504.
const detailsOfNothing = /overflow|^(direct_response|fault_filter_|downstream)/
const detailsOfFailure = /^(upstream_|response_timeout|no_healthy_upstream|dns_resolution_failure)/

/**
 * Reads an outcome as evidence of whether the upstream is fit. A denial, a request that Gatepost gave no verdict on, a
 * client that left, an overflow and whatever Envoy answers by itself are none: none of them is the upstream's doing.
 */
export function evidenceOf(outcome: Ending, { slowMs, failureOn }: FitnessRules): Evidence | undefined {
  const { details, status } = outcome
  if (outcome.decision.kind !== 'allow' || isOf(outcome, saysNothing, detailsOfNothing)) return undefined
  if (status === switchingProtocols) return { failed: false, slow: false }
  const slow = slowMs !== undefined && (outcome.upstreamWaitMs ?? 0) > slowMs
  if (isOf(outcome, upstreamFailed, detailsOfFailure)) return { failed: true, slow }
  // A 504 of Envoy's own says that the upstream was too late, whichever of its timeouts noticed.
  const isLocal = details !== '' && details !== 'via_upstream' && status !== 504
  if (isLocal || status === 0) return undefined
  return { failed: [defaultFailures, failureOn].some((classes) => isFailure(outcome, classes)), slow }
}

function isOf({ responseFlags, details }: Ending, flags: readonly string[], shape: RegExp): boolean {
  return flags.some((flag) => responseFlags.includes(flag)) || shape.test(details)
}

function isFailure({ status, grpcStatus }: Ending, { statuses, grpcStatuses }: FailureClasses): boolean {
  return (
    statuses.some(([from, to]) => status >= from && status <= to) ||
    (grpcStatus !== undefined && grpcStatuses.includes(grpcStatus))
  )
}
