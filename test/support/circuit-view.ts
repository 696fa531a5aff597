import type { CircuitView } from '../../src/core/circuit-view.ts'
import { specWith } from './circuit-specs.ts'

const atMs = Date.parse('2030-01-31T12:00:00Z')

/** A circuit that three failures in a row have opened; `more` replaces whatever matters. */
export function circuitView(more: Partial<CircuitView> = {}): CircuitView {
  return {
    service: 'users',
    state: 'open',
    sinceMs: atMs,
    own: 'open',
    generation: 2,
    retryAtMs: atMs + 5_000,
    counted: { requests: 0, failures: 0, slow: 0 },
    trip: { cause: 'consecutive_failures', count: 3, threshold: 3 },
    unobserved: false,
    history: [{ atMs, to: 'open', cause: 'consecutive_failures' }],
    spec: specWith({ failureRate: 0.5, slowMs: 2_000 }),
    ...more,
  }
}
