import type { Channel, ChannelModel, ConfirmChannel, Options } from 'amqplib'
import type { Clock } from '../core/clock.ts'

/** A connection to RabbitMQ, as webhooks need it. It never comes back: after its end a new one is opened. */
export interface QueueConnection {
  model: Pick<ChannelModel, 'createChannel' | 'createConfirmChannel'>
  /** Aborted when it has ended, with an error that says why. */
  gone: AbortSignal
  /** Why RabbitMQ takes no messages for now; undefined while it does. */
  readonly blocked: string | undefined
  /** Ends it at once. */
  cut(reason: Error): void
  /** Says goodbye first; never throws. */
  close(): Promise<void>
}

/** Opens a connection and prepares on it, within a limit; rejects where either fails. */
export type ConnectQueue = <T>(
  prepare: (connection: QueueConnection) => Promise<T>,
  signal: AbortSignal,
) => Promise<{ connection: QueueConnection; prepared: T }>

/** Publishes a message and resolves once it is safely in a queue. Rejects where that is not certain. */
export type PublishSafely = (
  exchange: string,
  routingKey: string,
  body: Buffer,
  properties: Options.Publish,
) => Promise<void>

/** How long RabbitMQ may take to confirm a message. */
const confirmMs = 20_000

/** Opens a channel whose end, and whose consumers' end, is that of the connection: all is then prepared anew. */
export async function openChannel(connection: QueueConnection): Promise<Channel> {
  return tied(await connection.model.createChannel(), connection)
}

/**
 * Opens a channel for publishing. A message that no queue gets, that is refused, or that is not confirmed within 20 s,
 * ends the connection: then what it was made of comes again.
 */
export async function openPublishing(connection: QueueConnection, clock: Clock): Promise<PublishSafely> {
  const channel = tied(await connection.model.createConfirmChannel(), connection)
  channel.on('return', ({ fields }: { fields: { exchange?: string } }) =>
    connection.cut(new Error(`no queue gets messages from the exchange "${fields.exchange ?? ''}"`)),
  )
  return (exchange, routingKey, body, properties) =>
    confirmed(connection, clock, (onAnswer) =>
      channel.publish(
        exchange,
        routingKey,
        body,
        { persistent: true, mandatory: true, ...properties },
        onAnswer,
      ),
    )
}

async function confirmed(
  connection: QueueConnection,
  clock: Clock,
  publish: (onAnswer: Parameters<ConfirmChannel['publish']>[4]) => void,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let stopTimer = () => {}
  const look = () => {
    stopTimer = clock.after(confirmMs, () => {
      // Under an alarm RabbitMQ answers when that is over; a new connection would fare no better.
      if (connection.blocked !== undefined) look()
      else connection.cut(new Error(`no confirm within ${confirmMs} ms`))
    })
  }
  look()
  try {
    publish((error) => (error ? reject(error) : resolve()))
    await promise
    // A message that came back as unroutable is confirmed as well, after that.
    connection.gone.throwIfAborted()
  } catch (error) {
    connection.cut(new Error('RabbitMQ did not take a message', { cause: error }))
    throw error
  } finally {
    stopTimer()
  }
}

function tied<C extends Channel>(channel: C, connection: QueueConnection): C {
  channel.on('error', connection.cut)
  channel.on('close', () => {
    // Later than the connection tells its own end, which knows more about why.
    if (!closing.has(channel)) queueMicrotask(() => connection.cut(new Error('the channel was closed')))
  })
  return channel
}

/** Channels whose end is meant. */
const closing = new WeakSet<Channel>()

/** Ends a channel and waits until RabbitMQ has had all that was sent on it: acknowledgements are answered by nothing else. */
export async function closeChannel(channel: Channel): Promise<void> {
  closing.add(channel)
  // Where it has ended already there is nothing left to wait for.
  await Promise.resolve()
    .then(() => channel.close())
    .catch(() => undefined)
}
