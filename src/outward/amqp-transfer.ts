import { type ConfirmChannel, IllegalOperationError, type Message } from 'amqplib'
import type { AmqpMessage, AmqpRefusal } from '../core/amqp.ts'
import type { Clock } from '../core/clock.ts'
import type { AmqpConnection } from './amqp-connection.ts'

/** How much is under way at once, and how long an answer is waited for. */
export interface TransferLimits {
  /** Without any answer, in milliseconds. */
  silenceMs: number
  /** Messages that are sent and not answered for. */
  maxUnconfirmed: number
  /** Their bodies; one message may always be under way. It bounds what amqplib buffers, too. */
  maxUnconfirmedBytes: number
}

/** RabbitMQ has answered for all that was sent, and some messages are not in every queue that they belong to. */
export class Nacked extends Error {}

/** Messages on their way to an exchange, in their order, until RabbitMQ has answered for each. */
export class Transfer {
  readonly #messages: readonly AmqpMessage[]
  readonly #exchange: string
  readonly #connection: Pick<AmqpConnection, 'gone' | 'blocked'>
  readonly #channel: ConfirmChannel
  readonly #limits: TransferLimits
  readonly #done = Promise.withResolvers<void>()
  readonly #refused: AmqpRefusal[] = []
  /** By id, where a message stands that is not answered for. */
  readonly #places = new Map<string, number>()
  #unconfirmed = 0
  #unconfirmedBytes = 0
  #next = 0
  #nacks = 0
  #hasAnswered = true

  /** @param channel nothing else may be published on it meanwhile. */
  constructor(
    messages: readonly AmqpMessage[],
    exchange: string,
    connection: Pick<AmqpConnection, 'gone' | 'blocked'>,
    channel: ConfirmChannel,
    limits: TransferLimits,
  ) {
    this.#messages = messages
    this.#exchange = exchange
    this.#connection = connection
    this.#channel = channel
    this.#limits = limits
  }

  /**
   * Sends, as many at once as the limits allow. @returns what was refused for good.
   * @throws a {@link Nacked}, where the channel is as good as before; anything else leaves messages unanswered.
   */
  async run(clock: Clock, signal: AbortSignal): Promise<AmqpRefusal[]> {
    signal.throwIfAborted()
    const { gone } = this.#connection
    const stop = new AbortController()
    const fail = (reason: Error) => this.#done.reject(reason)
    gone.addEventListener('abort', () => fail(gone.reason), { signal: stop.signal })
    signal.addEventListener('abort', () => fail(signal.reason), { signal: stop.signal })
    const onReturn = (message: Message) => this.#returned(message)
    this.#channel.on('return', onReturn)
    const stopTimer = this.#listenFor(clock)
    try {
      this.#sendMore()
      await this.#done.promise
      return this.#refused
    } finally {
      // Late answers must not send the rest.
      this.#next = this.#messages.length
      stopTimer()
      this.#channel.off('return', onReturn)
      stop.abort()
    }
  }

  #sendMore(): void {
    while (this.#next < this.#messages.length && this.#nacks === 0) {
      const message = this.#messages[this.#next] as AmqpMessage
      const bytes = Buffer.byteLength(message.body)
      if (!this.#hasRoomFor(bytes)) return
      this.#send(message, bytes)
      this.#next += 1
    }
    if (this.#unconfirmed > 0) return
    if (this.#nacks === 0) this.#done.resolve()
    else {
      this.#done.reject(
        new Nacked(`it did not take ${this.#nacks} of the messages (nack): a queue is full or fails`),
      )
    }
  }

  #hasRoomFor(bytes: number): boolean {
    const { maxUnconfirmed, maxUnconfirmedBytes } = this.#limits
    if (this.#unconfirmed === 0) return true
    return this.#unconfirmed < maxUnconfirmed && this.#unconfirmedBytes + bytes <= maxUnconfirmedBytes
  }

  #send(message: AmqpMessage, bytes: number): void {
    const body = Buffer.from(message.body)
    try {
      this.#channel.publish(this.#exchange, message.routingKey, body, propertiesOf(message), (error) =>
        this.#answered(message.id, bytes, error !== null),
      )
    } catch (error) {
      if (error instanceof IllegalOperationError) this.#done.reject(error)
      // It cannot be encoded and never will be; nothing of it was written.
      else this.#refused.push({ index: this.#next, reason: (error as Error).message })
      return
    }
    this.#places.set(message.id, this.#next)
    this.#unconfirmed += 1
    this.#unconfirmedBytes += bytes
  }

  #answered(id: string, bytes: number, isNack: boolean): void {
    this.#places.delete(id)
    this.#unconfirmed -= 1
    this.#unconfirmedBytes -= bytes
    this.#hasAnswered = true
    if (isNack) this.#nacks += 1
    this.#sendMore()
  }

  /** RabbitMQ returns a message before it confirms it: https://www.rabbitmq.com/docs/confirms#when-publishes-are-confirmed */
  #returned({ properties }: Message): void {
    const index = this.#places.get(String(properties.messageId))
    if (index !== undefined) this.#refused.push({ index, reason: 'unroutable' })
  }

  /** Looks twice within the limit, which spares a timer for each answer. */
  #listenFor(clock: Clock): () => void {
    const { silenceMs } = this.#limits
    let stopTimer = () => {}
    const look = () => {
      if (!this.#hasAnswered) this.#done.reject(silence(this.#connection.blocked, silenceMs))
      this.#hasAnswered = false
      stopTimer = clock.after(silenceMs / 2, look)
    }
    look()
    return () => stopTimer()
  }
}

/** Why nothing was heard. @param blocked the alarm under which RabbitMQ takes no messages. */
export function silence(blocked: string | undefined, silenceMs: number): Error {
  return new Error(
    blocked === undefined
      ? `no answer within ${silenceMs} ms`
      : `it takes no messages, its alarm says ${JSON.stringify(blocked)}`,
  )
}

function propertiesOf({ id, type, contentType, timestampSeconds, headers }: AmqpMessage) {
  return {
    persistent: true,
    mandatory: true,
    messageId: id,
    type,
    contentType,
    timestamp: timestampSeconds,
    appId: 'gatepost',
    headers,
  }
}
