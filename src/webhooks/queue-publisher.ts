import type { KeyObject } from 'node:crypto'
import type { AmqpMessage, AmqpPublisher, AmqpRefusal } from '../core/amqp.ts'
import type { Clock } from '../core/clock.ts'
import type { WebhookEndpoint } from '../core/webhooks.ts'
import { matches } from './endpoint.ts'
import { bodyOf, type Told } from './message.ts'
import { messageIdOf, type QueuedDelivery, sealHeaders } from './queue-message.ts'

/** An event, as it is handed over to be delivered. */
export interface ExpandableEvent {
  id: string
  type: string
  /** The whole envelope as JSON. */
  json: string
}

/** What the publishing side needs. */
export interface WebhookQueueParts {
  /** Those of the file as it is now. @throws where there is none that is good. */
  endpoints: () => readonly WebhookEndpoint[]
  /** By which messages are authenticated. */
  key: () => KeyObject
  /** Publishes to `gateway.events`. */
  publisher: AmqpPublisher
  /** Declares the exchanges and queues, those of these ordered endpoints included. */
  declare: (orderedIds: readonly string[], signal: AbortSignal) => Promise<void>
  clock: Clock
}

/** Publishes events for `gatepost deliver`; the reader of a log sees it as one more broker. */
export interface WebhookQueue {
  readonly name: 'webhooks'
  /** Publishes a message for each endpoint that wants an event. @returns events that RabbitMQ will never take. */
  deliver(events: readonly ExpandableEvent[], signal: AbortSignal): Promise<readonly AmqpRefusal[]>
  probe(signal: AbortSignal): Promise<string>
  close(): Promise<void>
}

interface Expanded {
  /** Where its event stands among those handed over. */
  index: number
  message: AmqpMessage
}

/** Makes the publishing side of webhooks that wait in RabbitMQ. */
export function createWebhookQueue({
  endpoints,
  key,
  publisher,
  declare,
  clock,
}: WebhookQueueParts): WebhookQueue {
  let declared: string | undefined

  async function declareOnce(current: readonly WebhookEndpoint[], signal: AbortSignal): Promise<void> {
    const ordered = current.filter((endpoint) => endpoint.ordered).map(({ id }) => id)
    const wanted = JSON.stringify(ordered)
    if (declared === wanted) return
    await declare(ordered, signal)
    declared = wanted
  }

  return {
    name: 'webhooks',

    async deliver(events, signal) {
      const current = endpoints()
      const expanded = expand(events, current, key(), clock.now())
      if (expanded.length === 0) return []
      await declareOnce(current, signal)
      const messages = expanded.map(({ message }) => message)
      const refusals = await publisher.publish(messages, signal)
      if (refusals.some(({ reason }) => reason === 'unroutable')) {
        // Somebody has deleted what was declared. Nothing is given up for that: all of it comes again.
        declared = undefined
        throw new Error('Cannot publish webhooks: their queue is gone; it is declared anew')
      }
      return oncePerEvent(refusals, expanded)
    },

    probe: (signal) => publisher.probe(signal),
    close: () => publisher.close(),
  }
}

function oncePerEvent(refusals: readonly AmqpRefusal[], expanded: readonly Expanded[]): AmqpRefusal[] {
  const byEvent = new Map<number, AmqpRefusal>()
  for (const { index: at, reason } of refusals) {
    const { index } = expanded[at] as Expanded
    byEvent.set(index, { index, reason })
  }
  return [...byEvent.values()]
}

function expand(
  events: readonly ExpandableEvent[],
  endpoints: readonly WebhookEndpoint[],
  key: KeyObject,
  nowMs: number,
): Expanded[] {
  const byType = new Map<string, readonly WebhookEndpoint[]>()
  const interested = (type: string) => {
    const known = byType.get(type)
    if (known) return known
    const found = endpoints.filter((endpoint) => matches({ ...endpoint, filters: {} }, { type, data: {} }))
    byType.set(type, found)
    return found
  }
  return events.flatMap((event, index) => {
    const { id: eventId, type } = event
    const candidates = interested(type)
    // Most events are for nobody, and are not even parsed.
    if (candidates.length === 0) return []
    const told = JSON.parse(event.json) as Told & { data: Readonly<Record<string, unknown>> }
    const body = bodyOf(told)
    return candidates
      .filter((endpoint) => matches(endpoint, { type, data: told.data }))
      .map(({ id: endpointId, ordered }) => {
        const delivery = { endpointId, eventId, type, firstAtMs: nowMs, attempts: 0, waits: 0, body }
        return { index, message: messageOf(delivery, ordered, key) }
      })
  })
}

function messageOf(delivery: QueuedDelivery, isOrdered: boolean, key: KeyObject): AmqpMessage {
  return {
    id: messageIdOf(delivery),
    routingKey: `webhook.${delivery.type}`,
    type: delivery.type,
    contentType: 'application/json',
    timestampSeconds: Math.floor(delivery.firstAtMs / 1_000),
    headers: sealHeaders(delivery, isOrdered, key),
    body: delivery.body.toString('utf8'),
  }
}
