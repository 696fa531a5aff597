import { readFile } from 'node:fs/promises'
import { type ChannelModel, connect } from 'amqplib'
import { type AmqpUrl, showAmqpUrl } from '../core/amqp-url.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/log.ts'

/** How long RabbitMQ is waited for. */
export interface ConnectionLimits {
  /** For connecting and all that a user of the connection prepares, in milliseconds. */
  connectMs: number
  /** For a connection's orderly end, in milliseconds; then it is cut. */
  closeMs: number
  /** Either side sends something as often, and believes the other dead after two or three times as long. */
  heartbeatSeconds: number
}

/** The default limits. */
export const connectionLimits: ConnectionLimits = { connectMs: 10_000, closeMs: 1_000, heartbeatSeconds: 10 }

/** What a connection needs of its surroundings. */
export interface AmqpParts {
  clock: Clock
  logger: Pick<Logger, 'info' | 'warn'>
}

/** An open connection to RabbitMQ. It never comes back: after its end a new one is opened. */
export interface AmqpConnection {
  /** Opens channels. Give each a listener for `error` at once: amqplib ends the connection for want of one. */
  model: Pick<ChannelModel, 'createChannel' | 'createConfirmChannel'>
  /** Such as `RabbitMQ 3.10.8`. */
  server: string
  /** Aborted when the connection has ended, however it did, with an error that says why. */
  gone: AbortSignal
  /** Why RabbitMQ takes no messages for now, such as `low on memory`; undefined while it does. */
  readonly blocked: string | undefined
  /** Calls `listener` when it takes messages again; the returned function calls that off. */
  onUnblocked(listener: () => void): () => void
  /** Cuts the connection at once. All that is under way on it fails. */
  cut(reason: Error): void
  /** Says goodbye first; never throws. */
  close(): Promise<void>
}

/**
 * Connects, and prepares what the connection is wanted for, within one limit. The reconnecting is the caller's.
 * @param prepare opens channels and declares; what it throws ends the connection.
 * @throws where that fails, takes too long or is called off.
 */
export async function connectAmqp<T>(
  url: AmqpUrl,
  prepare: (connection: AmqpConnection) => Promise<T>,
  limits: ConnectionLimits,
  parts: AmqpParts,
  signal: AbortSignal,
): Promise<{ connection: AmqpConnection; prepared: T }> {
  signal.throwIfAborted()
  // amqplib gives no hold on a socket that is not open yet, and only half-closes one that is: this ends it for certain.
  const socket = new AbortController()
  const callOff = () => socket.abort(signal.reason)
  signal.addEventListener('abort', callOff)
  const stopTimer = parts.clock.after(limits.connectMs, () =>
    socket.abort(new Error(`no answer within ${limits.connectMs} ms`)),
  )
  try {
    const options = { ...(await tlsOptions(url)), ...socketOptions, signal: socket.signal }
    const model = await connect(connectOptions(url, limits), options)
    const connection = watch(model, url, socket, limits, parts)
    return { connection, prepared: await prepare(connection) }
  } catch (error) {
    const reason = socket.signal.aborted ? socket.signal.reason : clearer(error, url)
    socket.abort(reason)
    throw reason
  } finally {
    stopTimer()
    signal.removeEventListener('abort', callOff)
  }
}

/** amqplib does not pass on what RabbitMQ says about a vhost. */
function clearer(error: unknown, { vhost, username }: AmqpUrl): unknown {
  const { message = '' } = error as { message?: string }
  if (!message.startsWith('Expected ConnectionOpenOk')) return error
  return new Error(`there is no vhost ${JSON.stringify(vhost)}, or ${username} may not use it`, {
    cause: error,
  })
}

const socketOptions = { noDelay: true, clientProperties: { connection_name: 'gatepost' } }

/** Not the URL as a text: amqplib reads percent-encoding in it as Latin-1, and leaves IPv6 its brackets. */
function connectOptions(url: AmqpUrl, { heartbeatSeconds }: ConnectionLimits) {
  return {
    protocol: url.isEncrypted ? 'amqps' : 'amqp',
    hostname: url.hostname,
    port: url.port,
    username: url.username,
    password: url.password,
    // It decodes a vhost even here.
    vhost: encodeURIComponent(url.vhost),
    heartbeat: heartbeatSeconds,
  }
}

async function tlsOptions({ files }: AmqpUrl): Promise<Partial<Record<keyof AmqpUrl['files'], Buffer>>> {
  const read = Object.entries(files).map(async ([name, path]) => [name, await readFile(path)] as const)
  return Object.fromEntries(await Promise.all(read))
}

function watch(
  model: ChannelModel,
  url: AmqpUrl,
  socket: AbortController,
  limits: ConnectionLimits,
  { clock, logger }: AmqpParts,
): AmqpConnection {
  const gone = new AbortController()
  const target = showAmqpUrl(url)
  let blocked: string | undefined
  const cut = (reason: Error) => {
    gone.abort(reason)
    socket.abort(reason)
  }
  model.on('error', cut)
  // An operator's closing comes without `error`. The socket may still have our goodbye to send.
  model.on('close', (error) => {
    gone.abort(error ?? new Error('the connection was closed'))
    clock.after(limits.closeMs, () => socket.abort())
  })
  model.on('blocked', (reason) => {
    blocked = reason
    logger.warn({ target, reason }, 'RabbitMQ takes no messages until its alarm is over')
  })
  model.on('unblocked', () => {
    blocked = undefined
    logger.info({ target }, 'RabbitMQ takes messages again')
  })
  const { product, version } = model.connection.serverProperties
  return {
    model,
    server: `${product} ${version}`,
    gone: gone.signal,
    get blocked() {
      return blocked
    },
    onUnblocked(listener) {
      model.on('unblocked', listener)
      return () => model.off('unblocked', listener)
    },
    cut,
    async close() {
      const farewell = gone.signal.aborted ? Promise.resolve() : model.close().catch(() => {})
      const limit = Promise.withResolvers<void>()
      const stopTimer = clock.after(limits.closeMs, limit.resolve)
      await Promise.race([farewell, limit.promise])
      stopTimer()
      cut(new Error('the connection was closed'))
    },
  }
}
