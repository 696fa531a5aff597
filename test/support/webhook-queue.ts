import { createSecretKey, type KeyObject, randomBytes, randomUUID } from 'node:crypto'
import { type Channel, type ChannelModel, connect, type GetMessage } from 'amqplib'
import { parseAmqpUrl } from '../../src/core/amqp-url.ts'
import type { WebhookEndpoint } from '../../src/core/webhooks.ts'
import { connectAmqp, connectionLimits } from '../../src/outward/amqp-connection.ts'
import { createAmqpPublisher, publisherLimits } from '../../src/outward/amqp-publisher.ts'
import { systemClock } from '../../src/surroundings.ts'
import { createSender } from '../../src/webhooks/attempt.ts'
import { checkByRules, createGuardedAgent, createSystemResolver } from '../../src/webhooks/guard.ts'
import type { ConnectQueue } from '../../src/webhooks/queue-connection.ts'
import type { Ladder } from '../../src/webhooks/queue-delays.ts'
import {
  createWebhookQueue,
  type ExpandableEvent,
  type WebhookQueue,
} from '../../src/webhooks/queue-publisher.ts'
import { deadQueue, declareWebhooks, orderedQueue, webhooksQueue } from '../../src/webhooks/queue-topology.ts'
import { startWorker, type Worker } from '../../src/webhooks/worker.ts'
import type { Tally } from '../../src/webhooks/worker-fates.ts'
import { createLogLines, type LogLines } from './log-lines.ts'
import { makeEvent } from './spool.ts'

/** Waits of 50 ms, up to three seconds. */
export const shortLadder: Ladder = { stepMs: 50, rungs: 6 }

/** The secret of {@link endpointAt}. */
export const webhookSecret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`

/** An endpoint that wants everything and is retried within a fraction of a second. */
export function endpointAt(url: string, changes: Partial<WebhookEndpoint> = {}): WebhookEndpoint {
  return {
    id: 'hook',
    url,
    secrets: [{ value: () => webhookSecret }],
    events: ['*'],
    active: true,
    retryPolicy: { maxRetries: 3, backoffMs: 100 },
    headers: {},
    filters: {},
    ordered: false,
    concurrency: 8,
    timeoutMs: 5_000,
    ...changes,
  }
}

/** An event as the log of the spool has it. */
export function expandable(id: string = randomUUID()): ExpandableEvent {
  const event = makeEvent('auth.failed', id)
  return { id, type: event.event_type, json: JSON.stringify(event) }
}

/** So many of them. */
export function expandables(count: number): ExpandableEvent[] {
  return Array.from({ length: count }, () => expandable())
}

/** What a worker of a test has told. */
export interface Told extends LogLines {
  attempts: string[]
  waits: string[]
  dead: string[]
  redelivered: number
}

/** Webhooks of one vhost: what publishes them, workers, and a look into the queues. */
export interface WebhookRig extends AsyncDisposable {
  url: string
  key: KeyObject
  publisher: WebhookQueue
  channel: Channel
  /** Whoever publishes or works goes by these. */
  endpoints: WebhookEndpoint[]
  /** Starts a worker, by endpoints of its own where they are given. */
  startWorker(endpoints?: WebhookEndpoint[]): Worker & { told: Told }
  /** Connects as a worker does. */
  connect: ConnectQueue
  /** Takes everything out of a queue. */
  drain(queue?: string): Promise<GetMessage[]>
  /** How many messages wait in a queue. */
  count(queue?: string): Promise<number>
}

/** Opens webhooks in a vhost that nobody else uses. */
export async function openWebhookRig(url: string, endpoints: WebhookEndpoint[]): Promise<WebhookRig> {
  const at = parseAmqpUrl(url)
  if (!at) throw new Error(`no AMQP URL: ${url}`)
  const key = createSecretKey(randomBytes(32))
  const { logger } = createLogLines()
  const parts = { clock: systemClock, logger }
  const connectTo: ConnectQueue = (prepare, signal) =>
    connectAmqp(at, prepare, connectionLimits, parts, signal)
  const ends: Array<() => Promise<unknown>> = []
  const model: ChannelModel = await connect(url)
  model.on('error', () => {})
  const channel = await model.createChannel()
  channel.on('error', () => {})
  await declareWebhooks(channel, shortLadder, [])
  const publisher = createWebhookQueue({
    endpoints: () => rig.endpoints,
    key: () => key,
    publisher: createAmqpPublisher(
      { url: () => at, exchange: { name: 'gateway.events', type: 'topic' }, limits: publisherLimits },
      parts,
    ),
    declare: (orderedIds) => declareWebhooks(channel, shortLadder, orderedIds),
    clock: systemClock,
  })
  const rig: WebhookRig = {
    url,
    key,
    publisher,
    channel,
    endpoints,
    connect: connectTo,

    startWorker(own) {
      const lines = createLogLines()
      const told: Told = { ...lines, attempts: [], waits: [], dead: [], redelivered: 0 }
      const check = checkByRules({ allowPrivate: true, allowPlaintext: true })
      const dispatcher = createGuardedAgent({ check, resolve: createSystemResolver() })
      const worker = startWorker({
        connect: connectTo,
        endpoints: () => new Map((own ?? rig.endpoints).map((endpoint) => [endpoint.id, endpoint])),
        key: () => key,
        send: createSender({ dispatcher, check, clock: systemClock, monotonicMs: () => performance.now() }),
        ladder: shortLadder,
        clock: systemClock,
        random: Math.random,
        logger: lines.logger,
        tally: tallyOf(told),
      })
      ends.push(async () => {
        await worker.stop(1_000)
        await dispatcher.destroy()
      })
      return Object.assign(worker, { told })
    },

    async drain(queue = deadQueue) {
      const messages: GetMessage[] = []
      for (;;) {
        const got = await channel.get(queue, { noAck: true })
        if (!got) return messages
        messages.push(got)
      }
    },

    count: async (queue = webhooksQueue) => (await channel.checkQueue(queue)).messageCount,

    async [Symbol.asyncDispose]() {
      await Promise.all(ends.splice(0).map((end) => end()))
      await publisher.close()
      await removeQueues(url, rig.endpoints)
      await model.close().catch(() => {})
    },
  }
  return rig
}

/** What was left in them is nobody's business any more; a vhost for each test would take longer. */
async function removeQueues(url: string, endpoints: readonly WebhookEndpoint[]): Promise<void> {
  const model = await connect(url)
  const channel = await model.createChannel()
  const { stepMs, rungs } = shortLadder
  const delays = Array.from({ length: rungs }, (_, at) => `gateway.webhooks.delay.${stepMs * 2 ** at}`)
  const ordered = endpoints.map(({ id }) => orderedQueue(id))
  await Promise.all(
    [...delays, ...ordered, webhooksQueue, deadQueue].map((name) => channel.deleteQueue(name)),
  )
  await model.close()
}

function tallyOf(told: Told): Tally {
  return {
    attempted: (_id, { kind }) => told.attempts.push(kind),
    waits: (reason) => told.waits.push(reason),
    died: (reason) => told.dead.push(reason),
    redelivered() {
      told.redelivered += 1
    },
  }
}
