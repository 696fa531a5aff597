import type { CircuitSpec } from '../../src/core/circuits.ts'

/** A circuit that trips by three failures in a row alone; `more` replaces whatever matters. */
export function specWith(more: Partial<CircuitSpec> = {}): CircuitSpec {
  return {
    failures: 3,
    windowMs: 10_000,
    minRequests: 10,
    slowRate: 0.8,
    openMs: 5_000,
    maxOpenMs: 60_000,
    probes: 2,
    probeIntervalMs: 1_000,
    failureOn: { statuses: [], grpcStatuses: [] },
    ...more,
  }
}
