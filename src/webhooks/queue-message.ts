import { createHmac, type KeyObject, timingSafeEqual } from 'node:crypto'
import { anyOrder, keptOrder, orderHeader } from './queue-topology.ts'

/** A delivery as it waits in RabbitMQ: what was published, and how far it has come. */
export interface QueuedDelivery {
  endpointId: string
  /** The event's id, which the receiver gets as `webhook-id`. */
  eventId: string
  type: string
  /** When it was published first, or replayed; milliseconds since the epoch. */
  firstAtMs: number
  /** Attempts that have failed. */
  attempts: number
  /** How often in a row it was sent to wait without an attempt. */
  waits: number
  /** The exact bytes that the receiver gets. */
  body: Buffer
}

/** Headers of a message. All of them are texts. */
export type QueueHeaders = Readonly<Record<string, string>>

/** Why a message is not believed. */
export type Forgery = 'unsigned' | 'bad_mac'

/** A message that was read: a delivery of ours, or what is none. */
export type OpenedMessage = { kind: 'delivery'; delivery: QueuedDelivery } | { kind: 'forged'; why: Forgery }

/** Names the algorithm and the fields that follow, so that no later form can be taken for this one. */
const version = 'gatepost-webhook-1'

/** The `message-id` of a delivery: the same however often it is published. */
export function messageIdOf({ eventId, endpointId }: QueuedDelivery): string {
  return `${eventId}:${endpointId}`
}

/**
 * The headers of a delivery, with a MAC over everything that a worker believes of it. Neither URL nor secret is among
 * them: workers have these from their own file.
 * @param isOrdered whether it must go to its endpoint's own queue; it decides about the way alone, and the MAC leaves it out.
 */
export function sealHeaders(delivery: QueuedDelivery, isOrdered: boolean, key: KeyObject): QueueHeaders {
  return {
    ...fieldsOf(delivery),
    [orderHeader]: isOrdered ? keptOrder : anyOrder,
    webhook_mac: macOf(delivery, key).toString('hex'),
  }
}

function fieldsOf({ endpointId, eventId, type, firstAtMs, attempts, waits }: Omit<QueuedDelivery, 'body'>) {
  return {
    webhook_id: endpointId,
    event_type: type,
    event_id: eventId,
    webhook_first_at: String(firstAtMs),
    webhook_attempts: String(attempts),
    webhook_waits: String(waits),
  }
}

/** JSON keeps the fields apart whatever is in them, and a line break, which it never holds, ends them. */
function macOf(delivery: QueuedDelivery, key: KeyObject): Buffer {
  const fields = JSON.stringify([version, ...Object.values(fieldsOf(delivery))])
  return createHmac('sha256', key).update(`${fields}\n`).update(delivery.body).digest()
}

/** Reads a message, and believes nothing of it unless the MAC is right. */
export function openMessage(
  headers: Readonly<Record<string, unknown>>,
  body: Buffer,
  key: KeyObject,
): OpenedMessage {
  const { webhook_mac: mac } = headers
  if (typeof mac !== 'string') return { kind: 'forged', why: 'unsigned' }
  const text = (name: string) => (typeof headers[name] === 'string' ? headers[name] : '')
  const delivery: QueuedDelivery = {
    endpointId: text('webhook_id'),
    eventId: text('event_id'),
    type: text('event_type'),
    firstAtMs: Number(text('webhook_first_at')),
    attempts: Number(text('webhook_attempts')),
    waits: Number(text('webhook_waits')),
    body,
  }
  const shown = /^[0-9a-f]{64}$/.test(mac) ? Buffer.from(mac, 'hex') : undefined
  if (!shown || !timingSafeEqual(shown, macOf(delivery, key))) return { kind: 'forged', why: 'bad_mac' }
  return { kind: 'delivery', delivery }
}
