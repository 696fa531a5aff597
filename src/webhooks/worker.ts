import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/log.ts'
import type { ConnectQueue } from './queue-connection.ts'
import type { Ladder } from './queue-delays.ts'
import { type DeadReason, type Fate, type FateParts, Fates, type Tally } from './worker-fates.ts'
import { type HeldDeliveries, openSession, type Session } from './worker-session.ts'

/** What a worker needs. */
export interface WorkerParts extends Omit<FateParts, 'tally'> {
  connect: ConnectQueue
  /** In which deliveries wait. */
  ladder: Ladder
  clock: Clock
  logger: Logger
  tally: Tally
}

/** A process's share in delivering what waits in RabbitMQ. */
export interface Worker {
  /** Whether it is connected and takes messages. */
  readonly connected: boolean
  /** Messages that it has at hand. */
  readonly underWay: number
  /** To be called when the file of endpoints has changed. */
  adopt(): void
  /** Takes no more, lets attempts under way end, gives back the rest, and closes. */
  stop(withinMs: number): Promise<void>
}

/** Between attempts to connect: doubled each time, ±20 %. */
const firstPauseMs = 500
const longestPauseMs = 15_000

/** Between two lines about messages that are given up for one and the same reason. */
const reportEveryMs = 60_000

/** Starts a worker. It connects, and goes on connecting whenever that ends, until it is stopped. */
export function startWorker(parts: WorkerParts): Worker {
  const { connect, ladder, clock, logger, random, key, tally, endpoints } = parts
  const fates = new Fates(parts)
  const held: HeldDeliveries = new Map()
  const stopping = new AbortController()
  const onDead = createReport(clock, logger)
  const onFault = (error: unknown) => logger.error({ exception: error }, 'unforeseen fault with a webhook')
  const sessionParts = { fates, held, key, ladder, clock, tally, onDead, onFault }
  let session: Session | undefined

  function orderedIds(): string[] {
    return [...endpoints().values()].filter(({ ordered }) => ordered).map(({ id }) => id)
  }

  /** One connection, from its beginning to its end. @throws where it cannot be had. */
  async function work(): Promise<void> {
    const { connection, prepared } = await connect(
      (open) => openSession(open, orderedIds(), sessionParts),
      stopping.signal,
    )
    session = prepared
    logger.info({}, 'connected to RabbitMQ; webhooks are delivered')
    const ended = Promise.withResolvers<void>()
    connection.gone.addEventListener('abort', () => ended.resolve())
    if (connection.gone.aborted) ended.resolve()
    // The file may have changed meanwhile.
    adopt()
    await ended.promise
    session = undefined
    if (!stopping.signal.aborted) {
      logger.warn(
        { exception: connection.gone.reason },
        'the connection to RabbitMQ has ended; connecting again',
      )
    }
  }

  function adopt(): void {
    // What goes wrong here ends the connection, and the next one begins with all of them.
    session?.adopt(orderedIds()).catch(() => undefined)
  }

  async function run(): Promise<void> {
    let failures = 0
    while (!stopping.signal.aborted) {
      try {
        await work()
        failures = 0
      } catch (error) {
        failures += 1
        if (failures === 1 && !stopping.signal.aborted) {
          logger.warn({ exception: error }, 'cannot connect to RabbitMQ; tried again and again')
        }
      }
      await rest(failures)
    }
  }

  async function rest(failures: number): Promise<void> {
    if (stopping.signal.aborted) return
    const pauseMs = Math.min(firstPauseMs * 2 ** Math.max(failures - 1, 0), longestPauseMs)
    const { promise, resolve } = Promise.withResolvers<void>()
    const stopTimer = clock.after(pauseMs * (0.8 + 0.4 * random()), resolve)
    stopping.signal.addEventListener('abort', () => resolve(), { once: true })
    await promise
    stopTimer()
  }

  const ended = run()
  return {
    get connected() {
      return session !== undefined
    },
    get underWay() {
      return session?.underWay ?? 0
    },
    adopt,
    async stop(withinMs) {
      const last = session
      stopping.abort(new Error('the worker stops'))
      const limit = new AbortController()
      const stopTimer = clock.after(withinMs, () => limit.abort())
      await last?.stop(limit.signal)
      await ended
      stopTimer()
    },
  }
}

/** Tells of messages that are given up: the first of a reason at once, then once a minute how many more there were. */
function createReport(clock: Clock, logger: Logger) {
  const unsaid = new Map<DeadReason, number>()
  return (
    { reason, status, error }: Extract<Fate, { kind: 'dead' }>,
    headers: Readonly<Record<string, unknown>>,
  ): void => {
    const count = unsaid.get(reason)
    if (count !== undefined) {
      unsaid.set(reason, count + 1)
      return
    }
    unsaid.set(reason, 0)
    const { webhook_id, event_id } = headers
    logger.warn({ reason, webhook_id, event_id, status, error }, 'webhook given up; it is a dead letter now')
    clock.after(reportEveryMs, () => {
      const more = unsaid.get(reason) ?? 0
      unsaid.delete(reason)
      if (more > 0) logger.warn({ reason, more }, 'further webhooks given up within a minute')
    })
  }
}
