import { createHmac, randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { Webhook } from 'standardwebhooks'
import { systemClock } from '../../src/surroundings.ts'
import { delayExchange, delayKey } from '../../src/webhooks/queue-delays.ts'
import { sealHeaders } from '../../src/webhooks/queue-message.ts'
import { replayDead } from '../../src/webhooks/queue-replay.ts'
import { deadQueue, orderedQueue, webhooksQueue } from '../../src/webhooks/queue-topology.ts'
import { type RabbitMq, startRabbitMq } from '../support/rabbitmq.ts'
import { type Received, type Receiver, startReceiver } from '../support/receiver.ts'
import { until } from '../support/until.ts'
import {
  endpointAt,
  expandable,
  expandables,
  openWebhookRig,
  shortLadder,
  type WebhookRig,
  webhookSecret,
} from '../support/webhook-queue.ts'

jest.setTimeout(90_000)

let node: RabbitMq
beforeAll(async () => {
  node = await startRabbitMq()
}, 400_000)
afterAll(async () => {
  await node[Symbol.asyncDispose]()
})

const never = new AbortController().signal
const patienceMs = 30_000

let rig: WebhookRig
let receiver: Receiver
beforeEach(async () => {
  receiver = await startReceiver()
  rig = await openWebhookRig(`amqp://${node.address}`, [endpointAt(`${receiver.origin}/hook`)])
})
afterEach(async () => {
  await rig[Symbol.asyncDispose]()
  await receiver.stop()
})

/** The events that the receiver got, in order, by id. */
function idsGot(): unknown[] {
  return receiver.received.map(({ headers }) => headers['webhook-id'])
}

function idsOf(events: readonly { id: string }[]): string[] {
  return events.map(({ id }) => id)
}

/** Waits until this many dead letters are there. */
async function dead(count: number) {
  const messages: Awaited<ReturnType<WebhookRig['drain']>> = []
  const endMs = performance.now() + patienceMs
  while (messages.length < count) {
    messages.push(...(await rig.drain()))
    if (performance.now() > endMs) throw new Error(`only ${messages.length} of ${count} dead letters`)
  }
  return messages
}

describe('a webhook in RabbitMQ', () => {
  test('waits for a worker though none has ever been there, and is delivered once, signed in both forms', async () => {
    const event = expandable()

    const refusals = await rig.publisher.deliver([event], never)
    expect(await rig.count()).toBe(1)
    rig.startWorker()
    await until(() => receiver.received.length === 1, patienceMs)

    expect(refusals).toEqual([])
    const [got] = receiver.received
    const { body, headers } = got as Received
    const { event_type, timestamp, data } = JSON.parse(event.json)
    expect(JSON.parse(body.toString())).toEqual({ event: event_type, timestamp, data })
    expect(headers['webhook-id']).toBe(event.id)
    const mac = createHmac('sha256', webhookSecret).update(body).digest('hex')
    expect(headers['x-webhook-signature']).toBe(`sha256=${mac}`)
    const verified = new Webhook(webhookSecret).verify(body, headers as Record<string, string>)
    expect(verified).toMatchObject({ event: event_type })
  })

  test('is a message for each endpoint that wants it, with routing key, names and neither URL nor secret', async () => {
    rig.endpoints = [
      endpointAt('http://127.0.0.1:1/', { id: 'all' }),
      endpointAt('http://127.0.0.1:1/', { id: 'some', events: ['auth.*'] }),
      endpointAt('http://127.0.0.1:1/', { id: 'others', events: ['circuit_breaker.*'] }),
      endpointAt('http://127.0.0.1:1/', { id: 'filtered', filters: { routes: ['another'] } }),
      endpointAt('http://127.0.0.1:1/', { id: 'off', active: false }),
    ]
    const { queue } = await rig.channel.assertQueue('', { exclusive: true })
    await rig.channel.bindQueue(queue, 'gateway.events', 'webhook.#')
    const event = expandable()

    await rig.publisher.deliver([event], never)

    const got = await rig.drain(queue)
    expect(got.map(({ properties }) => properties.headers?.['webhook_id'])).toEqual(['all', 'some'])
    expect(got[0]?.fields).toMatchObject({ exchange: 'gateway.events', routingKey: 'webhook.auth.failed' })
    expect(got[0]?.properties).toMatchObject({
      messageId: `${event.id}:all`,
      deliveryMode: 2,
      headers: { event_type: 'auth.failed', webhook_mac: expect.stringMatching(/^[0-9a-f]{64}$/) },
    })
    const all = JSON.stringify(got)
    expect(all).not.toContain('127.0.0.1:1')
    expect(all).not.toContain(webhookSecret)
  })

  test('is not lost when its queue was deleted: the next attempt declares it anew', async () => {
    await rig.publisher.deliver([expandable()], never)
    await rig.channel.deleteQueue(webhooksQueue)

    await expect(rig.publisher.deliver([expandable()], never)).rejects.toThrow(/queue is gone/)
    await expect(rig.publisher.deliver([expandable()], never)).resolves.toEqual([])

    expect(await rig.count()).toBe(1)
  })

  test('that is tried again waits in the ladder and counts its attempts until it is delivered', async () => {
    receiver.behave(
      { kind: 'answer', status: 503 },
      { kind: 'reset' },
      { kind: 'answer', status: 429, headers: { 'retry-after': '1' } },
      { kind: 'answer', status: 200 },
    )
    const event = expandable()
    const worker = rig.startWorker()

    await rig.publisher.deliver([event], never)
    await until(() => worker.told.attempts.includes('delivered'), patienceMs)

    expect(worker.told.attempts).toEqual(['retry', 'retry', 'retry', 'delivered'])
    expect(worker.told.waits).toEqual(['retry', 'retry', 'retry'])
    expect(idsGot()).toEqual([event.id, event.id, event.id, event.id])
    expect(new Set(receiver.received.map(({ body }) => body.toString())).size).toBe(1)
    expect(worker.told.dead).toEqual([])
  })

  test('that never succeeds is a dead letter after its last attempt, with the reason, and can be replayed', async () => {
    receiver.behave({ kind: 'answer', status: 500 })
    const event = expandable()
    const worker = rig.startWorker()

    await rig.publisher.deliver([event], never)
    await until(() => worker.told.dead.length === 1, patienceMs)

    expect(worker.told.attempts).toEqual(['retry', 'retry', 'retry', 'retry'])
    expect(worker.told.dead).toEqual(['exhausted'])
    receiver.behave({ kind: 'answer', status: 200 })
    const { connection } = await rig.connect(async () => undefined, never)
    await expect(replayDead(connection, rig.key, systemClock, shortLadder)).resolves.toEqual({
      replayed: 1,
      left: 0,
    })
    await connection.close()
    await until(() => worker.told.attempts.includes('delivered'), patienceMs)
    expect(new Set(idsGot())).toEqual(new Set([event.id]))
    expect(await rig.drain()).toEqual([])
  })

  test.each([
    [400, 'refused'],
    [302, 'refused'],
    [410, 'gone'],
  ] as const)('that is answered with %s is a dead letter at once: %s', async (status, reason) => {
    receiver.behave({ kind: 'answer', status, headers: { location: '/elsewhere' } })
    rig.startWorker()

    await rig.publisher.deliver([expandable()], never)

    const [letter] = await dead(1)
    expect(letter?.properties.headers).toMatchObject({
      webhook_id: 'hook',
      dead_reason: reason,
      dead_status: String(status),
    })
    expect(receiver.received.length).toBe(1)
  })

  test('is sent no more once its receiver has said 410, until the file changes', async () => {
    receiver.behave({ kind: 'answer', status: 410 }, { kind: 'answer', status: 200 })
    const worker = rig.startWorker()
    await rig.publisher.deliver([expandable()], never)
    await until(() => worker.told.dead.length === 1, patienceMs)

    await rig.publisher.deliver(expandables(3), never)
    await until(() => worker.told.dead.length === 4, patienceMs)
    expect(worker.told.dead).toEqual(['gone', 'gone', 'gone', 'gone'])
    expect(receiver.received.length).toBe(1)
    rig.endpoints = [endpointAt(`${receiver.origin}/hook`)]
    await rig.publisher.deliver([expandable()], never)

    await until(() => receiver.received.length === 2, patienceMs)
  })

  test('for an endpoint that is switched off meanwhile, or that nobody knows, is kept and not sent', async () => {
    rig.endpoints = [endpointAt(receiver.origin), endpointAt(receiver.origin, { id: 'stranger' })]
    const worker = rig.startWorker([endpointAt(receiver.origin, { active: false })])

    await rig.publisher.deliver([expandable()], never)
    await until(() => worker.told.dead.length === 1 && worker.told.waits.length === 1, patienceMs)

    expect(worker.told.dead).toEqual(['inactive'])
    expect(worker.told.waits).toEqual(['unknown_endpoint'])
    expect(receiver.received).toEqual([])
  })
})

describe('a message that Gatepost has not made', () => {
  const body = Buffer.from('{"event":"auth.failed","timestamp":"2030-01-01T00:00:00Z","data":{}}')

  function sealed() {
    const delivery = {
      endpointId: 'hook',
      eventId: randomUUID(),
      type: 'auth.failed',
      firstAtMs: Date.now(),
      attempts: 0,
      waits: 0,
      body,
    }
    return { delivery, headers: sealHeaders(delivery, false, rig.key) }
  }

  test.each<
    [string, (headers: Record<string, string>) => { headers: object; content: Buffer; reason: string }]
  >([
    ['without a MAC', ({ webhook_mac: _, ...headers }) => ({ headers, content: body, reason: 'unsigned' })],
    [
      'with a MAC of another key',
      (headers) => ({
        headers: { ...headers, webhook_mac: 'a'.repeat(64) },
        content: body,
        reason: 'bad_mac',
      }),
    ],
    [
      'with a MAC that is none',
      (headers) => ({ headers: { ...headers, webhook_mac: 'x' }, content: body, reason: 'bad_mac' }),
    ],
    ['with another body', (headers) => ({ headers, content: Buffer.from('{}'), reason: 'bad_mac' })],
    ...(['webhook_id', 'event_id', 'event_type', 'webhook_attempts', 'webhook_first_at', 'webhook_waits'].map(
      (name) => [
        `with another ${name}`,
        (headers: Record<string, string>) => ({
          headers: { ...headers, [name]: name === 'webhook_id' ? 'other' : '7' },
          content: body,
          reason: 'bad_mac',
        }),
      ],
    ) as Array<
      [string, (headers: Record<string, string>) => { headers: object; content: Buffer; reason: string }]
    >),
  ])('%s is never delivered; it is kept as a dead letter and counted', async (_what, forge) => {
    rig.endpoints.push(endpointAt(receiver.origin, { id: 'other' }))
    const worker = rig.startWorker()
    const { headers, content, reason } = forge(sealed().headers)

    rig.channel.publish('gateway.events', 'webhook.auth.failed', content, { headers })

    const [letter] = await dead(1)
    // RabbitMQ may hand the letter on before it confirms it to the worker.
    await until(() => worker.told.dead.length > 0, patienceMs)
    expect(letter?.properties.headers).toMatchObject({ dead_reason: reason })
    expect(letter?.content).toEqual(content)
    expect(worker.told.dead).toEqual([reason])
    expect(receiver.received).toEqual([])
    expect(worker.told.lines.filter(({ message }) => message.includes('given up')).length).toBe(1)
  })

  test('leads nobody elsewhere by headers of its own: url and secret come from the file alone', async () => {
    await using elsewhere = await startReceiver()
    rig.startWorker()
    const { headers } = sealed()

    rig.channel.publish('', webhooksQueue, body, {
      headers: { ...headers, url: elsewhere.origin, webhook_url: elsewhere.origin, secret: 'x'.repeat(32) },
    })

    await until(() => receiver.received.length === 1, patienceMs)
    expect(elsewhere.connections).toBe(0)
    const mac = createHmac('sha256', webhookSecret).update(body).digest('hex')
    expect(receiver.received[0]?.headers['x-webhook-signature']).toBe(`sha256=${mac}`)
  })

  test('is left where it is by a replay', async () => {
    const { connection } = await rig.connect(async () => undefined, never)
    rig.channel.sendToQueue(deadQueue, body, { headers: { webhook_id: 'hook' }, persistent: true })
    while ((await rig.count(deadQueue)) < 1) {
      // It is on its way.
    }

    await expect(replayDead(connection, rig.key, systemClock, shortLadder)).resolves.toEqual({
      replayed: 0,
      left: 1,
    })
    await connection.close()

    await expect(dead(1)).resolves.toHaveLength(1)
  })

  test("and is old, though once it was, is somebody's copy and goes nowhere", async () => {
    const worker = rig.startWorker()
    const { delivery } = sealed()
    const old = { ...delivery, firstAtMs: Date.now() - 32 * 86_400_000 }

    rig.channel.publish('', webhooksQueue, body, { headers: sealHeaders(old, false, rig.key) })
    await until(() => worker.told.dead.length === 1, patienceMs)

    expect(worker.told.dead).toEqual(['stale'])
    expect(receiver.received).toEqual([])
  })
})

describe('the ladder of waits', () => {
  test('a short wait is not held up by a long one before it, and every wait is as long as its key says', async () => {
    const { queue } = await rig.channel.assertQueue('', { exclusive: true })
    const got: Array<{ waitMs: number; tookMs: number }> = []
    await rig.channel.consume(
      webhooksQueue,
      (message) => {
        const { waitMs, sentMs } = JSON.parse(message?.content.toString() ?? '{}')
        got.push({ waitMs, tookMs: performance.now() - sentMs })
      },
      { noAck: true },
    )
    const waits = [3_150, 2_400, 1_650, 850, 350, 100, 50, 50, 1_650]

    for (const waitMs of waits) {
      const content = Buffer.from(JSON.stringify({ waitMs, sentMs: performance.now() }))
      rig.channel.publish(delayExchange(shortLadder), delayKey(waitMs, shortLadder), content, {
        persistent: true,
      })
    }
    await until(() => got.length === waits.length, patienceMs)

    // Never early. How late is the machine's business; the order shows that nobody waited for a longer one.
    for (const { waitMs, tookMs } of got) expect(tookMs).toBeGreaterThanOrEqual(waitMs - 1)
    const order = got.map(({ waitMs }) => waitMs)
    expect(order.indexOf(50)).toBeLessThan(order.indexOf(850))
    expect(order.indexOf(350)).toBeLessThan(order.indexOf(2_400))
    expect(order.at(-1)).toBe(3_150)
    await rig.channel.deleteQueue(queue)
  })
})

describe('an ordered endpoint', () => {
  test('gets its deliveries in order across workers, and one that fails holds back the others', async () => {
    rig.endpoints = [
      endpointAt(receiver.origin, { id: 'a.b', ordered: true, concurrency: 1 }),
      endpointAt(receiver.origin, { id: 'b', active: false, ordered: true }),
    ]
    const workers = [rig.startWorker(), rig.startWorker()]
    receiver.behave(
      { kind: 'answer', status: 200 },
      { kind: 'answer', status: 503 },
      { kind: 'answer', status: 503 },
      { kind: 'answer', status: 200 },
    )
    const events = expandables(20)

    await rig.publisher.deliver(events, never)
    await until(() => receiver.received.length >= 22, patienceMs)

    const [first, second, ...rest] = idsOf(events)
    expect(idsGot()).toEqual([first, second, second, second, ...rest])
    expect(workers.flatMap(({ told }) => told.dead)).toEqual([])
  })

  test('goes on in order with another worker when the one at work stops', async () => {
    rig.endpoints = [endpointAt(receiver.origin, { ordered: true, concurrency: 1 })]
    const events = expandables(200)
    const first = rig.startWorker()
    await rig.publisher.deliver(events, never)
    await until(() => receiver.received.length > 20, patienceMs)

    await first.stop(1_000)
    const before = receiver.received.length
    rig.startWorker()
    await until(() => receiver.received.length >= 200, patienceMs)

    expect(before).toBeLessThan(200)
    expect([...new Set(idsGot())]).toEqual(idsOf(events))
    expect(await rig.count(orderedQueue('hook'))).toBe(0)
  })

  test('that a reloaded file brings is worked for from then on', async () => {
    const worker = rig.startWorker()
    await until(() => worker.connected, patienceMs)
    rig.endpoints = [endpointAt(receiver.origin, { id: 'new', ordered: true, concurrency: 1 })]

    await rig.publisher.deliver(expandables(2), never)
    worker.adopt()

    await until(() => receiver.received.length === 2, patienceMs)
  })
})

describe('workers', () => {
  test('share the work', async () => {
    const events = expandables(400)
    const workers = [rig.startWorker(), rig.startWorker()]
    await until(() => workers.every(({ connected }) => connected), patienceMs)

    await rig.publisher.deliver(events, never)
    await until(() => receiver.received.length >= 400, patienceMs)

    expect(new Set(idsGot())).toEqual(new Set(idsOf(events)))
    for (const { told } of workers) expect(told.attempts.length).toBeGreaterThan(0)
    expect(receiver.received.length).toBe(400)
  })

  test('leave an endpoint that never answers to itself, and go on with the others', async () => {
    await using hanging = await startReceiver()
    hanging.behave({ kind: 'silent' })
    rig.endpoints = [
      endpointAt(hanging.origin, { id: 'hangs', timeoutMs: 300, concurrency: 2 }),
      endpointAt(receiver.origin, { id: 'works' }),
    ]
    const worker = rig.startWorker()

    await rig.publisher.deliver(expandables(150), never)
    await until(() => receiver.received.length >= 150, patienceMs)
    await until(() => worker.told.waits.includes('circuit'), patienceMs)

    expect(hanging.received.length).toBeLessThan(20)
  })

  test('finish what is under way when they are stopped, and give the rest back', async () => {
    const events = expandables(300)
    await rig.publisher.deliver(events, never)
    const worker = rig.startWorker()
    await until(() => receiver.received.length > 10, patienceMs)

    await worker.stop(10_000)
    const delivered = receiver.received.length

    // What was given back may take a moment to be in its place again.
    let left = await rig.count()
    const endMs = performance.now() + patienceMs
    while (delivered + left < 300 && performance.now() < endMs) left = await rig.count()

    expect(worker.told.attempts.length).toBe(delivered)
    expect(delivered + left).toBe(300)
    expect(worker.connected).toBe(false)
  })

  test('give back an attempt that does not end in time, uncounted', async () => {
    receiver.behave({ kind: 'silent' }, { kind: 'answer', status: 200 })
    const event = expandable()
    await rig.publisher.deliver([event], never)
    const first = rig.startWorker()
    await until(() => receiver.received.length === 1, patienceMs)

    await first.stop(50)
    const second = rig.startWorker()
    await until(() => second.told.attempts.length === 1, patienceMs)

    expect(first.told.attempts).toEqual([])
    expect(second.told.redelivered).toBe(1)
    expect(idsGot()).toEqual([event.id, event.id])
  })

  /** Delivers one event, after which the publisher has declared all that it ever will. */
  async function warmUp() {
    const worker = rig.startWorker()
    await rig.publisher.deliver([expandable()], never)
    await until(() => worker.told.attempts.length === 1, patienceMs)
    return worker
  }

  test('acknowledge nothing that is not safely somewhere else: a delivery whose way into the ladder is gone comes again', async () => {
    receiver.behave(
      { kind: 'answer', status: 200 },
      { kind: 'answer', status: 503 },
      { kind: 'answer', status: 200 },
    )
    const worker = await warmUp()
    await rig.channel.deleteExchange(delayExchange(shortLadder))
    const event = expandable()

    await rig.publisher.deliver([event], never)
    await until(() => worker.told.attempts.length === 3, patienceMs)

    expect(worker.told.attempts).toEqual(['delivered', 'retry', 'delivered'])
    expect(worker.told.waits).toEqual([])
    expect(idsGot().slice(1)).toEqual([event.id, event.id])
  })

  test('give up nothing that is not safely a dead letter', async () => {
    receiver.behave({ kind: 'answer', status: 200 }, { kind: 'answer', status: 400 })
    const worker = await warmUp()
    await rig.channel.deleteQueue(deadQueue)

    await rig.publisher.deliver([expandable()], never)
    await until(() => worker.told.dead.length > 0, patienceMs)

    expect(worker.told.attempts).toEqual(['delivered', 'failed', 'failed'])
    expect(worker.told.dead).toEqual(['refused'])
    await expect(dead(1)).resolves.toHaveLength(1)
  })

  test('find RabbitMQ again after it was killed under work, and nothing is lost', async () => {
    // RabbitMQ 3.10 does not always bring back quorum queues that were deleted and made again shortly before its death.
    const vhost = randomUUID()
    await node.addVhost(vhost)
    await using fresh = await openWebhookRig(`amqp://${node.address}/${vhost}`, rig.endpoints)
    const events = expandables(300)
    const worker = fresh.startWorker()
    await fresh.publisher.deliver(events, never)
    await until(() => receiver.received.length > 20, patienceMs)

    await node.kill()
    await until(() => !worker.connected, patienceMs)
    await node.restart()
    await until(() => new Set(idsGot()).size === 300, 60_000)

    expect(new Set(idsGot())).toEqual(new Set(idsOf(events)))
    expect(worker.told.lines.map(({ message }) => message)).toContain(
      'the connection to RabbitMQ has ended; connecting again',
    )
  })
})
