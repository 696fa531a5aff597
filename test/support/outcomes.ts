import type { Outcome } from '../../src/core/outcome.ts'

/** The outcome of a plain GET that was allowed and answered; `more` replaces whatever matters. */
export function outcomeWith(more: Partial<Outcome> = {}): Outcome {
  return {
    observer: 'access-log',
    startedAtMs: Date.UTC(2030, 0, 1),
    durationMs: 12.5,
    method: 'GET',
    path: '/orders?page=2',
    status: 200,
    grpcStatus: undefined,
    requestId: 'request-1',
    userAgent: 'curl/8',
    clientAddress: '192.0.2.7',
    bytesIn: 120,
    bytesOut: 340,
    responseFlags: [],
    details: 'via_upstream',
    upstreamCluster: 'order_service',
    upstreamDurationMs: 9,
    upstreamWaitMs: 8,
    cacheStatus: undefined,
    traceId: undefined,
    decision: { kind: 'allow', route: 'orders' },
    ...more,
  }
}
