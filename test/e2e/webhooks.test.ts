import { createHmac } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { type Gatepost, startGatepost } from '../support/gatepost.ts'
import { type Receiver, startReceiver } from '../support/receiver.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'
import { testSecret } from '../support/webhooks-rig.ts'

jest.setTimeout(120_000)

const token = 'a-token-that-nobody-guesses-and-that-is-long-enough'

let folder: TempFolder
let file: string
let receiver: Receiver
beforeEach(async () => {
  folder = await tempFolder('webhooks-e2e')
  file = join(folder.path, 'webhooks.yaml')
  receiver = await startReceiver()
})
afterEach(async () => {
  await receiver.stop()
  await folder.remove()
})

const start = (env: Record<string, string> = {}) =>
  startGatepost({
    GATEPOST_AUTH: 'none',
    GATEPOST_ADMIN_TOKEN: token,
    GATEPOST_DATA_DIR: join(folder.path, 'data'),
    GATEPOST_WEBHOOK_ALLOW_PRIVATE: 'true',
    ...env,
  })

const write = (...hooks: readonly string[]) => writeFile(file, `webhooks: [${hooks.join(', ')}]\n`)

const hook = (id: string, path = id) =>
  `{id: ${id}, url: "${receiver.origin}/${path}", secret: "${testSecret}", events: [circuit_breaker.*]}`

async function ask({ adminAddress }: Gatepost, method: string, path: string, body?: object) {
  const response = await fetch(`http://${adminAddress}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body && { 'content-type': 'application/json' }),
    },
    ...(body && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, json: text === '' ? undefined : JSON.parse(text) }
}

/** An event that needs no Envoy: the first override of a circuit is a change of it. */
async function openCircuit(gatepost: Gatepost, service: string): Promise<void> {
  const order = { override: 'open', reason: 'a test', for: '1h' }
  expect((await ask(gatepost, 'POST', `/api/circuits/${service}`, order)).status).toBe(200)
}

/** A policy with one service that has a circuit. */
async function policy(): Promise<Record<string, string>> {
  const path = join(folder.path, 'policy.yaml')
  await writeFile(path, 'routes: [{match: {path: /a}, name: a, service: users, circuit: {failures: 5}}]\n')
  return { GATEPOST_POLICY_FILE: path }
}

const received = (gatepost: Gatepost, count: number) =>
  gatepost.process.until(() => receiver.received.length >= count || undefined)

describe('a running Gatepost', () => {
  test('delivers its events to the endpoints of the file, signed, and takes a changed file up', async () => {
    await write(hook('a'))
    await using gatepost = await start({ GATEPOST_WEBHOOKS_FILE: file, ...(await policy()) })

    await openCircuit(gatepost, 'users')
    await received(gatepost, 1)
    await write(hook('a'), hook('b'))
    await gatepost.process.until(
      async () => (await ask(gatepost, 'GET', '/api/webhooks')).json.webhooks.length === 2 || undefined,
    )
    const tested = await ask(gatepost, 'POST', '/api/webhooks/b/test')

    const [first] = receiver.received
    expect(first?.headers['x-webhook-signature']).toBe(
      `sha256=${createHmac('sha256', testSecret)
        .update(first?.body ?? '')
        .digest('hex')}`,
    )
    expect(JSON.parse(String(first?.body))).toMatchObject({
      event: 'circuit_breaker.opened',
      data: { service: 'users', cause: 'override' },
    })
    expect(tested.json).toMatchObject({ status: 'delivered', event: 'webhook.test' })
  })

  test('delivers from the first endpoint on that is added to it, and after a restart', async () => {
    const env = await policy()
    const draft = { id: 'a', url: `${receiver.origin}/a`, events: ['circuit_breaker.opened'] }
    {
      await using gatepost = await start(env)
      const before = await ask(gatepost, 'GET', '/api/webhooks')
      const made = await ask(gatepost, 'POST', '/api/webhooks', draft)
      await openCircuit(gatepost, 'users')
      await received(gatepost, 1)
      expect(before.json).toEqual({ webhooks: [] })
      expect(made.json.secret).toMatch(/^whsec_/)
    }

    await using gatepost = await start(env)
    await openCircuit(gatepost, 'users')
    // A receiver has a delivery before Gatepost has its answer.
    const deliveries = await gatepost.process.until(async () => {
      const { json } = await ask(gatepost, 'GET', '/api/deliveries?status=delivered')
      return json.deliveries.length === 2 ? json.deliveries : undefined
    })

    expect(deliveries).toMatchObject([{ webhook_id: 'a' }, { webhook_id: 'a' }])
    expect(receiver.received).toHaveLength(2)
  })

  test('tells that an endpoint was disabled, as an event, a metric and a detail of its readiness', async () => {
    receiver.behave({ kind: 'answer', status: 410 })
    await write(hook('a', 'a?token=hidden'))
    await using gatepost = await start({ GATEPOST_WEBHOOKS_FILE: file, ...(await policy()) })

    await openCircuit(gatepost, 'users')
    const event = await gatepost.process.until(async () =>
      (await gatepost.events()).find(({ event_type }) => event_type === 'endpoint.disabled'),
    )
    const metrics = await gatepost.process.until(async () => {
      const text = await (await fetch(`http://${gatepost.adminAddress}/metrics`)).text()
      return text.includes('gateway_webhook_disabled{webhook_id="a"} 1') ? text : undefined
    })

    expect(event.data).toEqual({ webhook_id: 'a', url: `${receiver.origin}/a`, reason: 'gone', failures: 1 })
    expect(metrics).toContain('gateway_webhook_attempts_total{webhook_id="a",result="gone"} 1')
    const ready = await (await fetch(`http://${gatepost.adminAddress}/readyz`)).json()
    expect(ready).toMatchObject({ webhooks: { a: { condition: 'disabled', pending: 0 } } })
  })
})

describe('Gatepost does not start', () => {
  test('where an endpoint of the file has an address that must not be reached', async () => {
    await write(hook('a'))

    const starting = start({ GATEPOST_WEBHOOKS_FILE: file, GATEPOST_WEBHOOK_ALLOW_PRIVATE: 'false' })

    await expect(starting).rejects.toThrow(
      /exit code 78[\s\S]*GATEPOST_WEBHOOKS_FILE: webhook "a": url: 127\.0\.0\.1 is not a public address/,
    )
  })

  test('where the endpoints of the replica cannot be read', async () => {
    await using gatepost = await start()
    await ask(gatepost, 'POST', '/api/webhooks', { id: 'a', url: `${receiver.origin}/a` })
    await gatepost.stop()
    await writeFile(
      join(folder.path, 'data', 'webhooks.db'),
      'this is no database, and never will be one'.repeat(100),
    )

    await expect(start()).rejects.toThrow(/exit code 78[\s\S]*webhooks\.db cannot be used/)
  })
})
