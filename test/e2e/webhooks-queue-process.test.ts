import { createHmac, randomBytes, randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { runGatepost } from '../support/command.ts'
import { parseLogLine, startGatepost } from '../support/gatepost.ts'
import { connectGrpc } from '../support/grpc-client.ts'
import { freePort } from '../support/ports.ts'
import { RunningProcess } from '../support/process.ts'
import { type RabbitMq, startRabbitMq } from '../support/rabbitmq.ts'
import { type Receiver, startReceiver } from '../support/receiver.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'

jest.setTimeout(90_000)

const mainFile = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const secret = 'a-secret-of-this-test'

let node: RabbitMq
beforeAll(async () => {
  node = await startRabbitMq()
}, 400_000)
afterAll(async () => {
  await node[Symbol.asyncDispose]()
})

let folder: TempFolder
let file: string
let receiver: Receiver
let env: Record<string, string>
beforeEach(async () => {
  folder = await tempFolder('webhooks-queue')
  receiver = await startReceiver()
  file = join(folder.path, 'webhooks.yaml')
  await writeFile(join(folder.path, 'secret'), secret)
  await writeEndpoint(`${receiver.origin}/hook`)
  const vhost = randomUUID()
  await node.addVhost(vhost)
  env = {
    AMQP_URL: `amqp://${node.address}/${vhost}`,
    GATEPOST_WEBHOOK_QUEUE: 'rabbitmq',
    GATEPOST_WEBHOOKS_FILE: file,
    GATEPOST_WEBHOOK_ALLOW_PRIVATE: 'true',
    GATEPOST_SECRET_KEY: randomBytes(32).toString('base64'),
    GATEPOST_DRAIN_TIMEOUT: '5s',
  }
})
afterEach(async () => {
  await receiver.stop()
  await folder.remove()
})

function writeEndpoint(url: string): Promise<void> {
  const text = `webhooks: [{ id: hook, url: "${url}", secret_file: ${folder.path}/secret, events: [auth.failed], retry_policy: { max_retries: 0 } }]\n`
  return writeFile(file, text)
}

async function startDeliver(): Promise<RunningProcess & { statusAddress: string }> {
  const process_ = new RunningProcess({
    name: 'gatepost deliver',
    command: process.execPath,
    args: [mainFile, 'deliver'],
    env: { PATH: process.env['PATH'], ...env, GATEPOST_STATUS_ADDRESS: '127.0.0.1:0' },
  })
  const line = await process_.line((text) => parseLogLine(text)?.message === 'delivering')
  return Object.assign(process_, { statusAddress: String(parseLogLine(line)?.['status_address']) })
}

/** Has callers refused, which is an event each time. */
async function refuse(times: number): Promise<void> {
  await using gatepost = await startGatepost({ ...env, GATEPOST_CLIENT_CERT: 'principal' })
  using client = connectGrpc(gatepost.grpcAddress)
  for (let left = times; left > 0; left--) await client.check({})
}

test('what a sidecar tells is delivered by a worker from the queue, once, and the sidecar itself sends nothing', async () => {
  await refuse(5)
  expect(receiver.received).toEqual([])

  const deliver = await startDeliver()
  await until(() => receiver.received.length >= 5, 30_000)
  const ready = await fetch(`http://${deliver.statusAddress}/readyz`)
  const health = await fetch(`http://${deliver.statusAddress}/healthz`)
  const metrics = await (await fetch(`http://${deliver.statusAddress}/metrics`)).text()
  deliver.signal('SIGTERM')

  expect(await deliver.ended).toBe('exit code 0')
  expect(receiver.received).toHaveLength(5)
  for (const { body, headers } of receiver.received) {
    const mac = createHmac('sha256', secret).update(body).digest('hex')
    expect(headers['x-webhook-signature']).toBe(`sha256=${mac}`)
    expect(JSON.parse(body.toString())).toMatchObject({
      event: 'auth.failed',
      data: { reason: 'missing_token' },
    })
  }
  expect([ready.status, health.status]).toEqual([200, 200])
  expect(await ready.json()).toMatchObject({ status: 'ready', connected: true, webhooks: 1 })
  expect(metrics).toContain('gateway_webhook_attempts_total{webhook_id="hook",result="delivered"} 5\n')
  expect(metrics).toContain('gateway_webhook_queue_connected 1\n')
  expect(deliver.lines.join('\n')).not.toContain(secret)
})

test('a worker takes up a changed file, and dead letters are sent back by a command', async () => {
  receiver.behave({ kind: 'answer', status: 400 })
  await using elsewhere = await startReceiver()
  const deliver = await startDeliver()
  await refuse(2)
  await until(() => receiver.received.length === 2, 30_000)
  await writeEndpoint(elsewhere.origin)
  await deliver.line((line) => line.includes('file reloaded'))

  const { code, stdout } = await runGatepost(['deliver', '--replay-dead'], env)

  expect(stdout).toBe('2 sent back to be delivered, 0 left where they are\n')
  expect(code).toBe(0)
  await until(() => elsewhere.received.length === 2, 30_000)
  expect(receiver.received).toHaveLength(2)
  const ids = (of: Receiver) => new Set(of.received.map(({ headers }) => headers['webhook-id']))
  expect(ids(elsewhere)).toEqual(ids(receiver))
  await deliver.stop()
})

test('a worker whose RabbitMQ is not there waits for it, says that it is not ready, and ends when it is told to', async () => {
  env['AMQP_URL'] = `amqp://127.0.0.1:${await freePort()}`
  const deliver = await startDeliver()
  await deliver.line((line) => line.includes('cannot connect to RabbitMQ'))

  const ready = await fetch(`http://${deliver.statusAddress}/readyz`)
  const replay = await runGatepost(['deliver', '--replay-dead'], env)
  deliver.signal('SIGTERM')

  expect(ready.status).toBe(503)
  expect(replay).toMatchObject({ code: 69, stdout: '' })
  expect(replay.stderr).toMatch(/^Cannot replay dead letters: .*ECONNREFUSED/)
  expect(await deliver.ended).toBe('exit code 0')
})

test('a user with no more rights than the documentation says can do everything', async () => {
  const vhost = decodeURIComponent(env['AMQP_URL']?.split('/').at(-1) ?? '')
  await node.ctl('add_user', 'webhooks', 'webhooks')
  await node.ctl(
    'set_permissions',
    '-p',
    vhost,
    'webhooks',
    '^gateway\\.',
    '^(gateway\\.|amq\\.default$)',
    '^gateway\\.',
  )
  env['AMQP_URL'] = `amqp://webhooks:webhooks@${node.address}/${vhost}`
  receiver.behave({ kind: 'answer', status: 400 }, { kind: 'answer', status: 200 })

  const deliver = await startDeliver()
  await refuse(1)
  await until(() => receiver.received.length === 1, 30_000)
  const { stdout, stderr } = await runGatepost(['deliver', '--replay-dead'], env)
  expect([stdout, stderr]).toEqual(['1 sent back to be delivered, 0 left where they are\n', ''])
  await until(() => receiver.received.length === 2, 30_000)

  await deliver.stop()
})

describe('gatepost deliver refuses', () => {
  test.each<[string, Record<string, string>, RegExp]>([
    ['what the environment lacks', { AMQP_URL: '' }, /rabbitmq needs AMQP_URL, or AMQP_URL_FILE/],
    [
      'an endpoint that it must not reach',
      { GATEPOST_WEBHOOK_ALLOW_PRIVATE: 'false' },
      /GATEPOST_WEBHOOKS_FILE: webhook "hook": url: 127\.0\.0\.1 is not a public address/,
    ],
    ['a listener that it cannot have', { GATEPOST_STATUS_ADDRESS: '192.0.2.1:1' }, /192\.0\.2\.1/],
  ])('%s', async (_what, changes, problem) => {
    const { code, stderr } = await runGatepost(['deliver'], { ...env, ...changes })

    expect(stderr).toMatch(problem)
    expect(code).toBe(78)
  })
})
