/** The circuit of an endpoint at one moment. Nothing here reads a clock. */
export type Circuit =
  /** Deliveries pass; `failures` in a row so far. */
  | { kind: 'closed'; failures: number }
  /** Nothing is attempted until then. `trips` in a row, this one included. */
  | { kind: 'open'; untilMs: number; trips: number }
  /** One attempt at a time tries the endpoint out. */
  | { kind: 'half_open'; trips: number }

/** Failures in a row that open it. */
const threshold = 5

/** How long it stays open, in milliseconds; twice as long each time that a probe fails. */
const openMs = 30_000

/** The longest that it does. */
const maxOpenMs = 10 * 60_000

/** A circuit that nothing is known against. */
export const closedCircuit: Circuit = { kind: 'closed', failures: 0 }

/** Moves on what moves on by itself: an open circuit whose time is up is half open. */
export function advanceCircuit(circuit: Circuit, nowMs: number): Circuit {
  if (circuit.kind !== 'open' || nowMs < circuit.untilMs) return circuit
  return { kind: 'half_open', trips: circuit.trips }
}

/**
 * Learns how an attempt ended. Five failures in a row open it for 30 s, a failed probe for twice as long as before, up to
 * ten minutes; one success closes it. What was sent before it opened and fails later changes nothing.
 */
export function learn(circuit: Circuit, isGood: boolean, nowMs: number): Circuit {
  if (isGood) return closedCircuit
  switch (circuit.kind) {
    case 'closed': {
      const failures = circuit.failures + 1
      return failures < threshold ? { kind: 'closed', failures } : opened(1, nowMs)
    }
    case 'open':
      return circuit
    case 'half_open':
      return opened(circuit.trips + 1, nowMs)
  }
}

function opened(trips: number, nowMs: number): Circuit {
  return { kind: 'open', trips, untilMs: nowMs + Math.min(openMs * 2 ** (trips - 1), maxOpenMs) }
}
