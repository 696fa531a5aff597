import { showRate } from '../core/rates.ts'
import type { AttemptView, DeliveryView, WebhookView } from '../core/webhook-admin.ts'
import type { LaneState } from './deliverer.ts'
import type { Target } from './registry.ts'
import type { AttemptRow, DeliveryRow, QueueState } from './tables.ts'

/** Writes an endpoint as it is shown. */
export function showWebhook(target: Target, queue: QueueState, lane: LaneState, nowMs: number): WebhookView {
  const { endpoint, source, condition, why, control } = target
  const { circuit, health } = lane
  const { maxRetries, backoffMs } = endpoint.retryPolicy
  const { disabled } = control
  return {
    id: endpoint.id,
    source,
    url: showUrl(endpoint.url),
    events: endpoint.events,
    active: endpoint.active,
    retryPolicy: { maxRetries, backoffSeconds: backoffMs / 1_000 },
    headerNames: Object.keys(endpoint.headers),
    ...(endpoint.rateLimit && { rateLimit: showRate(endpoint.rateLimit) }),
    filters: endpoint.filters,
    ordered: endpoint.ordered,
    concurrency: endpoint.concurrency,
    timeoutSeconds: endpoint.timeoutMs / 1_000,
    secrets: endpoint.secrets
      .filter(({ untilMs }) => untilMs === undefined || nowMs < untilMs)
      .map(({ untilMs }) => ({ ...(untilMs !== undefined && { untilMs }) })),
    condition,
    ...(why !== undefined && { why }),
    ...(condition === 'disabled' && disabled && { disabledAtMs: disabled.atMs }),
    pending: queue.pending,
    ...(queue.oldestMs !== undefined && { oldestPendingAtMs: queue.oldestMs }),
    failuresInRow: health.failures,
    ...(health.failingSinceMs !== undefined && { failingSinceMs: health.failingSinceMs }),
    circuit: circuit.kind,
    ...(circuit.kind === 'open' && { circuitUntilMs: circuit.untilMs }),
  }
}

/** The URL without the values of its query: these may be tokens. */
function showUrl(text: string): string {
  const url = URL.parse(text)
  if (!url?.search) return text
  return text.replace(/([?&][^=&#]*=)[^&#]*/g, '$1***')
}

/** The URL without its query and whatever else may be a token there. */
export function bareUrl(text: string): string {
  const url = URL.parse(text)
  return url ? `${url.origin}${url.pathname}` : ''
}

/** Writes a delivery as it is shown. */
export function showDelivery(row: DeliveryRow): DeliveryView {
  return {
    id: row.id,
    webhookId: row.endpoint_id,
    eventId: row.event_id,
    eventType: row.type,
    status: row.status,
    ...(row.reason !== null && { reason: row.reason }),
    attempts: row.attempts,
    createdAtMs: row.created_ms,
    ...(row.status === 'pending' && { nextAttemptAtMs: row.due_ms }),
    ...(row.finished_ms !== null && { finishedAtMs: row.finished_ms }),
    ...(row.replay_of !== null && { replayOf: row.replay_of }),
    ...(row.replayed_by !== null && { replayedBy: row.replayed_by }),
    test: row.test === 1,
  }
}

/** Writes an attempt as it is shown. */
export function showAttempt(row: AttemptRow): AttemptView {
  return {
    number: row.number,
    atMs: row.at_ms,
    durationMs: row.duration_ms,
    result: row.result as AttemptView['result'],
    ...(row.status !== null && { statusCode: row.status }),
    ...(row.reason !== null && { reason: row.reason }),
    ...(row.error !== null && { error: row.error }),
    answer: row.answer,
  }
}
