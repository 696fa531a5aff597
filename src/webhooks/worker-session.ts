import type { Channel, ConsumeMessage } from 'amqplib'
import type { Clock } from '../core/clock.ts'
import {
  closeChannel,
  openChannel,
  openPublishing,
  type PublishSafely,
  type QueueConnection,
} from './queue-connection.ts'
import { delayExchange, delayKey, type Ladder } from './queue-delays.ts'
import { messageIdOf, type QueuedDelivery, sealHeaders } from './queue-message.ts'
import { deadQueue, declareOrdered, declareWebhooks, orderedQueue, webhooksQueue } from './queue-topology.ts'
import type { Fate, FateParts, Fates, Tally } from './worker-fates.ts'

/** Deliveries of ordered endpoints that wait for another attempt in this process, by queue. One for each. */
export type HeldDeliveries = Map<string, { messageId: string; delivery: QueuedDelivery; dueMs: number }>

/** What a session works with. */
export interface SessionParts {
  fates: Fates
  held: HeldDeliveries
  key: FateParts['key']
  ladder: Ladder
  clock: Clock
  tally: Tally
  /** Told of each message that is given up. */
  onDead: (fate: Extract<Fate, { kind: 'dead' }>, headers: Readonly<Record<string, unknown>>) => void
  /** Unforeseen faults: none of them costs a message. */
  onFault: (error: unknown) => void
}

/** How many messages a worker has at hand. */
const prefetch = 100

/**
 * How long an ordered delivery is kept at hand while it waits; then it is given back and comes again at once. RabbitMQ
 * ends a channel that keeps a message for 30 minutes.
 */
const holdMs = 600_000

/** How long RabbitMQ may take to read the last acknowledgements. */
const closeMs = 1_000

/** What a worker does on one connection. */
export class Session {
  readonly #connection: QueueConnection
  readonly #parts: SessionParts
  readonly #main: Channel
  readonly #ordered: Channel
  readonly #publish: PublishSafely
  readonly #consumers: Array<{ channel: Channel; tag: string }> = []
  readonly #orderedIds = new Set<string>()
  readonly #underWay = new Set<Promise<void>>()
  /** Aborted when nothing new is to be begun. */
  readonly #stopping = new AbortController()
  /** Aborted when what is under way is to be left. */
  readonly #leaving = new AbortController()

  constructor(
    connection: QueueConnection,
    { main, ordered, publish }: { main: Channel; ordered: Channel; publish: PublishSafely },
    parts: SessionParts,
  ) {
    this.#connection = connection
    this.#main = main
    this.#ordered = ordered
    this.#publish = publish
    this.#parts = parts
    connection.gone.addEventListener('abort', () => this.#leaving.abort(connection.gone.reason))
  }

  /** Messages that are at hand and not yet settled. */
  get underWay(): number {
    return this.#underWay.size
  }

  /** Takes messages from the common queue from now on. */
  async begin(): Promise<void> {
    await this.#consume(this.#main, webhooksQueue, (message) => this.#common(message))
  }

  /** Takes from the queues of these ordered endpoints as well. */
  async adopt(orderedIds: Iterable<string>): Promise<void> {
    for (const id of orderedIds) {
      if (this.#orderedIds.has(id) || this.#stopping.signal.aborted) continue
      this.#orderedIds.add(id)
      await declareOrdered(this.#ordered, id)
      const queue = orderedQueue(id)
      await this.#consume(this.#ordered, queue, (message) => this.#inOrder(queue, message))
    }
  }

  /** Begins nothing new, lets what is under way end until the signal says that it is time, gives back the rest, and closes. */
  async stop(limit: AbortSignal): Promise<void> {
    this.#stopping.abort()
    this.#parts.fates.clear()
    limit.addEventListener('abort', () => this.#leaving.abort(new Error('the worker stops')))
    if (limit.aborted) this.#leaving.abort(new Error('the worker stops'))
    const { gone } = this.#connection
    await Promise.race([Promise.allSettled(this.#underWay), aborted(gone)])
    const isTimeUp = aborted(limit).then(() => pause(this.#parts.clock, closeMs, gone))
    await Promise.race([this.#close(), isTimeUp, aborted(gone)])
    await this.#connection.close()
  }

  /**
   * Ends the consumers after the last acknowledgement, and the channels, which gives back whatever is not acknowledged.
   * RabbitMQ puts off what a channel says to a quorum queue while more than 32 things before it are not yet on disk, and
   * forgets it when the channel ends; that a consumer has ended it says only when all of these are.
   */
  async #close(): Promise<void> {
    await Promise.allSettled(this.#consumers.map(({ channel, tag }) => channel.cancel(tag)))
    await Promise.all([closeChannel(this.#main), closeChannel(this.#ordered)])
  }

  async #consume(
    channel: Channel,
    queue: string,
    handle: (message: ConsumeMessage) => Promise<void>,
  ): Promise<void> {
    const { consumerTag: tag } = await channel.consume(queue, (message) => {
      // Somebody has deleted the queue.
      if (!message) return this.#connection.cut(new Error(`the queue ${queue} is gone`))
      // It goes back with its channel.
      if (this.#stopping.signal.aborted) return
      if (message.fields.redelivered) this.#parts.tally.redelivered()
      const handled = handle(message).catch((error: unknown) => this.#fault(channel, message, error))
      this.#underWay.add(handled)
      void handled.finally(() => this.#underWay.delete(handled))
    })
    this.#consumers.push({ channel, tag })
  }

  async #common(message: ConsumeMessage): Promise<void> {
    const read = this.#parts.fates.read(headersIn(message), message.content)
    const fate = 'kind' in read ? read : await this.#fateOf(read)
    if (fate === 'left') return this.#giveBack(this.#main, message)
    await this.#settle(fate, message)
    this.#main.ack(message)
  }

  /** An ordered delivery stays at hand until it is delivered or given up: nothing can overtake it. */
  async #inOrder(queue: string, message: ConsumeMessage): Promise<void> {
    const { fates, held, clock, tally } = this.#parts
    const takenMs = clock.now()
    const read = fates.read(headersIn(message), message.content)
    let fate: Fate | 'left' = 'kind' in read ? read : await this.#resume(queue, read, takenMs)
    while (fate !== 'left' && fate.kind === 'wait' && fate.reason !== 'unknown_endpoint') {
      tally.waits(fate.reason)
      const { delivery, afterMs } = fate
      held.set(queue, { messageId: messageIdOf(delivery), delivery, dueMs: clock.now() + afterMs })
      fate = await this.#resume(queue, delivery, takenMs)
    }
    if (fate === 'left') return this.#giveBack(this.#ordered, message)
    await this.#settle(fate, message)
    held.delete(queue)
    this.#ordered.ack(message)
  }

  /** Makes the next attempt once it is due; `left` where the message must go back before. */
  async #resume(queue: string, read: QueuedDelivery, takenMs: number): Promise<Fate | 'left'> {
    const { held, clock } = this.#parts
    const known = held.get(queue)
    if (known?.messageId !== messageIdOf(read)) return this.#fateOf(read)
    const nowMs = clock.now()
    const untilMs = Math.min(known.dueMs, takenMs + holdMs)
    if (untilMs > nowMs) await pause(clock, untilMs - nowMs, this.#stopping.signal, this.#leaving.signal)
    if (clock.now() < known.dueMs) return 'left'
    return this.#fateOf(known.delivery)
  }

  async #fateOf(delivery: QueuedDelivery): Promise<Fate | 'left'> {
    if (this.#stopping.signal.aborted) return 'left'
    try {
      const fate = await this.#parts.fates.of(delivery, this.#leaving.signal)
      // Sent away because of the end, and for no other reason.
      const isSentAway = fate.kind === 'wait' && fate.reason === 'busy' && this.#stopping.signal.aborted
      return isSentAway ? 'left' : fate
    } catch (error) {
      if (this.#leaving.signal.aborted) return 'left'
      throw error
    }
  }

  /** Puts a message where it is to be next; it is acknowledged only after that. */
  async #settle(fate: Fate, message: ConsumeMessage): Promise<void> {
    const { ladder, key, tally, onDead } = this.#parts
    const { properties, content } = message
    switch (fate.kind) {
      case 'done':
        return
      case 'wait': {
        const routingKey = delayKey(fate.afterMs, ladder)
        const headers = sealHeaders(fate.delivery, false, key())
        await this.#publish(delayExchange(ladder), routingKey, content, { ...kept(properties), headers })
        tally.waits(fate.reason)
        return
      }
      case 'dead': {
        const headers = {
          ...deadHeaders(properties.headers ?? {}),
          ...reasonOf(fate, this.#parts.clock.now()),
        }
        await this.#publish('', deadQueue, content, { ...kept(properties), headers })
        tally.died(fate.reason)
        onDead(fate, headers)
      }
    }
  }

  /** The message is given back and comes again; with its connection it does so by itself. */
  #fault(channel: Channel, message: ConsumeMessage, error: unknown): void {
    if (this.#connection.gone.aborted) return
    this.#parts.onFault(error)
    this.#giveBack(channel, message)
  }

  /** It comes again, to whoever is there. At the end all go back at once, with their channel. */
  #giveBack(channel: Channel, message: ConsumeMessage): void {
    if (this.#stopping.signal.aborted) return
    try {
      channel.nack(message, false, true)
    } catch {
      // The channel has ended, and has given back all that it had.
    }
  }
}

/** Prepares a session on a new connection. */
export async function openSession(
  connection: QueueConnection,
  orderedIds: readonly string[],
  parts: SessionParts,
): Promise<Session> {
  const main = await openChannel(connection)
  await declareWebhooks(main, parts.ladder, [])
  const ordered = await openChannel(connection)
  await main.prefetch(prefetch)
  await ordered.prefetch(1)
  const publish = await openPublishing(connection, parts.clock)
  const session = new Session(connection, { main, ordered, publish }, parts)
  await session.adopt(orderedIds)
  await session.begin()
  return session
}

function headersIn({ properties }: ConsumeMessage): Readonly<Record<string, unknown>> {
  return properties.headers ?? {}
}

/** What a message keeps on its way. */
function kept({ messageId, type, contentType, timestamp }: ConsumeMessage['properties']) {
  return { messageId, type, contentType, timestamp, appId: 'gatepost' }
}

/** The longest header of a message that is kept with it in the dead-letter queue; a forger may have written any. */
const maxHeaderLength = 256

const ownHeaders = /^(?:webhook_|event_)/

function deadHeaders(headers: Readonly<Record<string, unknown>>): Record<string, string> {
  const entries = Object.entries(headers).filter(
    (entry): entry is [string, string] =>
      ownHeaders.test(entry[0]) && typeof entry[1] === 'string' && entry[1].length <= maxHeaderLength,
  )
  return Object.fromEntries(entries)
}

function reasonOf(
  { reason, status, error }: Extract<Fate, { kind: 'dead' }>,
  nowMs: number,
): Record<string, string> {
  return {
    dead_reason: reason,
    dead_at: new Date(nowMs).toISOString(),
    ...(status !== undefined && { dead_status: String(status) }),
    ...(error !== undefined && { dead_error: error.slice(0, maxHeaderLength) }),
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (signal.aborted) resolve()
  else signal.addEventListener('abort', () => resolve(), { once: true })
  return promise
}

/** Waits so long, or until one of the signals. */
async function pause(clock: Clock, ms: number, ...signals: readonly AbortSignal[]): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const stopTimer = clock.after(ms, resolve)
  const signal = AbortSignal.any([...signals])
  signal.addEventListener('abort', () => resolve())
  if (signal.aborted) resolve()
  await promise
  stopTimer()
}
