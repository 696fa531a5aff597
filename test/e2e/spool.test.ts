import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, jest, test } from '@jest/globals'
import { connect } from 'amqplib'
import { runGatepost } from '../support/command.ts'
import { readEvents } from '../support/event-schema.ts'
import { type Gatepost, parseLogLine, startGatepost, waitUntilReady } from '../support/gatepost.ts'
import { connectGrpc } from '../support/grpc-client.ts'
import { freePort } from '../support/ports.ts'
import { type RabbitMq, startRabbitMq } from '../support/rabbitmq.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'

jest.setTimeout(120_000)

let rabbit: RabbitMq
beforeAll(async () => {
  rabbit = await startRabbitMq()
})
afterAll(async () => {
  await rabbit[Symbol.asyncDispose]()
})

let folder: TempFolder
let dataFolder: string
let nowhere: string
beforeEach(async () => {
  folder = await tempFolder('spool')
  dataFolder = join(folder.path, 'data')
  nowhere = `127.0.0.1:${await freePort()}`
})
afterEach(() => folder.remove())

/** Where every caller is refused, which is an event each time. */
function refusing(amqpAddress: string): Record<string, string> {
  return {
    GATEPOST_CLIENT_CERT: 'principal',
    GATEPOST_DATA_DIR: dataFolder,
    GATEPOST_DRAIN_TIMEOUT: '1s',
    AMQP_URL: `amqp://guest:guest@${amqpAddress}`,
  }
}

async function refuse(gatepost: Gatepost, times: number): Promise<void> {
  using client = connectGrpc(gatepost.grpcAddress)
  for (let left = times; left > 0; left--) await client.check({})
}

interface Sinks {
  sinks: Record<string, { queued: number; sent: number; failing: boolean }>
}

/** Waits until the sink of RabbitMQ stands as it should. */
function untilSink(gatepost: Gatepost, stands: (sink: Sinks['sinks'][string]) => boolean) {
  return gatepost.process.until(async () => {
    const { sinks } = (await (await fetch(`http://${gatepost.adminAddress}/readyz`)).json()) as Sinks
    const { rabbitmq } = sinks
    return rabbitmq && stands(rabbitmq) ? rabbitmq : undefined
  })
}

test('events wait on disk for a broker that is away, over SIGTERM and kill -9, and are delivered in the end, in order', async () => {
  const connection = await connect(`amqp://guest:guest@${rabbit.address}`)
  const channel = await connection.createChannel()
  await channel.assertExchange('gateway.events', 'topic', { durable: true })
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, 'gateway.events', 'auth.failed')
  const got: string[] = []
  await channel.consume(queue, (message) => got.push(message?.content.toString() ?? ''), { noAck: true })

  const first = await startGatepost(refusing(nowhere))
  await refuse(first, 10)
  await untilSink(first, ({ queued, failing }) => queued === 10 && failing)
  const ready = await fetch(`http://${first.adminAddress}/readyz`)
  const metrics = await (await fetch(`http://${first.adminAddress}/metrics`)).text()
  const { stdout } = await runGatepost(
    ['check'],
    { ...refusing(nowhere), GATEPOST_ADMIN_ADDRESS: first.adminAddress },
    folder.path,
  )
  await first.stop()
  const second = await startGatepost(refusing(nowhere))
  await refuse(second, 10)
  await untilSink(second, ({ queued }) => queued === 20)
  second.process.signal('SIGKILL')
  await second.process.ended
  await using third = await startGatepost(refusing(rabbit.address))
  await refuse(third, 10)
  const sink = await untilSink(third, ({ sent }) => sent >= 30)
  await third.process.until(() => (got.length >= 30 ? true : undefined))
  await connection.close()

  expect(ready.status).toBe(200)
  expect(metrics).toContain('gateway_sink_queued_events{sink="rabbitmq"} 10\n')
  expect(stdout).toMatch(/^rabbitmq +FAILED /m)
  expect(stdout).toMatch(
    / sink rabbitmq: failing, 0 sent, 10 queued, the oldest for \d+ s, 0 dropped, 0 set aside$/m,
  )
  expect(sink).toMatchObject({ queued: 0, sent: 30, failing: false })
  const events = readEvents(got.join('\n'))
  expect(new Set(events.map(({ id }) => id)).size).toBe(30)
  const times = events.map(({ timestamp }) => timestamp)
  expect(times).toEqual([...times].sort())
  await second.stop()
})

test('a folder where events cannot be kept is a problem of the configuration, and its line says so', async () => {
  await mkdir(join(dataFolder, 'spool.db'), { recursive: true })

  const { code, stderr } = await runGatepost(['serve'], refusing(nowhere), folder.path)

  expect(code).toBe(78)
  expect(stderr).toContain('GATEPOST_DATA_DIR: cannot keep events in it: EISDIR')
  await rm(dataFolder, { recursive: true })
})

test('a data folder that another process holds is a problem where there is a broker, even with an admin token', async () => {
  const env = { ...refusing(nowhere), GATEPOST_ADMIN_TOKEN: 'the-admin-token-of-this-test' }
  await using first = await startGatepost(env)
  await waitUntilReady(first)

  const { code, stderr } = await runGatepost(
    ['serve'],
    { ...env, GATEPOST_GRPC_ADDRESS: '127.0.0.1:0', GATEPOST_ADMIN_ADDRESS: '127.0.0.1:0' },
    folder.path,
  )

  expect(code).toBe(78)
  expect(stderr).toContain('another process of Gatepost uses it')
  expect(first.process.lines.map(parseLogLine).filter((line) => line?.level === 'error')).toEqual([])
})
