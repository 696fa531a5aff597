import { startStatusServer } from './admin/server.ts'
import { checkEndpoints } from './app-webhooks.ts'
import { followAmqpUrl } from './config/amqp.ts'
import type { DeliverSettings } from './config/deliver-settings.ts'
import { followFile } from './config/followed-file.ts'
import { followQueueKey } from './config/webhook-settings.ts'
import { createWebhooksReader } from './config/webhooks.ts'
import { showAddress } from './core/listen.ts'
import type { Logger } from './core/log.ts'
import type { WebhookEndpoint } from './core/webhooks.ts'
import { createDeliverMetrics, type DeliverMetrics } from './observability/deliver-metrics.ts'
import { connectAmqp, connectionLimits } from './outward/amqp-connection.ts'
import type { Surroundings } from './surroundings.ts'
import { createSender } from './webhooks/attempt.ts'
import { checkByRules, createGuardedAgent, createSystemResolver } from './webhooks/guard.ts'
import type { ConnectQueue } from './webhooks/queue-connection.ts'
import { standardLadder } from './webhooks/queue-delays.ts'
import { type Replayed, replayDead } from './webhooks/queue-replay.ts'
import { startWorker } from './webhooks/worker.ts'
import type { Tally } from './webhooks/worker-fates.ts'
import { guarded } from './webhooks-thread.ts'

/** A running worker. */
interface Delivery {
  /** Logs a fault that reached nobody who was waiting for it. */
  unforeseen: (error: unknown) => void
  /** Rereads the webhooks file now. */
  reload: () => void
  /** Takes no more, lets attempts under way end within the drain timeout, gives the rest back, and closes. */
  stop(): Promise<void>
}

/** Limits of a connection on which up to a thousand queues are declared. */
const limits = { ...connectionLimits, connectMs: 60_000 }

/**
 * Puts the parts of `gatepost deliver` together and starts them. It connects in the background: a RabbitMQ that is not
 * there yet is waited for.
 * @throws CannotStart
 */
export async function startDelivery(
  settings: DeliverSettings,
  { clock, monotonicMs, loggers }: Surroundings,
): Promise<Delivery> {
  const { rabbit, ...webhooks } = settings.webhooks
  // As if they did not wait in RabbitMQ: it is here that they leave.
  checkEndpoints({ webhooks, allowPlaintext: settings.allowPlaintext })
  const log = loggers.named('deliver')
  await using opening = new AsyncDisposableStack()
  // While it waits for RabbitMQ nothing else keeps the process alive.
  const alive = setInterval(() => undefined, 60_000)
  opening.defer(() => clearInterval(alive))

  const { first, allowPrivate } = webhooks
  const check = checkByRules({ allowPrivate, allowPlaintext: settings.allowPlaintext })
  const file = followFile(rabbit.path, first, {
    read: guarded(createWebhooksReader(rabbit.context), check),
    clock,
    logger: loggers.named('webhooks'),
    onChange(endpoints) {
      byId = indexed(endpoints)
      worker.adopt()
    },
  })
  opening.defer(() => file.close())
  let byId = indexed(first)

  const dispatcher = createGuardedAgent({ check, resolve: createSystemResolver() })
  opening.defer(() => dispatcher.destroy())
  const metrics = createDeliverMetrics({
    underWay: () => worker.underWay,
    connected: () => worker.connected,
  })
  const worker = startWorker({
    connect: connectTo(settings, clock, log),
    endpoints: () => byId,
    key: followQueueKey(rabbit),
    send: createSender({ dispatcher, check, clock, monotonicMs }),
    ladder: standardLadder,
    clock,
    random: Math.random,
    logger: log,
    tally: tallyOf(metrics),
  })
  opening.defer(() => worker.stop(settings.drainTimeoutMs))

  let draining = false
  const status =
    settings.statusAddress &&
    (await startStatusServer(settings.statusAddress, {
      readiness: () => ({
        ready: worker.connected && !draining,
        detail: { draining, connected: worker.connected, in_flight: worker.underWay, webhooks: byId.size },
      }),
      metrics: async () => ({
        contentType: metrics.registry.contentType,
        text: await metrics.registry.metrics(),
      }),
      logger: log,
    }))
  opening.defer(() => status?.close())
  log.info(
    { webhooks: byId.size, ...(status && { status_address: showAddress(status.address) }) },
    'delivering',
  )
  const running = opening.move()
  return {
    unforeseen: (error) => log.error({ exception: error }, 'unforeseen fault'),
    reload: () => void file.reload(),
    async stop() {
      draining = true
      log.info({ timeout_ms: settings.drainTimeoutMs, in_flight: worker.underWay }, 'stopping')
      // Whoever asks meanwhile how it is gets an answer.
      await worker.stop(settings.drainTimeoutMs)
      await running.disposeAsync()
      log.info({}, 'stopped')
    },
  }
}

/** Sends dead letters back to be delivered. @throws where RabbitMQ cannot be used. */
export async function replayDeadLetters(
  settings: DeliverSettings,
  { clock, loggers }: Pick<Surroundings, 'clock' | 'loggers'>,
): Promise<Replayed> {
  const connect = connectTo(settings, clock, loggers.named('deliver'))
  const { connection } = await connect(async () => undefined, new AbortController().signal)
  try {
    return await replayDead(connection, followQueueKey(settings.webhooks.rabbit)(), clock)
  } catch (error) {
    throw connection.gone.aborted ? connection.gone.reason : error
  } finally {
    await connection.close()
  }
}

function connectTo({ amqp }: DeliverSettings, clock: Surroundings['clock'], logger: Logger): ConnectQueue {
  const url = followAmqpUrl(amqp)
  return (prepare, signal) => connectAmqp(url(), prepare, limits, { clock, logger }, signal)
}

function indexed(endpoints: readonly WebhookEndpoint[]): ReadonlyMap<string, WebhookEndpoint> {
  return new Map(endpoints.map((endpoint) => [endpoint.id, endpoint]))
}

function tallyOf({ attempts, attemptDuration, waits, dead, redelivered }: DeliverMetrics): Tally {
  return {
    attempted(webhook_id, { kind: result, durationMs }) {
      attempts.inc({ webhook_id, result })
      attemptDuration.observe(durationMs / 1_000)
    },
    waits: (reason) => waits.inc({ reason }),
    died: (reason) => dead.inc({ reason }),
    redelivered: () => redelivered.inc(),
  }
}
