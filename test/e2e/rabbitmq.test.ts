import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createConnection, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { type Channel, type ChannelModel, connect, type GetMessage } from 'amqplib'
import { parseAmqpUrl } from '../../src/core/amqp-url.ts'
import type { EventType } from '../../src/core/events.ts'
import type { Broker, LoggedEvent, Refusal } from '../../src/events/sinks/broker.ts'
import { createRabbitBroker } from '../../src/events/sinks/rabbitmq.ts'
import {
  createAmqpPublisher,
  type PublisherLimits,
  publisherLimits,
} from '../../src/outward/amqp-publisher.ts'
import { systemClock } from '../../src/surroundings.ts'
import { createLogLines } from '../support/log-lines.ts'
import { freePort, listen } from '../support/ports.ts'
import { RunningProcess } from '../support/process.ts'
import { type RabbitMq, rabbitUsers, startRabbitMq } from '../support/rabbitmq.ts'
import { startToxiproxy } from '../support/toxiproxy.ts'

const startLimitMs = 400_000
const limitMs = 60_000
jest.setTimeout(limitMs)

const exchange = 'gateway.events'
const never = new AbortController().signal

let node: RabbitMq
beforeAll(async () => {
  node = await startRabbitMq()
}, startLimitMs)
afterAll(async () => {
  await node[Symbol.asyncDispose]()
})

/** What a test has opened, ended after it. */
const opened: Array<() => Promise<unknown>> = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((end) => end()))
})

function open(url: string, limits: Partial<PublisherLimits> = {}) {
  const { logger, lines } = createLogLines()
  const at = parseAmqpUrl(url)
  if (!at) throw new Error(`no AMQP URL: ${url}`)
  const broker: Broker = createRabbitBroker((to) =>
    createAmqpPublisher(
      { url: () => at, exchange: to, limits: { ...publisherLimits, ...limits } },
      { clock: systemClock, logger },
    ),
  )
  opened.push(() => broker.close())
  return { broker, lines }
}

/** A vhost of a test's own, as a URL. */
async function freshVhost(): Promise<string> {
  const name = randomUUID()
  await node.addVhost(name)
  return `amqp://${node.address}/${name}`
}

async function connectTo(url: string): Promise<ChannelModel> {
  const model = await connect(url)
  model.on('error', () => {})
  opened.push(() => model.close().catch(() => {}))
  return model
}

/** A durable queue that is bound for some types, and what is in it. */
async function bindQueue(url: string, key: string, options = {}) {
  const channel = await (await connectTo(url)).createChannel()
  channel.on('error', () => {})
  await channel.assertExchange(exchange, 'topic', { durable: true })
  const { queue } = await channel.assertQueue(`test-${randomUUID()}`, { durable: true, ...options })
  await channel.bindQueue(queue, exchange, key)
  return {
    name: queue,
    channel,
    drain: () => drain(channel, queue),
    remove: () => channel.deleteQueue(queue),
  }
}

async function drain(channel: Channel, queue: string): Promise<GetMessage[]> {
  const messages: GetMessage[] = []
  for (
    let got = await channel.get(queue, { noAck: true });
    got;
    got = await channel.get(queue, { noAck: true })
  ) {
    messages.push(got)
  }
  return messages
}

function event(type: EventType = 'auth.failed', data: object = {}, clientId?: string): LoggedEvent {
  const id = randomUUID()
  const timestamp = '2030-01-02T03:04:05.678Z'
  return {
    id,
    type,
    timestamp,
    requestId: undefined,
    clientId,
    json: JSON.stringify({ id, event_type: type, timestamp, data }),
  }
}

function events(count: number): LoggedEvent[] {
  return Array.from({ length: count }, (_, at) => event('auth.failed', { at }))
}

function idsOf(messages: readonly GetMessage[]): unknown[] {
  return messages.map(({ properties }) => properties.messageId)
}

/** Hands events over until they are taken, as the reader of the log does. */
async function deliverAtLast(broker: Broker, batch: readonly LoggedEvent[]): Promise<readonly Refusal[]> {
  for (;;) {
    const refusals = await broker.deliver(batch, never).catch(() => undefined)
    if (refusals) return refusals
    await delay(50)
  }
}

/** A proxy whose connections can fall silent without an end, while new ones work. */
async function startSilencer(upstream: string) {
  const [host, port] = upstream.split(':')
  const pairs = new Set<readonly [Socket, Socket]>()
  const server = createServer((client) => {
    const behind = createConnection(Number(port), host)
    const pair = [client, behind] as const
    pairs.add(pair)
    for (const socket of pair) socket.on('error', () => {})
    client.pipe(behind)
    behind.pipe(client)
  })
  const address = `127.0.0.1:${await listen(server)}`
  opened.push(async () => {
    for (const socket of [...pairs].flat()) socket.destroy()
    server.close()
  })
  return {
    address,
    /** Settles when the clients of those connections have cut them. */
    async silence() {
      const silenced = [...pairs].map(async ([client, behind]) => {
        client.unpipe(behind)
        behind.unpipe(client)
        client.resume()
        behind.resume()
        await once(client, 'close')
      })
      await Promise.all(silenced)
    },
  }
}

describe('a queue that is bound to the exchange', () => {
  const url = () => process.env['TEST_AMQP_URL'] || `amqp://${node.address}`

  test('gets the envelope as it is, with properties and CloudEvents headers', async () => {
    const queue = await bindQueue(url(), 'auth.failed')
    const sent = event('auth.failed', { reason: 'missing_token', path: '/ä' }, 'client-1')

    const refusals = await open(url()).broker.deliver([sent], never)

    expect(refusals).toEqual([])
    const [got, ...more] = await queue.drain()
    await queue.remove()
    expect(more).toEqual([])
    expect(got?.content.toString()).toBe(sent.json)
    expect(got?.fields).toMatchObject({ exchange, routingKey: 'auth.failed' })
    expect(got?.properties).toMatchObject({
      messageId: sent.id,
      type: 'auth.failed',
      timestamp: Date.UTC(2030, 0, 2, 3, 4, 5) / 1_000,
      contentType: 'application/json',
      deliveryMode: 2,
      appId: 'gatepost',
      headers: {
        'cloudEvents:specversion': '1.0',
        'cloudEvents:id': sent.id,
        'cloudEvents:type': 'auth.failed',
        'cloudEvents:source': 'urn:gatepost',
        'cloudEvents:time': sent.timestamp,
        'cloudEvents:subject': 'client-1',
      },
    })
  })

  test('gets every event once and in order, through a window far smaller than what is handed over', async () => {
    const queue = await bindQueue(url(), 'auth.failed')
    const sent = events(2_000)

    const refusals = await open(url(), { maxUnconfirmed: 7, maxUnconfirmedBytes: 1_000 }).broker.deliver(
      sent,
      never,
    )

    expect(refusals).toEqual([])
    const got = await queue.drain()
    await queue.remove()
    expect(idsOf(got)).toEqual(sent.map(({ id }) => id))
  })

  test('gets its own types; events that no queue is bound for are refused alone', async () => {
    const queue = await bindQueue(url(), 'rate_limit.*')
    const elsewhere = event('circuit_breaker.opened' as EventType)
    const sent = [event('rate_limit.exceeded'), elsewhere, event('rate_limit.exceeded')]

    const refusals = await open(url()).broker.deliver(sent, never)

    expect(refusals).toEqual([{ index: 1, reason: 'unroutable' }])
    const got = await queue.drain()
    await queue.remove()
    expect(idsOf(got)).toEqual([sent[0]?.id, sent[2]?.id])
  })
})

describe('what the broker will not have', () => {
  test('an event too large for it is refused alone, and those around it arrive', async () => {
    const url = await freshVhost()
    const queue = await bindQueue(url, '#')
    const large = event('auth.failed', { path: 'x'.repeat(40_000) })
    const sent = [event(), large, event(), event('request.completed')]

    const refusals = await open(url).broker.deliver(sent, never)

    expect(refusals).toEqual([{ index: 1, reason: 'larger than the 32768 bytes that RabbitMQ takes' }])
    const got = idsOf(await queue.drain())
    expect(new Set(got)).toEqual(new Set([sent[0], sent[2], sent[3]].map((each) => each?.id)))
  })

  test('an event that AMQP cannot express is refused alone', async () => {
    const url = await freshVhost()
    const queue = await bindQueue(url, '#')
    const endless = event('auth.failed', {}, 'c'.repeat(70_000))
    const sent = [endless, event()]

    const refusals = await open(url).broker.deliver(sent, never)

    expect(refusals).toEqual([{ index: 0, reason: expect.stringContaining('65536 byte') }])
    expect(idsOf(await queue.drain())).toEqual([sent[1]?.id])
  })

  test('a full queue fails the delivery; once it has room all is delivered', async () => {
    const url = await freshVhost()
    const queue = await bindQueue(url, '#', { maxLength: 1, overflow: 'reject-publish' })
    const { broker } = open(url)
    const [first, second] = [events(1), events(1)]
    await broker.deliver(first, never)

    await expect(broker.deliver(second, never)).rejects.toThrow(
      /did not take 1 of the messages \(nack\): a queue is full/,
    )

    expect(idsOf(await queue.drain())).toEqual(first.map(({ id }) => id))
    await expect(broker.deliver(second, never)).resolves.toEqual([])
    expect(idsOf(await queue.drain())).toEqual(second.map(({ id }) => id))
  })
})

describe('the exchange', () => {
  test('is declared where it is missing, and declared again where somebody deletes it', async () => {
    const url = await freshVhost()
    const { broker } = open(url)
    await expect(broker.probe(never)).resolves.toMatch(
      /^RabbitMQ 3\.\S+ at amqp:\S+ as guest: .* is not there yet/,
    )

    await expect(broker.deliver([event()], never)).resolves.toEqual([{ index: 0, reason: 'unroutable' }])
    await expect(broker.probe(never)).resolves.toMatch(/: the exchange gateway\.events is there$/)
    await (await (await connectTo(url)).createChannel()).deleteExchange(exchange)

    await expect(broker.deliver([event()], never)).rejects.toThrow(/no exchange 'gateway.events'/)
    await expect(broker.deliver([event()], never)).resolves.toEqual([{ index: 0, reason: 'unroutable' }])
  })

  test('of another type is a clear error until it is gone', async () => {
    const url = await freshVhost()
    const channel = await (await connectTo(url)).createChannel()
    await channel.assertExchange(exchange, 'fanout')
    const { broker } = open(url)

    await expect(broker.deliver([event()], never)).rejects.toThrow(
      /the exchange gateway\.events is there already and is not a durable one of type topic; delete or rename that one/,
    )
    await channel.deleteExchange(exchange)

    await expect(broker.deliver([event()], never)).resolves.toEqual([{ index: 0, reason: 'unroutable' }])
  })

  test('may be published to by a user who may not declare it', async () => {
    const url = await freshVhost()
    const { broker } = open(
      url.replace('amqp://', `amqp://${rabbitUsers.writer.name}:${rabbitUsers.writer.password}@`),
    )
    await expect(broker.deliver([event()], never)).rejects.toThrow(/access to exchange 'gateway.events'/)
    const queue = await bindQueue(url, '#')
    const sent = events(3)

    await expect(broker.deliver(sent, never)).resolves.toEqual([])

    expect(idsOf(await queue.drain())).toEqual(sent.map(({ id }) => id))
  })
})

describe('logging in', () => {
  test('with a wrong password is refused without telling it', async () => {
    const { broker } = open(`amqp://guest:hush-hush@${node.address}`)

    const error = await broker.deliver([event()], never).catch((reason: Error) => reason)

    expect(String(error)).toMatch(/Cannot use RabbitMQ at amqp:\/\/127\.0\.0\.1:\d+\/%2F: .*ACCESS_REFUSED/)
    expect(String(error)).not.toContain('hush-hush')
    await expect(broker.probe(never)).rejects.toThrow(/ACCESS_REFUSED/)
  })

  test('works with names and passwords that are written in percent-encoding', async () => {
    const vhost = `team/a%2Fb ${randomUUID()}`
    await node.addVhost(vhost)
    const { name, password } = rabbitUsers.odd
    const login = `${encodeURIComponent(name)}:${encodeURIComponent(password)}`
    const { broker } = open(`amqp://${login}@${node.address}/${encodeURIComponent(vhost)}`)

    await expect(broker.deliver([event()], never)).resolves.toEqual([{ index: 0, reason: 'unroutable' }])
  })

  test('to a vhost that is not there says so', async () => {
    const { broker } = open(`amqp://${node.address}/nowhere`)

    await expect(broker.deliver([event()], never)).rejects.toThrow(
      /there is no vhost "nowhere", or guest may not use it/,
    )
  })
})

describe('TLS', () => {
  test('works with the authority that the URL names', async () => {
    const { broker } = open(`amqps://${node.tlsAddress}/?cacertfile=${node.caFile}`)

    await expect(broker.probe(never)).resolves.toMatch(/ at amqps:/)
  })

  test('is refused where nobody vouches for the certificate', async () => {
    const { broker } = open(`amqps://${node.tlsAddress}`)

    await expect(broker.deliver([event()], never)).rejects.toThrow(/certificate/)
  })

  test('towards a plain port fails clearly', async () => {
    const { broker } = open(`amqps://${node.address}/?cacertfile=${node.caFile}`)

    await expect(broker.deliver([event()], never)).rejects.toThrow(
      /Cannot use RabbitMQ at amqps:\S+: TLS fails: wrong version number$/,
    )
  })
})

describe('through faults', () => {
  test('kill -9 and a restart lose nothing and keep the order', async () => {
    const url = await freshVhost()
    const queue = await bindQueue(url, '#')
    const { broker } = open(url)
    const batches = Array.from({ length: 60 }, () => events(200))
    let done = 0
    const halfway = Promise.withResolvers<void>()
    const delivering = (async () => {
      for (const batch of batches) {
        await deliverAtLast(broker, batch)
        done += 1
        if (done === 20) halfway.resolve()
      }
    })()

    await halfway.promise
    await node.kill()
    expect(done).toBeLessThan(batches.length)
    await node.restart()
    await delivering

    const channel = await (await connectTo(url)).createChannel()
    const got = idsOf(await drain(channel, queue.name))
    expect([...new Set(got)]).toEqual(batches.flat().map(({ id }) => id))
  }, 120_000)

  test('connections that an operator closes are opened anew', async () => {
    const url = await freshVhost()
    const queue = await bindQueue(url, '#')
    const { broker } = open(url)
    const sent = events(3)
    await broker.deliver(sent.slice(0, 1), never)

    await node.ctl('close_all_connections', 'maintenance')
    await deliverAtLast(broker, sent.slice(1))

    const channel = await (await connectTo(url)).createChannel()
    expect(new Set(idsOf(await drain(channel, queue.name)))).toEqual(new Set(sent.map(({ id }) => id)))
  })

  test(
    'a network that swallows everything fails the delivery in time; healed, all is delivered',
    async () => {
      await using toxiproxy = await startToxiproxy()
      const way = await toxiproxy.wayTo(node.address, await freePort())
      const direct = await freshVhost()
      const queue = await bindQueue(direct, '#')
      const { broker } = open(direct.replace(node.address, way.address), { silenceMs: 400, connectMs: 400 })
      const [first, second] = [events(2), events(2)]
      await broker.deliver(first, never)
      await way.poison({ type: 'timeout', attributes: { timeout: 0 } })

      await expect(broker.deliver(second, never)).rejects.toThrow(/no answer within 400 ms/)
      // Now a connection that never opens.
      await expect(broker.deliver(second, never)).rejects.toThrow(/no answer within 400 ms/)
      await way.heal()
      await deliverAtLast(broker, second)

      expect(new Set(idsOf(await queue.drain()))).toEqual(new Set([...first, ...second].map(({ id }) => id)))
    },
    startLimitMs,
  )

  test('an alarm fails deliveries with its reason and is logged once; when it is over all is delivered', async () => {
    const url = await freshVhost()
    const queue = await bindQueue(url, '#')
    const { broker, lines } = open(url, { silenceMs: 400 })
    const sent = events(5)
    await node.ctl('set_vm_memory_high_watermark', '0')
    try {
      for (let attempt = 0; attempt < 3; attempt += 1) {
        await expect(broker.deliver(sent, never)).rejects.toThrow(/its alarm says "low on memory"/)
      }
    } finally {
      await node.ctl('set_vm_memory_high_watermark', '0.6')
    }
    await deliverAtLast(broker, sent)

    expect(lines.map(({ level, message }) => [level, message])).toEqual([
      ['warn', 'RabbitMQ takes no messages until its alarm is over'],
      ['info', 'RabbitMQ takes messages again'],
    ])
    const got = idsOf(await queue.drain())
    expect(new Set(got)).toEqual(new Set(sent.map(({ id }) => id)))
    expect(got.length).toBeLessThanOrEqual(2 * sent.length)
  })

  test('a connection that falls silent is cut and left for a new one', async () => {
    const url = await freshVhost()
    const queue = await bindQueue(url, '#')
    const proxy = await startSilencer(node.address)
    const { broker } = open(url.replace(node.address, proxy.address), { silenceMs: 400 })
    const sent = events(3)
    await broker.deliver(sent.slice(0, 1), never)

    const ended = proxy.silence()
    await expect(broker.deliver(sent.slice(1), never)).rejects.toThrow(/no answer within 400 ms/)
    await ended
    await broker.deliver(sent.slice(1), never)

    expect(new Set(idsOf(await queue.drain()))).toEqual(new Set(sent.map(({ id }) => id)))
  })

  test('a delivery that is called off ends at once, and the next one works', async () => {
    const url = await freshVhost()
    const queue = await bindQueue(url, '#')
    const { broker } = open(url)
    await broker.deliver(events(1), never)
    const callOff = new AbortController()
    const reason = new Error('enough')

    const delivering = broker.deliver(events(2_000), callOff.signal)
    callOff.abort(reason)

    await expect(delivering).rejects.toBe(reason)
    await expect(broker.deliver(events(1), callOff.signal)).rejects.toBe(reason)
    await queue.drain()
    await expect(broker.deliver(events(1), never)).resolves.toEqual([])
  })

  test('closing ends the connection and what is under way', async () => {
    const url = await freshVhost()
    const { broker } = open(url)
    await broker.deliver(events(1), never)

    const delivering = broker.deliver(events(5_000), never)
    await Promise.all([broker.close(), expect(delivering).rejects.toThrow(/closed/)])

    await expect(broker.deliver(events(1), never)).rejects.toThrow(/closed/)
    expect(await node.ctl('list_connections', 'vhost')).not.toContain(url.split('/').at(-1))
  })
})

test('the example consumer prints each event once, whatever is delivered twice', async () => {
  const url = await freshVhost()
  await using consumer = new RunningProcess({
    name: 'the example',
    command: process.execPath,
    args: ['examples/rabbitmq/consumer.ts'],
    env: { PATH: process.env['PATH'], AMQP_URL: url },
  })
  await consumer.line((line) => line.includes('waiting'))
  const { broker } = open(url)
  const [first, second] = [event('auth.failed', { at: 1 }), event('request.completed', { at: 2 })]

  await broker.deliver([first, second], never)
  await broker.deliver([first], never)
  const last = event('auth.failed', { at: 3 })
  await broker.deliver([last], never)
  await consumer.line((line) => line.includes(last.id))

  expect(consumer.lines.filter((line) => line.startsWith('{'))).toEqual([first.json, second.json, last.json])
})
