import type { WebhookEndpoint } from '../core/webhooks.ts'
import { secretsInForce, signatureHeaders } from './signing.ts'

/** An event as its envelope tells it. */
export interface Told {
  event_type: string
  /** RFC 3339, UTC. */
  timestamp: string
  data: unknown
}

/**
 * Makes the body of a delivery, `{"event","timestamp","data"}`. To be made once: every attempt sends and signs the same
 * bytes.
 */
export function bodyOf({ event_type: event, timestamp, data }: Told): Buffer {
  return Buffer.from(JSON.stringify({ event, timestamp, data }))
}

/** The headers of one attempt: the endpoint's own, then those that it cannot replace. */
export function headersOf(
  { headers, secrets }: Pick<WebhookEndpoint, 'headers' | 'secrets'>,
  id: string,
  body: Uint8Array,
  nowMs: number,
): Record<string, string> {
  return {
    'user-agent': 'Gatepost-Webhooks',
    ...headers,
    'content-type': 'application/json',
    ...signatureHeaders({ id, atMs: nowMs, body }, secretsInForce(secrets, nowMs)),
  }
}
