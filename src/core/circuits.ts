import type { Denial } from './denials.ts'
import type { Outcome } from './outcome.ts'

/** When the circuit of a service trips, and how it recovers. */
export interface CircuitSpec {
  /** Failures in a row that trip it, none of them more than a window after the one before; 0 never does. */
  failures: number
  /** Length of the sliding window, in milliseconds; it slides by a tenth of itself. */
  windowMs: number
  /** Failures that trip it, as a share of the requests of a window, above 0 and at most 1; absent for never. */
  failureRate?: number
  /** Fewer requests in a window than this say nothing about a rate. */
  minRequests: number
  /** An answer that takes longer, in milliseconds, is slow; absent where none is. */
  slowMs?: number
  /** Slow answers that trip it, as a share of the requests of a window, above 0 and at most 1. */
  slowRate: number
  /** How long it stays open the first time, in milliseconds. */
  openMs: number
  /** Each time that it trips again soon it stays open twice as long, up to so many milliseconds. */
  maxOpenMs: number
  /** Good probes in a row that close it. */
  probes: number
  /** While half open, one request passes in so many milliseconds. */
  probeIntervalMs: number
  /** What counts as a failure beside {@link defaultFailures}. */
  failureOn: FailureClasses
}

/** Statuses that are failures. */
export interface FailureClasses {
  /** HTTP statuses, as ranges with both ends. */
  statuses: readonly (readonly [from: number, to: number])[]
  /** gRPC status codes. */
  grpcStatuses: readonly number[]
}

/** What always is a failure: bad gateway, unavailable, gateway timeout; gRPC's DEADLINE_EXCEEDED and UNAVAILABLE. */
export const defaultFailures: FailureClasses = { statuses: [[502, 504]], grpcStatuses: [4, 14] }

/** `half_open` lets probes through. */
export type CircuitState = 'closed' | 'open' | 'half_open'

/** What a circuit says of a request. */
export interface Admission {
  /** Of the circuit's state; an outcome of another one is ignored. 0 where there is no circuit. */
  generation: number
  /** Whether the request tries out an upstream that was found unfit. */
  probe: boolean
  /** Why it may not pass; absent where it may. */
  denial?: Denial
}

/** A service and its circuit, as a route names them. */
export interface Guarded {
  service?: string
  circuit?: CircuitSpec
}

/** The circuits as a decision needs them. A route that names no service, or no circuit, has none. */
export interface Circuits {
  /** Says whether a request would be admitted, and changes nothing. @param nowMs milliseconds since the epoch. */
  peek(route: Guarded, nowMs: number): Admission
  /** Admits a request, or not; a probe uses up its turn. @param nowMs milliseconds since the epoch. */
  admit(route: Guarded, nowMs: number): Admission
  /**
   * Lets a request pass whatever the circuit says, and sends no probe: for a circuit that only reports. How the request
   * ends counts all the same. @param nowMs milliseconds since the epoch.
   */
  pass(route: Guarded, nowMs: number): Admission
  /** Learns how a request ended that was admitted. @param nowMs milliseconds since the epoch. */
  record(outcome: Outcome, nowMs: number): void
}

/** What stands in for a circuit where there is none. */
export const unguarded: Admission = { generation: 0, probe: false }
