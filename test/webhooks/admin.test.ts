import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals'
import Database from 'better-sqlite3'
import { hasStoredWebhooks } from '../../src/webhooks/endpoint-store.ts'
import { type Receiver, startReceiver } from '../support/receiver.ts'
import { until } from '../support/until.ts'
import { createWebhooksRig, endpointOf, value, type WebhooksRig } from '../support/webhooks-rig.ts'

// Every endpoint and delivery is on a real disk.
jest.setTimeout(30_000)

const url = 'https://hooks.example.com/gatepost'
const key = Buffer.alloc(32, 'k')

let rig: WebhooksRig
let receiver: Receiver
beforeEach(async () => {
  rig = await createWebhooksRig()
  receiver = await startReceiver()
})
afterEach(async () => {
  await rig[Symbol.asyncDispose]()
  await receiver.stop()
})

/** What is on disk of endpoints, as bytes. */
const onDisk = () => readFileSync(join(rig.folder, 'webhooks.db')).toString('latin1')

describe('an endpoint', () => {
  test('is made with defaults, a name and a secret of its own, which is told once', async () => {
    rig.start()

    const { webhook, secret } = value(await rig.admin.create({ url }))

    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    expect(webhook).toEqual({
      id: expect.stringMatching(/^wh_[0-9a-f]{16}$/),
      source: 'replica',
      url,
      events: ['*'],
      active: true,
      retryPolicy: { maxRetries: 3, backoffSeconds: 60 },
      headerNames: [],
      filters: {},
      ordered: false,
      concurrency: 8,
      timeoutSeconds: 10,
      secrets: [{}],
      condition: 'delivering',
      pending: 0,
      failuresInRow: 0,
      circuit: 'closed',
    })
    expect(JSON.stringify(value(await rig.admin.list()))).not.toContain(secret)
  })

  test('is there after a restart, with its secrets', async () => {
    rig.start()
    const { secret } = value(
      await rig.admin.create({ id: 'a', url: receiver.origin, secret: 'a'.repeat(20) }),
    )
    await rig.stop()

    rig.start()
    value(await rig.admin.test('a'))

    expect(secret).toBe('a'.repeat(20))
    expect(receiver.received[0]?.headers['x-webhook-signature']).toMatch(/^sha256=[0-9a-f]{64}$/)
    expect(hasStoredWebhooks(rig.folder)).toBe(true)
  })

  test.each<[object, RegExp]>([
    [{ url: 'ftp://example.com/' }, /^url: .*no URL of the web/],
    [{ url: 'https://user:word@example.com/' }, /^url: .*credentials/],
    [{ url, events: ['auth.fialed'] }, /^events: there is no "auth\.fialed", did you mean auth\.failed\?/],
    [{ url, secret: 'short' }, /^secret: /],
    [{ url, id: 'no blanks' }, /^id: /],
    [{ url, rateLimit: '0/1m' }, /^rate_limit: /],
    [{ url, concurrency: 1_000 }, /^concurrency: must be <= 64/],
    [{ url, ordered: true, concurrency: 2 }, /^concurrency must be 1/],
    [{ url, headers: { Host: 'x' } }, /^headers: Host is Gatepost's to set/],
    // What the process has in its environment is nobody's to ask for.
    [{ url: 'https://example.com/$' + '{GATEPOST_SECRET_KEY}' }, /for the file alone/],
    [{ url, headers: { 'x-stolen': '$' + '{HOME}' } }, /for the file alone/],
    [{ url, nonsense: 1 }, /there is no setting "nonsense"/],
  ])('that is not as it must be is refused in words: %j', async (draft, problem) => {
    rig.start()

    const refused = await rig.admin.create(draft as { url: string })

    expect(refused).toEqual({ kind: 'invalid', problems: [expect.stringMatching(problem)] })
    expect(value(await rig.admin.list())).toEqual([])
  })

  test('is one of a thousand at most', async () => {
    rig.start()
    value(await rig.admin.create({ id: 'a', url }))
    await rig.stop()
    const database = new Database(join(rig.folder, 'webhooks.db'))
    database.exec(`INSERT INTO endpoints SELECT 'a' || number, options, headers, secrets FROM endpoints,
      (WITH RECURSIVE n(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM n WHERE number < 999) SELECT * FROM n)`)
    database.close()

    rig.start()

    expect(await rig.admin.create({ url })).toEqual({
      kind: 'conflict',
      why: 'There are 1000 webhooks already, and no room for more.',
    })
  })

  test('is changed by what a change names; null brings a default back', async () => {
    rig.start()
    value(
      await rig.admin.create({
        id: 'a',
        url,
        events: ['auth.failed'],
        headers: { 'x-a': 'value' },
        concurrency: 2,
      }),
    )

    const changed = value(await rig.admin.update('a', { events: ['rate_limit.exceeded'], concurrency: null }))
    const refused = await rig.admin.update('a', { url: 'nonsense' })

    expect(changed).toMatchObject({
      events: ['rate_limit.exceeded'],
      concurrency: 8,
      headerNames: ['x-a'],
      url,
    })
    expect(refused).toMatchObject({ kind: 'invalid' })
    expect(value(await rig.admin.get('a'))).toEqual(changed)
  })

  test('goes with its deliveries', async () => {
    rig.start()
    value(await rig.admin.create({ id: 'a', url: receiver.origin }))
    value(await rig.admin.create({ id: 'b', url: receiver.origin }))
    await rig.tellMany(2)
    await until(() => receiver.received.length === 4)

    value(await rig.admin.remove('a'))

    expect(await rig.admin.get('a')).toEqual({ kind: 'not_found' })
    const { deliveries } = value(await rig.admin.deliveries({}))
    expect(deliveries.map(({ webhookId }) => webhookId)).toEqual(['b', 'b'])
  })

  test('of the file is not the API’s to change, but can be paused', async () => {
    rig.start([endpointOf({ id: 'a', url: `${url}?token=hidden` })])

    const refusals = [
      await rig.admin.update('a', {}),
      await rig.admin.remove('a'),
      await rig.admin.rotate('a', {}),
    ]
    const paused = value(await rig.admin.pause('a'))

    expect(refusals.map(({ kind }) => kind)).toEqual(['conflict', 'conflict', 'conflict'])
    expect(paused).toMatchObject({ condition: 'paused', source: 'file', url: `${url}?token=***` })
    expect(await rig.admin.create({ id: 'a', url })).toMatchObject({ kind: 'conflict' })
  })

  test('that nobody has is not found, whatever is asked', async () => {
    rig.start()

    const answers = await Promise.all([
      rig.admin.get('a'),
      rig.admin.update('a', {}),
      rig.admin.remove('a'),
      rig.admin.rotate('a', {}),
      rig.admin.pause('a'),
      rig.admin.resume('a'),
      rig.admin.enable('a'),
      rig.admin.test('a'),
      rig.admin.delivery('a'),
      rig.admin.replay('a'),
    ])

    expect(answers).toEqual(answers.map(() => ({ kind: 'not_found' })))
  })

  test('stays paused over a restart, queues meanwhile, and delivers when it is resumed', async () => {
    rig.start([endpointOf({ url: receiver.origin })])
    value(await rig.admin.pause('hook'))
    await rig.tellMany(2)
    await rig.stop()

    rig.start([endpointOf({ url: receiver.origin })])
    const paused = value(await rig.admin.get('hook'))
    value(await rig.admin.resume('hook'))
    await until(() => receiver.received.length === 2)

    expect(paused).toMatchObject({ condition: 'paused', pending: 2 })
  })
})

describe('secrets at rest', () => {
  const secret = 'a-secret-that-must-not-be-seen'
  const draft = { id: 'a', secret, headers: { authorization: 'Bearer seen-by-nobody' } }

  test('are sealed where there is a key, header values with them', async () => {
    rig.start([], { key })

    value(await rig.admin.create({ ...draft, url: receiver.origin }))
    value(await rig.admin.rotate('a', {}))

    expect(onDisk()).not.toContain(secret)
    expect(onDisk()).not.toContain('seen-by-nobody')
    expect(value(await rig.admin.test('a')).status).toBe('delivered')
  })

  test('in plain text are refused once there is a key, until they are rotated', async () => {
    rig.start()
    value(await rig.admin.create({ ...draft, url: receiver.origin }))
    await rig.stop()

    rig.start([], { key })
    await rig.tellMany(1)
    const refused = value(await rig.admin.get('a'))
    const untested = await rig.admin.test('a')
    value(await rig.admin.rotate('a', {}))
    await until(() => receiver.received.length === 1)

    expect(refused).toMatchObject({
      condition: 'unusable',
      why: expect.stringContaining('plain text'),
      pending: 1,
    })
    expect(untested).toMatchObject({ kind: 'conflict' })
    expect(onDisk()).not.toContain(secret)
  })

  test('that another key has sealed cannot be used, and their headers have to be set anew', async () => {
    rig.start([], { key })
    value(await rig.admin.create({ ...draft, url: receiver.origin }))
    await rig.stop()

    rig.start([], { key: Buffer.alloc(32, 'o') })
    const { condition } = value(await rig.admin.get('a'))
    const first = await rig.admin.rotate('a', {})
    value(await rig.admin.update('a', { headers: {} }))
    value(await rig.admin.rotate('a', {}))

    expect(condition).toBe('unusable')
    expect(first).toMatchObject({ kind: 'conflict', why: expect.stringContaining('headers') })
    expect(value(await rig.admin.test('a')).status).toBe('delivered')
  })

  test('tell nothing of themselves where somebody has put them in the place of headers', async () => {
    rig.start()
    value(await rig.admin.create({ ...draft, url: receiver.origin }))
    await rig.stop()
    const database = new Database(join(rig.folder, 'webhooks.db'))
    database.exec("UPDATE endpoints SET headers = json_extract(secrets, '$[0].stored')")
    database.close()

    rig.start()
    const found = [await rig.admin.get('a'), await rig.admin.rotate('a', {}), await rig.admin.update('a', {})]
    value(await rig.admin.update('a', { headers: {} }))

    expect(found[0]).toMatchObject({
      value: { condition: 'unusable', why: expect.stringContaining('headers') },
    })
    expect(JSON.stringify(found)).not.toContain('a-secret')
    expect(value(await rig.admin.get('a')).condition).toBe('delivering')
  })

  test('are at most five at the same time', async () => {
    rig.start()
    value(await rig.admin.create({ ...draft, url: receiver.origin }))
    for (let times = 0; times < 4; times++) value(await rig.admin.rotate('a', {}))

    expect(await rig.admin.rotate('a', {})).toMatchObject({ kind: 'conflict' })
    expect(value(await rig.admin.get('a')).secrets.length).toBe(5)
    await rig.clock.advance(86_400_000)
    expect(value(await rig.admin.get('a')).secrets.length).toBe(1)
    expect(value(await rig.admin.rotate('a', {})).webhook.secrets.length).toBe(2)
    expect(await rig.admin.rotate('a', { graceSeconds: -1 })).toMatchObject({ kind: 'invalid' })
  })
})

describe('deliveries', () => {
  test('are listed the newest first, in pages, and chosen by what they are', async () => {
    rig.start([endpointOf({ id: 'a', url: receiver.origin }), endpointOf({ id: 'b', url: receiver.origin })])
    receiver.behave({ kind: 'answer', status: 400 }, { kind: 'answer', status: 200 })
    await rig.tellMany(3)
    await rig.untilSo(
      async () => value(await rig.admin.deliveries({ status: 'pending' })).deliveries.length === 0,
    )

    const seen: string[] = []
    let cursor: string | undefined
    do {
      const page = value(await rig.admin.deliveries({ limit: 4, ...(cursor !== undefined && { cursor }) }))
      seen.push(...page.deliveries.map(({ id }) => id))
      cursor = page.next
    } while (cursor !== undefined)
    const all = value(await rig.admin.deliveries({})).deliveries

    expect(seen).toEqual(all.map(({ id }) => id))
    expect(all.length).toBe(6)
    expect(value(await rig.admin.deliveries({ status: 'failed' })).deliveries.length).toBe(1)
    expect(value(await rig.admin.deliveries({ webhookId: 'b' })).deliveries.length).toBe(3)
    expect(value(await rig.admin.deliveries({ eventType: 'request.completed' })).deliveries).toEqual([])
    expect(value(await rig.admin.deliveries({ sinceMs: rig.clock.now() + 1 })).deliveries).toEqual([])
    expect(await rig.admin.deliveries({ limit: 201 })).toMatchObject({ kind: 'invalid' })
    expect(await rig.admin.deliveries({ cursor: 'nonsense' })).toMatchObject({ kind: 'invalid' })
  })

  test('one that has ended is delivered once more under the same id, with the same bytes', async () => {
    rig.start([endpointOf({ url: receiver.origin })])
    receiver.behave({ kind: 'answer', status: 400, body: 'no' }, { kind: 'answer', status: 200 })
    await rig.tellMany(1)
    const first = await rig.attempted(1)

    const again = value(await rig.admin.replay(first.id))
    await rig.untilSo(async () => value(await rig.admin.delivery(again.id)).status === 'delivered')

    const [one, two] = receiver.received
    expect(two?.headers['webhook-id']).toBe(one?.headers['webhook-id'])
    expect(two?.body.equals(one?.body ?? Buffer.alloc(0))).toBe(true)
    expect(first).toMatchObject({
      status: 'failed',
      reason: 'status',
      attemptLog: [{ answer: 'no', statusCode: 400 }],
    })
    expect(again).toMatchObject({ replayOf: first.id })
    expect(value(await rig.admin.delivery(first.id))).toMatchObject({ replayedBy: again.id })
  })

  test('no more are replayed at once than there is room for, so that a replay costs no event its place', async () => {
    await rig[Symbol.asyncDispose]()
    rig = await createWebhooksRig({ maxPending: 3 })
    rig.start([endpointOf({ url: receiver.origin })])
    receiver.behave({ kind: 'answer', status: 400 })
    for (let at = 0; at < 5; at += 1) {
      await rig.tellMany(1)
      await rig.untilSo(
        async () => value(await rig.admin.deliveries({ status: 'failed' })).deliveries.length === at + 1,
      )
    }
    await rig.admin.pause('hook')

    expect(value(await rig.admin.replayAll({}))).toEqual({ replayed: 3, more: true })
    expect(value(await rig.admin.replayAll({}))).toEqual({ replayed: 0, more: true })
  })

  test('all that a filter fits are replayed once, and not again by the next call', async () => {
    rig.start([endpointOf({ url: receiver.origin })])
    receiver.behave({ kind: 'answer', status: 400 })
    await rig.tellMany(5)
    await rig.untilSo(
      async () => value(await rig.admin.deliveries({ status: 'failed' })).deliveries.length === 5,
    )
    receiver.behave({ kind: 'answer', status: 200 })

    const first = value(await rig.admin.replayAll({ webhookId: 'hook' }))
    const second = value(await rig.admin.replayAll({ webhookId: 'hook' }))
    await rig.untilSo(
      async () => value(await rig.admin.deliveries({ status: 'delivered' })).deliveries.length === 5,
    )

    expect([first, second]).toEqual([
      { replayed: 5, more: false },
      { replayed: 0, more: false },
    ])
    expect(await rig.admin.replayAll({ status: 'pending' })).toMatchObject({ kind: 'invalid' })
  })

  test('all are replayed but those of endpoints that get nothing', async () => {
    receiver.behave(
      { kind: 'answer', status: 400 },
      { kind: 'answer', status: 400 },
      { kind: 'answer', status: 200 },
    )
    const off = endpointOf({ id: 'off', url: receiver.origin })
    rig.start([endpointOf({ id: 'on', url: receiver.origin }), off])
    await rig.tellMany(1)
    await rig.untilSo(
      async () => value(await rig.admin.deliveries({ status: 'failed' })).deliveries.length === 2,
    )
    rig.webhooks.adoptFile([endpointOf({ id: 'on', url: receiver.origin }), { ...off, active: false }])

    const replayed = value(await rig.admin.replayAll({}))
    await until(() => receiver.received.length === 3)

    expect(replayed).toEqual({ replayed: 1, more: false })
    expect(value(await rig.admin.deliveries({ webhookId: 'off' })).deliveries.length).toBe(1)
  })

  test('none is replayed to an endpoint that gets nothing, nor one that has not ended', async () => {
    rig.start([endpointOf({ url: receiver.origin })])
    value(await rig.admin.pause('hook'))
    await rig.tellMany(1)
    const pending = await rig.newest()
    const early = await rig.admin.replay(pending.id)
    rig.webhooks.adoptFile([endpointOf({ url: receiver.origin, active: false })])

    expect(early).toMatchObject({ kind: 'conflict' })
    expect(await rig.admin.replayAll({ webhookId: 'hook' })).toMatchObject({ kind: 'conflict' })
    expect(await rig.admin.replayAll({ webhookId: 'nobody' })).toMatchObject({ kind: 'conflict' })
  })
})

describe('a test', () => {
  test('goes to an endpoint that is paused, disabled or inactive, once, and says what came of it', async () => {
    rig.start([endpointOf({ url: receiver.origin, active: false })])
    receiver.behave({ kind: 'answer', status: 503, body: 'later' })

    const tested = value(await rig.admin.test('hook'))

    expect(tested).toMatchObject({
      eventType: 'webhook.test',
      status: 'failed',
      reason: 'status',
      test: true,
      attemptLog: [{ result: 'retry', statusCode: 503, answer: 'later' }],
    })
    expect(JSON.parse(String(receiver.received[0]?.body))).toEqual({
      event: 'webhook.test',
      timestamp: '2030-01-01T00:00:00.000Z',
      data: { webhook_id: 'hook' },
    })
    await rig.clock.advance(3_600_000)
    expect(receiver.received.length).toBe(1)
    expect(value(await rig.admin.get('hook'))).toMatchObject({ failuresInRow: 0, pending: 0 })
  })

  test('is no delivery that can be replayed', async () => {
    rig.start([endpointOf({ url: receiver.origin })])
    const { id } = value(await rig.admin.test('hook'))

    expect(await rig.admin.replay(id)).toMatchObject({ kind: 'conflict' })
  })
})

test('once Gatepost ends, calls say so', async () => {
  rig.start()
  const { admin } = rig
  await rig.stop()

  expect(await admin.create({ url })).toMatchObject({ kind: 'unavailable' })
  expect(await admin.list()).toMatchObject({ kind: 'unavailable' })
})
