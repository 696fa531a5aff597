import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { adminToken, holdAgainstDescription, operations } from '../support/admin-api.ts'
import { type CommandResult, runGatepost } from '../support/command.ts'
import { type Gatepost, startGatepost } from '../support/gatepost.ts'
import { freePort } from '../support/ports.ts'
import { RunningProcess } from '../support/process.ts'
import { type Receiver, startReceiver } from '../support/receiver.ts'
import { tempFolder } from '../support/temp.ts'

// Each test starts processes, on machines that may be busy.
jest.setTimeout(60_000)

const fileSecret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
const headerValue = 'Bearer hunter2-hunter2'

const opened = new AsyncDisposableStack()
let receiver: Receiver
let gatepost: Gatepost
/** The operations that were asked so far, by method and path of the description. */
const asked = new Set<string>()
/** Everything that was answered, but for what shows a secret the once. */
let told = ''

beforeAll(async () => {
  receiver = opened.use(await startReceiver())
  const folder = opened.use(await tempFolder('admin-api'))
  const file = join(folder.path, 'webhooks.yaml')
  const webhooks = [{ id: 'filed', url: receiver.origin, secret: fileSecret, events: ['auth.failed'] }]
  await writeFile(file, JSON.stringify({ webhooks }))
  gatepost = opened.use(
    await startGatepost({
      GATEPOST_AUTH: 'none',
      GATEPOST_ADMIN_TOKEN: adminToken,
      GATEPOST_WEBHOOKS_FILE: file,
      GATEPOST_WEBHOOK_ALLOW_PRIVATE: 'true',
      GATEPOST_RATE_LIMIT: '100/1m',
      GATEPOST_POLICY: JSON.stringify({
        routes: [
          { name: 'users', match: { path: '/users' }, service: 'user-service', circuit: { failures: 5 } },
        ],
      }),
    }),
  )
}, 60_000)
afterAll(() => opened.disposeAsync())

interface Answer {
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: the description says what it is, and each answer is held against it.
  body: any
}

/** Asks what `operation` is, and holds the answer against the description. */
async function ask(
  method: string,
  template: string,
  { id = '', query = '', body }: Asking = {},
): Promise<Answer> {
  asked.add(`${method} ${template}`)
  const path = template.replace(/\{\w+\}/, encodeURIComponent(id)) + query
  const response = await fetch(`http://${gatepost.adminAddress}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${adminToken}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  const [type = ''] = (response.headers.get('content-type') ?? '').split(';', 1)
  const parsed: unknown = type.endsWith('json') ? JSON.parse(text) : text
  holdAgainstDescription(method, path, response.status, type, parsed)
  const { secret: _once, ...shown } = parsed as { secret?: string }
  told += typeof parsed === 'string' ? parsed : JSON.stringify(shown)
  return { status: response.status, body: parsed }
}

interface Asking {
  id?: string
  query?: string
  body?: unknown
}

/** Asks until it is so. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  await gatepost.process.until(async () => (await condition()) || undefined)
}

describe('the admin API of a Gatepost that runs answers as it is described', () => {
  async function itself(): Promise<void> {
    expect((await ask('GET', '/healthz')).body).toEqual({ status: 'alive' })
    expect((await ask('GET', '/readyz')).body).toMatchObject({ status: 'ready' })
    expect((await ask('GET', '/metrics')).body).toContain('gateway_')
    expect((await ask('GET', '/openapi.json')).body).toMatchObject({ openapi: '3.1.0' })
  }

  async function requestsAndCircuits(): Promise<void> {
    const explained = await ask('POST', '/api/explain', { body: { method: 'GET', path: '/users' } })
    expect(explained.body).toMatchObject({ verdict: { decision: 'allow' }, limits: [{ limit: '100/1m' }] })

    const order = { override: 'open', reason: 'this test' }
    await ask('POST', '/api/circuits/{service}', { id: 'user-service', body: order })
    const { body } = await ask('GET', '/api/circuits')
    expect(body.circuits).toMatchObject([{ service: 'user-service', override: { reason: 'this test' } }])

    const refused = await ask('POST', '/api/explain', { body: { method: 'GET', path: '/users' } })
    expect(refused.body.verdict).toMatchObject({ decision: 'deny', status: 503 })
    await ask('POST', '/api/circuits/{service}', { id: 'user-service', body: { override: 'none' } })
  }

  async function endpointFromBeginningToEnd(): Promise<void> {
    const draft = {
      id: 'mine',
      url: `${receiver.origin}/?key=hunter2-hunter2`,
      events: ['circuit_breaker.*'],
      headers: { authorization: headerValue },
      retry_policy: { max_retries: 0 },
      rate_limit: '100/1s',
      filters: { services: ['user-service'] },
    }
    const made = await ask('POST', '/api/webhooks', { body: draft })
    expect([made.status, made.body]).toMatchObject([201, { source: 'replica', rate_limit: '100/1s' }])
    expect(made.body.secret).toMatch(/^whsec_/)
    expect((await ask('POST', '/api/webhooks', { body: draft })).status).toBe(409)

    const { body: listed } = await ask('GET', '/api/webhooks')
    expect(listed.webhooks).toMatchObject([
      { id: 'filed', source: 'file' },
      { id: 'mine', source: 'replica' },
    ])
    const change = { events: ['circuit_breaker.opened', 'circuit_breaker.closed'], rate_limit: null }
    expect((await ask('PATCH', '/api/webhooks/{id}', { id: 'mine', body: change })).body).toMatchObject({
      events: change.events,
    })
    expect((await ask('GET', '/api/webhooks/{id}', { id: 'mine' })).body).not.toHaveProperty('rate_limit')

    const rotated = await ask('POST', '/api/webhooks/{id}/rotate', { id: 'mine', body: {} })
    expect([rotated.body.secrets.length, rotated.body.secret !== made.body.secret]).toEqual([2, true])

    for (const [order, condition] of [
      ['pause', 'paused'],
      ['resume', 'delivering'],
      ['enable', 'delivering'],
    ]) {
      const { body } = await ask('POST', `/api/webhooks/{id}/${order}`, { id: 'mine' })
      expect([order, body.condition]).toEqual([order, condition])
    }
    expect((await ask('DELETE', '/api/webhooks/{id}', { id: 'mine' })).status).toBe(204)
    expect((await ask('GET', '/api/webhooks/{id}', { id: 'mine' })).status).toBe(404)
    told = told.replaceAll(rotated.body.secret, 'a secret')
    expect(told).not.toContain(made.body.secret)
  }

  async function deliveries(): Promise<void> {
    const draft = { id: 'sick', url: receiver.origin, events: ['circuit_breaker.*'] }
    await ask('POST', '/api/webhooks', { body: draft })
    receiver.behave({ kind: 'answer', status: 200, body: 'thanks' })
    expect((await ask('POST', '/api/webhooks/{id}/test', { id: 'sick' })).body).toMatchObject({
      status: 'delivered',
      test: true,
      attempt_log: [{ status_code: 200, answer: 'thanks' }],
    })

    receiver.behave({ kind: 'answer', status: 400 })
    const order = { override: 'open', reason: 'this test' }
    await ask('POST', '/api/circuits/{service}', { id: 'user-service', body: order })
    const query = '?webhook_id=sick&status=failed&event=circuit_breaker.opened&limit=1'
    let failed: Answer['body'] = {}
    await until(async () => {
      ;({ body: failed } = await ask('GET', '/api/deliveries', { query }))
      return failed.deliveries.length > 0
    })
    const { id } = failed.deliveries[0]
    const detail = await ask('GET', '/api/deliveries/{id}', { id })
    expect(detail.body).toMatchObject({ attempts: 1, attempt_log: [{ result: 'failed', status_code: 400 }] })
    expect(JSON.parse(detail.body.body)).toMatchObject({ event: 'circuit_breaker.opened' })

    receiver.behave({ kind: 'answer', status: 200 })
    const again = await ask('POST', '/api/deliveries/{id}/replay', { id })
    expect([again.status, again.body]).toMatchObject([201, { replay_of: id }])
    await until(async () => {
      const { body } = await ask('GET', '/api/deliveries/{id}', { id: again.body.id })
      return body.status === 'delivered'
    })
    const all = { status: 'delivered', webhook_id: 'sick', event: 'circuit_breaker.opened' }
    expect((await ask('POST', '/api/deliveries/replay', { body: all })).body.replayed).toBeGreaterThan(0)
    expect((await ask('GET', '/api/deliveries', { query: '?cursor=nonsense' })).status).toBe(400)
  }

  async function endpointOfTheFile(): Promise<void> {
    const { status, body } = await ask('PATCH', '/api/webhooks/{id}', {
      id: 'filed',
      body: { active: false },
    })

    expect([status, body.title]).toEqual([409, expect.stringContaining('file')])
  }

  test('in every operation, and gives no secret away, in its log neither', async () => {
    await itself()
    await requestsAndCircuits()
    await endpointFromBeginningToEnd()
    await deliveries()
    await endpointOfTheFile()

    const all = operations.map(({ method, path }) => `${method} ${path}`)
    expect(all.filter((operation) => !asked.has(operation))).toEqual([])
    const log = gatepost.process.lines.join('\n')
    for (const secret of [fileSecret, 'hunter2', adminToken]) {
      expect([secret, told.includes(secret), log.includes(secret)]).toEqual([secret, false, false])
    }
    expect(`${told}${log}`.match(/whsec_[\w+/=]{8,}/g)).toBeNull()
  })
})

describe('the command line beside it', () => {
  /** Runs a command in a shell that knows nothing but where Gatepost is. */
  function run(line: string, more: Record<string, string> = {}): Promise<CommandResult> {
    return runGatepost(line.split(' '), {
      GATEPOST_ADMIN_ADDRESS: gatepost.adminAddress,
      GATEPOST_ADMIN_TOKEN: adminToken,
      ...more,
    })
  }

  test('manages webhooks', async () => {
    const { code, stdout, stderr } = await run('webhooks show filed')

    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/^declared in +GATEPOST_WEBHOOKS_FILE$/m)
  })

  test('shows circuits', async () => {
    const { code, stdout } = await run('circuits')

    expect([code, stdout]).toEqual([0, expect.stringMatching(/^user-service +(open|closed) /m)])
  })

  test('reads a secret from its standard input, and not from its arguments', async () => {
    const script = `echo ${fileSecret} | "$NODE" src/main.ts webhooks add --url https://a.example/ --secret-file -`
    await using adding = new RunningProcess({
      name: 'gatepost webhooks add',
      command: '/bin/sh',
      args: ['-c', script],
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      env: {
        PATH: process.env['PATH'],
        NODE: process.execPath,
        GATEPOST_ADMIN_ADDRESS: gatepost.adminAddress,
        GATEPOST_ADMIN_TOKEN: adminToken,
      },
    })
    const refused = await run('webhooks add --url https://a.example/ --secret x')

    expect([await adding.ended, adding.lines.includes(fileSecret)]).toEqual(['exit code 0', true])
    expect([refused.code, refused.stderr]).toEqual([64, expect.stringContaining("'--secret'")])
  })

  test.each<[string, Record<string, string>, number, RegExp]>([
    [
      'another token',
      { GATEPOST_ADMIN_TOKEN: 'another-token-of-this-test' },
      69,
      /GATEPOST_ADMIN_TOKEN the same/,
    ],
    ['a bad variable', { GATEPOST_ADMIN_ADDRESS: 'x' }, 78, /GATEPOST_ADMIN_ADDRESS: "x"/],
  ])('by %s ends in one clear line', async (_what, more, exit, problem) => {
    const { code, stdout, stderr } = await run('webhooks list', more)

    expect([code, stdout, stderr]).toEqual([exit, '', expect.stringMatching(problem)])
  })

  test('where nothing runs says so, and what to do', async () => {
    const { code, stderr } = await run('webhooks list', {
      GATEPOST_ADMIN_ADDRESS: `127.0.0.1:${await freePort()}`,
    })

    expect([code, stderr]).toEqual([
      69,
      expect.stringMatching(/^No gatepost runs on 127.*; start one, or set/),
    ])
  })
})
