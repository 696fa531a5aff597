import type { Channel } from 'amqplib'
import { declareDelays, type Ladder } from './queue-delays.ts'

/** The exchange that all events are published to, and webhooks with them. */
const eventsExchange = 'gateway.events'

/** What webhooks wait in until a worker takes them; also the name of the exchange before it. */
export const webhooksQueue = 'gateway.webhooks'

/** What cannot be delivered, until somebody has looked at it; the oldest go where there is no more room. */
export const deadQueue = 'gateway.webhooks.dead'

/** Gets what no ordered endpoint's queue wants, and has it wait in {@link webhooksQueue}. */
const restExchange = 'gateway.webhooks.unordered'

/** The queue of an endpoint whose deliveries are ordered. One worker at a time takes from it. */
export function orderedQueue(endpointId: string): string {
  return `gateway.webhooks.ordered.${endpointId}`
}

/** By this header a message says whether its endpoint is ordered: {@link keptOrder}, or {@link anyOrder}. */
export const orderHeader = 'webhook_order'

/** Of a message whose endpoint is ordered. */
export const keptOrder = 'kept'

/** Of a message that may overtake others. */
export const anyOrder = 'any'

/** The most messages in one queue. One that is full refuses more, which then wait where they come from. */
const maxQueued = 1_000_000

/** The most dead letters, and their bytes. */
const maxDead = 100_000
const maxDeadBytes = 512 * 1024 * 1024

/**
 * How often a message may be given back; then it is a dead letter. It is said outright because RabbitMQ 4 drops messages
 * after 20 times where a queue says nothing. RabbitMQ 3.10 does not count those of a worker that was killed.
 */
const maxRedeliveries = 1_000

/** Of an ordered endpoint's queue, where a long wait gives the message back every ten minutes. */
const maxOrderedRedeliveries = 1_000_000

/** A quorum queue that loses nothing on the way to where its messages go when they expire or come back too often. */
function quorumArguments(deadLetterExchange: string, deadLetterKey?: string) {
  return {
    'x-queue-type': 'quorum',
    'x-dead-letter-exchange': deadLetterExchange,
    ...(deadLetterKey !== undefined && { 'x-dead-letter-routing-key': deadLetterKey }),
    'x-dead-letter-strategy': 'at-least-once',
    'x-overflow': 'reject-publish',
    'x-max-length': maxQueued,
  }
}

type Declaring = Pick<Channel, 'assertExchange' | 'assertQueue' | 'bindExchange' | 'bindQueue'>

/**
 * Declares all exchanges and queues of webhooks, those of the ordered endpoints included. Publisher and workers both do,
 * so that a message has a queue to wait in whoever comes first.
 */
export async function declareWebhooks(
  channel: Declaring,
  ladder: Ladder,
  orderedIds: Iterable<string>,
): Promise<void> {
  await channel.assertExchange(eventsExchange, 'topic', { durable: true })
  await channel.assertExchange(restExchange, 'fanout', { durable: true })
  await channel.assertExchange(webhooksQueue, 'headers', { durable: true, alternateExchange: restExchange })
  await channel.assertQueue(deadQueue, {
    durable: true,
    arguments: {
      'x-queue-type': 'quorum',
      'x-max-length': maxDead,
      'x-max-length-bytes': maxDeadBytes,
      'x-overflow': 'drop-head',
    },
  })
  await channel.assertQueue(webhooksQueue, {
    durable: true,
    arguments: { ...quorumArguments('', deadQueue), 'x-delivery-limit': maxRedeliveries },
  })
  await channel.bindQueue(webhooksQueue, restExchange, '')
  await channel.bindExchange(webhooksQueue, eventsExchange, 'webhook.#')
  await declareDelays(channel, ladder, quorumArguments, webhooksQueue)
  for (const id of orderedIds) await declareOrdered(channel, id)
}

/** Declares the queue of an ordered endpoint. */
export async function declareOrdered(channel: Declaring, endpointId: string): Promise<void> {
  const queue = orderedQueue(endpointId)
  await channel.assertQueue(queue, {
    durable: true,
    arguments: {
      ...quorumArguments('', deadQueue),
      'x-single-active-consumer': true,
      'x-delivery-limit': maxOrderedRedeliveries,
    },
  })
  await channel.bindQueue(queue, webhooksQueue, '', {
    'x-match': 'all',
    [orderHeader]: keptOrder,
    webhook_id: endpointId,
  })
}
