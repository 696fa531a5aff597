import type { CircuitSpec, CircuitState } from './circuits.ts'
import type { CircuitCause } from './events.ts'

/** What a window holds. */
export interface Totals {
  requests: number
  failures: number
  slow: number
}

/** What made a circuit trip, or trip again. */
export type TripCause = 'consecutive_failures' | 'failure_rate' | 'slow_rate' | 'probe_failed'

/** Why a circuit is open: what was counted, and how much of it is too much. */
export interface Trip {
  cause: TripCause
  count: number
  threshold: number
}

/** Somebody's word over the circuit's own, until it ends. */
export interface Override {
  state: 'open' | 'closed'
  reason: string
  /** Milliseconds since the epoch. */
  sinceMs: number
  untilMs: number
}

/** A change of state, as it is remembered. */
export interface Change {
  /** Milliseconds since the epoch. */
  atMs: number
  to: CircuitState
  cause: CircuitCause
  /** Somebody's words, where the cause is an override. */
  reason?: string
}

/** How a circuit stands. */
export interface CircuitView {
  service: string
  /** What requests meet: the override's state where there is one. */
  state: CircuitState
  /** Milliseconds since the epoch at which it took that state. */
  sinceMs: number
  /** The circuit's own state, which an override leaves as it is. */
  own: CircuitState
  generation: number
  /** When the next request may pass, in milliseconds since the epoch; absent where requests pass. */
  retryAtMs?: number
  /** What a closed circuit has counted in its window. */
  counted: Totals
  /** Why it opened last; absent where it never has. */
  trip?: Trip
  override?: Override
  /** Requests pass, and for a minute nobody has told how any of them ended. */
  unobserved: boolean
  /** The latest changes, the last one first. */
  history: readonly Change[]
  spec: CircuitSpec
}

/** What somebody orders. */
export type OverrideOrder =
  | { override: 'none' }
  | { override: 'open' | 'closed'; reason: string; forMs: number }
