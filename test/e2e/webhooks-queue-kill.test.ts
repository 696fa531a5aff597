import { randomBytes, randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { connect } from 'amqplib'
import { readDeliverSettings } from '../../src/config/deliver-settings.ts'
import { followQueueKey } from '../../src/config/webhook-settings.ts'
import { parseAmqpUrl } from '../../src/core/amqp-url.ts'
import { createAmqpPublisher, publisherLimits } from '../../src/outward/amqp-publisher.ts'
import { systemClock } from '../../src/surroundings.ts'
import { standardLadder } from '../../src/webhooks/queue-delays.ts'
import { createWebhookQueue } from '../../src/webhooks/queue-publisher.ts'
import { declareWebhooks } from '../../src/webhooks/queue-topology.ts'
import { createLogLines } from '../support/log-lines.ts'
import { RunningProcess } from '../support/process.ts'
import { type RabbitMq, startRabbitMq } from '../support/rabbitmq.ts'
import { type Receiver, startReceiver } from '../support/receiver.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'
import { expandables } from '../support/webhook-queue.ts'

/** How many events each of the two endpoints gets; 5000 makes 10,000 deliveries. */
const count = Number(process.env['WEBHOOK_KILL_EVENTS'] ?? 600)
const seed = Number(process.env['WEBHOOK_KILL_SEED'] ?? randomBytes(4).readUInt32BE())
const limitMs = 60_000 + count * 60
jest.setTimeout(limitMs)

const mainFile = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const never = new AbortController().signal

let node: RabbitMq
beforeAll(async () => {
  node = await startRabbitMq()
}, 400_000)
afterAll(async () => {
  await node[Symbol.asyncDispose]()
})

/** Random numbers that a seed repeats (mulberry32). */
function randomFrom(first: number): () => number {
  let state = first
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Counts the ids that a receiver has got, each once. */
function createProgress({ received }: Pick<Receiver, 'received'>): () => number {
  const ids = new Set<unknown>()
  let looked = 0
  return () => {
    for (; looked < received.length; looked++) ids.add(received[looked]?.headers['webhook-id'])
    return ids.size
  }
}

test(`every delivery arrives though workers are killed all the time, those of an ordered endpoint in order (seed ${seed})`, async () => {
  await using folder = await tempFolder('webhooks-kill')
  await using receiver = await startReceiver()
  await using ordered = await startReceiver()
  const file = join(folder.path, 'webhooks.yaml')
  await writeFile(
    file,
    `webhooks:
  - { id: any, url: "${receiver.origin}", secret_file: ${folder.path}/secret, retry_policy: { backoff_seconds: 1, max_retries: 10 } }
  - { id: ordered, url: "${ordered.origin}", secret_file: ${folder.path}/secret, ordered: true }
`,
  )
  await writeFile(join(folder.path, 'secret'), randomUUID())
  const vhost = randomUUID()
  await node.addVhost(vhost)
  const url = `amqp://${node.address}/${vhost}`
  const env = {
    PATH: process.env['PATH'] ?? '',
    AMQP_URL: url,
    GATEPOST_WEBHOOK_QUEUE: 'rabbitmq',
    GATEPOST_WEBHOOKS_FILE: file,
    GATEPOST_WEBHOOK_ALLOW_PRIVATE: 'true',
    GATEPOST_SECRET_KEY: randomBytes(32).toString('base64'),
    GATEPOST_DRAIN_TIMEOUT: '5s',
  }
  const read = readDeliverSettings(env)
  if (read.kind === 'problems') throw new Error(read.problems.join('\n'))
  const { webhooks } = read.settings
  const { logger } = createLogLines()
  const model = await connect(url)
  const channel = await model.createChannel()
  const publisher = createWebhookQueue({
    endpoints: () => webhooks.first,
    key: followQueueKey(webhooks.rabbit),
    publisher: createAmqpPublisher(
      {
        url: () => parseAmqpUrl(url) ?? ({} as never),
        exchange: { name: 'gateway.events', type: 'topic' },
        limits: publisherLimits,
      },
      { clock: systemClock, logger },
    ),
    declare: (ids) => declareWebhooks(channel, standardLadder, ids),
    clock: systemClock,
  })
  const random = randomFrom(seed)
  // One answer in forty asks to be tried again, so that some deliveries are in the ladder when a worker dies.
  const statuses = Array.from({ length: count }, () => (random() < 1 / 40 ? 503 : 200))
  receiver.behave(...statuses.map((status) => ({ kind: 'answer' as const, status })), {
    kind: 'answer',
    status: 200,
  })
  const start = () =>
    new RunningProcess({ name: 'deliver', command: process.execPath, args: [mainFile, 'deliver'], env })
  const workers = [start(), start()]
  const events = expandables(count)
  const got = [createProgress(receiver), createProgress(ordered)]
  const reached = () => Math.min(...got.map((progress) => progress()))

  let kills = 0
  try {
    const publishing = publishAll()
    while (reached() < count) {
      // Not a wait for something: the random moment of a kill.
      await delay(random() * 300)
      const at = random() < 0.5 ? 0 : 1
      workers[at]?.signal('SIGKILL')
      await workers[at]?.ended
      kills += 1
      workers[at] = start()
      const next = Math.min(count, reached() + Math.ceil(count / 40))
      await until(() => reached() >= next, limitMs)
    }
    await publishing
  } finally {
    await Promise.all(workers.map((worker) => worker.stop()))
    await publisher.close()
  }
  let left = 0
  for (const queue of ['gateway.webhooks', 'gateway.webhooks.ordered.ordered', 'gateway.webhooks.dead'])
    left += (await channel.checkQueue(queue)).messageCount
  await model.close()

  async function publishAll(): Promise<void> {
    for (let from = 0; from < count; from += 100)
      await publisher.deliver(events.slice(from, from + 100), never)
  }

  const ids = events.map(({ id }) => id)
  const inOrder = [...new Set(ordered.received.map(({ headers }) => headers['webhook-id']))]
  const requests = receiver.received.length + ordered.received.length
  const refused = statuses.slice(0, receiver.received.length).filter((status) => status === 503).length
  process.stderr.write(
    `webhooks killed: seed ${seed}, ${2 * count} deliveries, ${kills} kills, ${refused} tried again because they were refused, ${requests - 2 * count - refused} duplicates, ${left} left\n`,
  )
  expect(kills).toBeGreaterThan(2)
  expect(new Set(receiver.received.map(({ headers }) => headers['webhook-id']))).toEqual(new Set(ids))
  expect(inOrder).toEqual(ids)
  expect(left).toBe(0)
})
