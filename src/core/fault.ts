/** The part of Gatepost in which a fault arose; a label of `gateway_faults_total`. */
export type FaultPart = 'auth' | 'door' | 'routes' | 'internal'

/**
 * A fault of ours: Gatepost could not decide. It is not a denial; the doors turn it into a gRPC status, so that
 * Envoy's `failure_mode_allow` rules.
 */
export class Fault extends Error {
  readonly part: FaultPart

  constructor(part: FaultPart, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'Fault'
    this.part = part
  }
}

/** The part to count a thrown value under: `internal` for whatever nobody foresaw. */
export function faultPart(error: unknown): FaultPart {
  return error instanceof Fault ? error.part : 'internal'
}
