import type { ConfirmChannel } from 'amqplib'
import type { AmqpExchange, AmqpMessage, AmqpPublisher, AmqpRefusal } from '../core/amqp.ts'
import { type AmqpUrl, showAmqpUrl } from '../core/amqp-url.ts'
import type { Clock } from '../core/clock.ts'
import {
  type AmqpConnection,
  type AmqpParts,
  type ConnectionLimits,
  connectAmqp,
  connectionLimits,
} from './amqp-connection.ts'
import { Nacked, silence, Transfer, type TransferLimits } from './amqp-transfer.ts'

/** How much is under way at once, and how long RabbitMQ is waited for. */
export type PublisherLimits = ConnectionLimits & TransferLimits

/** The default limits. */
export const publisherLimits: PublisherLimits = {
  ...connectionLimits,
  silenceMs: 20_000,
  maxUnconfirmed: 1_000,
  maxUnconfirmedBytes: 4 * 1024 * 1024,
}

/** Whereto messages go. */
export interface PublisherOptions {
  /** Asked at each connecting. */
  url: () => AmqpUrl
  exchange: AmqpExchange
  limits: PublisherLimits
}

interface Link {
  connection: AmqpConnection
  channel: ConfirmChannel
}

/**
 * Publishes over one connection, opened when it is first needed and anew after any failure. The exchange is declared
 * each time. A call takes at most `connectMs` to connect and `silenceMs` after RabbitMQ's last answer; there is no
 * limit to it all, for a slow broker would then get the same messages for ever.
 */
export function createAmqpPublisher(
  { url, exchange, limits }: PublisherOptions,
  parts: AmqpParts,
): AmqpPublisher {
  const closing = new AbortController()
  let link: Link | undefined

  const connectFor = <T>(prepare: (connection: AmqpConnection) => Promise<T>, signal: AbortSignal) =>
    connectAmqp(url(), prepare, limits, parts, AbortSignal.any([signal, closing.signal]))

  async function linked(signal: AbortSignal): Promise<Link> {
    if (link?.connection.blocked !== undefined) {
      // It stays as it is until then: what was sent lies unread before the broker, and each new connection would add to
      // that. Afterwards it goes, with its unanswered messages.
      await untilUnblocked(link.connection, limits, parts.clock, signal)
      link.connection.cut(new Error('it was blocked'))
    }
    if (link && !link.connection.gone.aborted) return link
    link = undefined
    const { connection, prepared } = await connectFor((open) => openChannel(open, exchange), signal)
    link = { connection, channel: prepared }
    return link
  }

  async function attempt(messages: readonly AmqpMessage[], signal: AbortSignal): Promise<AmqpRefusal[]> {
    const { connection, channel } = await linked(signal)
    try {
      return await new Transfer(messages, exchange.name, connection, channel, limits).run(parts.clock, signal)
    } catch (error) {
      // The end of a connection fails its messages before it is told itself.
      const reason = connection.gone.aborted ? connection.gone.reason : error
      if (!(error instanceof Nacked) && connection.blocked === undefined) connection.cut(reason)
      throw reason
    }
  }

  return {
    async publish(messages, signal) {
      if (messages.length === 0) return []
      try {
        return await withoutTooLarge(messages, (fitting) => attempt(fitting, signal))
      } catch (error) {
        if (signal.aborted) throw signal.reason
        throw explain(closing.signal.aborted ? closing.signal.reason : error, url())
      }
    },

    async probe(signal) {
      const target = url()
      try {
        const { connection, prepared: exists } = await connectFor(
          ({ model }) => hasExchange(model, exchange.name),
          signal,
        )
        await connection.close()
        const found = exists
          ? `the exchange ${exchange.name} is there`
          : `the exchange ${exchange.name} is not there yet, it is declared with the first message`
        return `${connection.server} at ${showAmqpUrl(target)} as ${target.username}: ${found}`
      } catch (error) {
        throw signal.aborted ? signal.reason : explain(error, target)
      }
    },

    async close() {
      closing.abort(new Error('the publisher was closed'))
      await link?.connection.close()
    },
  }
}

function explain(error: unknown, url: AmqpUrl): Error {
  // OpenSSL's messages take several lines; their `reason` is the word that matters.
  const { message, code, reason } = error as { message?: string; code?: unknown; reason?: string }
  const why = reason === undefined ? message || code || 'unknown' : `TLS fails: ${reason}`
  return new Error(`Cannot use RabbitMQ at ${showAmqpUrl(url)}: ${why}`, { cause: error })
}

async function openChannel(connection: AmqpConnection, exchange: AmqpExchange): Promise<ConfirmChannel> {
  await declare(connection.model, exchange)
  const channel = await connection.model.createConfirmChannel()
  channel.on('error', connection.cut)
  // Later than the connection tells its own end, which knows more about why.
  channel.on('close', () => queueMicrotask(() => connection.cut(new Error('the channel was closed'))))
  return channel
}

const accessRefused = 403
const notFound = 404
const preconditionFailed = 406

/** Whoever may not declare exchanges may still publish to one that is there. */
async function declare(model: AmqpConnection['model'], { name, type }: AmqpExchange): Promise<void> {
  const channel = await quietChannel(model)
  try {
    await channel.assertExchange(name, type, { durable: true })
    await channel.close()
  } catch (error) {
    const { code } = error as { code?: number }
    if (code === preconditionFailed) {
      throw new Error(
        `the exchange ${name} is there already and is not a durable one of type ${type}; delete or rename that one`,
        { cause: error },
      )
    }
    if (code === accessRefused && (await hasExchange(model, name))) return
    throw error
  }
}

async function hasExchange(model: AmqpConnection['model'], name: string): Promise<boolean> {
  const channel = await quietChannel(model)
  try {
    await channel.checkExchange(name)
    await channel.close()
    return true
  } catch (error) {
    if ((error as { code?: number }).code === notFound) return false
    throw error
  }
}

/** A channel whose calls fail by themselves and by nothing else. */
async function quietChannel(model: AmqpConnection['model']) {
  const channel = await model.createChannel()
  channel.on('error', () => {})
  return channel
}

/** Waits for the end of an alarm or of the connection. */
async function untilUnblocked(
  { gone, blocked, onUnblocked }: AmqpConnection,
  { silenceMs }: PublisherLimits,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted()
  if (gone.aborted) return
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const stop = new AbortController()
  gone.addEventListener('abort', () => resolve(), { signal: stop.signal })
  signal.addEventListener('abort', () => reject(signal.reason), { signal: stop.signal })
  const stopTimer = clock.after(silenceMs, () => reject(silence(blocked, silenceMs)))
  const stopListening = onUnblocked(resolve)
  try {
    await promise
  } finally {
    stopTimer()
    stopListening()
    stop.abort()
  }
}

/** A broker closes the channel at a message that is too large for it, and says which size is. */
const tooLarge = /larger than (?:configured )?max size (\d+)/

/** Sends messages, and once more without the larger ones if some prove too large. */
async function withoutTooLarge(
  messages: readonly AmqpMessage[],
  send: (messages: readonly AmqpMessage[]) => Promise<AmqpRefusal[]>,
): Promise<AmqpRefusal[]> {
  try {
    return await send(messages)
  } catch (error) {
    const [, digits] = tooLarge.exec((error as Error).message) ?? []
    const maxBytes = Number(digits ?? Number.POSITIVE_INFINITY)
    const places = messages.map((_, index) => index)
    const fits = (index: number) => Buffer.byteLength(messages[index]?.body ?? '') <= maxBytes
    const fitting = places.filter(fits)
    if (fitting.length === messages.length) throw error
    const refused = await send(fitting.map((index) => messages[index] as AmqpMessage))
    return [
      ...places
        .filter((index) => !fits(index))
        .map((index) => ({ index, reason: `larger than the ${maxBytes} bytes that RabbitMQ takes` })),
      ...refused.map(({ index, reason }) => ({ index: fitting[index] as number, reason })),
    ]
  }
}
