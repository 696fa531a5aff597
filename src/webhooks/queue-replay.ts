import type { KeyObject } from 'node:crypto'
import type { Channel, GetMessage } from 'amqplib'
import type { Clock } from '../core/clock.ts'
import {
  closeChannel,
  openChannel,
  openPublishing,
  type PublishSafely,
  type QueueConnection,
} from './queue-connection.ts'
import { type Ladder, standardLadder } from './queue-delays.ts'
import { messageIdOf, openMessage, sealHeaders } from './queue-message.ts'
import { deadQueue, declareWebhooks, keptOrder, orderHeader, webhooksQueue } from './queue-topology.ts'

/** What became of the dead letters. */
export interface Replayed {
  /** Back in the queue, as if they were new. */
  replayed: number
  /** Still there: nobody vouches for them. */
  left: number
}

/**
 * Sends the dead letters that are there back to be delivered, with all of their attempts before them. Each goes from the
 * one queue only when it is safely in the other. What carries no good MAC stays where it is.
 */
export async function replayDead(
  connection: QueueConnection,
  key: KeyObject,
  clock: Clock,
  ladder: Ladder = standardLadder,
): Promise<Replayed> {
  const channel = await openChannel(connection)
  await declareWebhooks(channel, ladder, [])
  const publish = await openPublishing(connection, clock)
  // Those that die again meanwhile are not taken twice.
  const { messageCount } = await channel.checkQueue(deadQueue)
  const result: Replayed = { replayed: 0, left: 0 }
  for (let more = messageCount; more > 0; more--) {
    const message = await channel.get(deadQueue)
    if (!message) break
    result[await replay(message, channel, publish, key, clock.now())] += 1
  }
  await closeChannel(channel)
  return result
}

async function replay(
  message: GetMessage,
  channel: Channel,
  publish: PublishSafely,
  key: KeyObject,
  nowMs: number,
): Promise<keyof Replayed> {
  const { content, properties } = message
  const { headers = {}, contentType, type } = properties
  const opened = openMessage(headers, content, key)
  // Not acknowledged, it is back in its place when the channel ends.
  if (opened.kind === 'forged') return 'left'
  const delivery = { ...opened.delivery, firstAtMs: nowMs, attempts: 0, waits: 0 }
  const isOrdered = headers[orderHeader] === keptOrder
  await publish(webhooksQueue, `webhook.${delivery.type}`, content, {
    messageId: messageIdOf(delivery),
    timestamp: Math.floor(nowMs / 1_000),
    appId: 'gatepost',
    contentType,
    type,
    headers: sealHeaders(delivery, isOrdered, key),
  })
  channel.ack(message)
  return 'replayed'
}
