import { createHmac } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals'
import Database from 'better-sqlite3'
import { Webhook } from 'standardwebhooks'
import type { WebhookEndpoint } from '../../src/core/webhooks.ts'
import type { AttemptResult, Send } from '../../src/webhooks/attempt.ts'
import { Deliverer } from '../../src/webhooks/deliverer.ts'
import type { Target } from '../../src/webhooks/registry.ts'
import { DeliveryTables } from '../../src/webhooks/tables.ts'
import { type Behaviour, type Receiver, startReceiver } from '../support/receiver.ts'
import { makeEvent } from '../support/spool.ts'
import { until } from '../support/until.ts'
import {
  createWebhooksRig,
  endpointOf,
  testSecret,
  value,
  type WebhooksRig,
} from '../support/webhooks-rig.ts'

// Every delivery is on a real disk and goes over a real connection.
jest.setTimeout(30_000)

const day = 24 * 3_600_000

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

const answer = (status: number, headers: Record<string, string> = {}): Behaviour => ({
  kind: 'answer',
  status,
  headers,
})

const hook = (more: Partial<WebhookEndpoint> = {}) => endpointOf({ url: `${receiver.origin}/hook`, ...more })

/** The `webhook-id`s that came, in order. */
const ids = () => receiver.received.map(({ headers }) => headers['webhook-id'])

const statusesOf = async (webhookId = 'hook') => {
  const { deliveries } = value(await rig.admin.deliveries({ webhookId, limit: 200 }))
  return deliveries.map(({ status }) => status).reverse()
}

const allEnded = (count: number) =>
  rig.untilSo(async () => {
    const statuses = await statusesOf()
    return statuses.length === count && !statuses.includes('pending')
  })

describe('an event', () => {
  test('goes to every endpoint that wants it, as the same bytes under the same id', async () => {
    rig.start([
      hook({ id: 'all' }),
      hook({ id: 'some', events: ['auth.*'] }),
      hook({ id: 'others', events: ['circuit_breaker.opened'] }),
      hook({ id: 'inactive', active: false }),
      hook({ id: 'elsewhere', filters: { routes: ['other'] } }),
    ])

    const [id] = await rig.tellMany(1)
    await until(() => receiver.received.length === 2)

    expect(ids()).toEqual([id, id])
    expect(receiver.received[0]?.body.equals(receiver.received[1]?.body ?? Buffer.alloc(0))).toBe(true)
    expect(JSON.parse(String(receiver.received[0]?.body))).toEqual({
      event: 'auth.failed',
      timestamp: '2030-01-01T00:00:00.000Z',
      data: { reason: 'missing_token', path: '/', token_type: 'none', route: 'r' },
    })
  })

  test('is passed over unread where nobody wants its type', async () => {
    rig.start([hook({ events: ['circuit_breaker.*'] })])

    await rig.tellMany(5)

    expect(await statusesOf()).toEqual([])
  })

  test('that was queued is delivered after a restart', async () => {
    receiver.behave(answer(503))
    rig.start([hook()])
    const [id] = await rig.tellMany(1)
    await rig.attempted(1)
    await rig.stop()
    receiver.behave(answer(200))

    rig.start([hook()])
    await rig.clock.advance(60_000)
    await rig.attempted(2)

    expect(ids()).toEqual([id, id])
    expect(await rig.newest()).toMatchObject({ status: 'delivered', attempts: 2 })
  })
})

describe('an ordered endpoint', () => {
  test('gets one at a time in the order of the events, and one that fails holds the others back', async () => {
    receiver.behave(answer(200), answer(503), answer(200))
    rig.start([hook({ ordered: true, concurrency: 1 })])
    const [a, b, c] = await rig.tellMany(3)
    await until(() => receiver.received.length === 2)
    await rig.untilSo(async () => value(await rig.admin.get('hook')).failuresInRow === 1)

    await rig.clock.advance(59_999)
    const before = ids()
    await rig.clock.advance(1)
    await allEnded(3)

    expect(before).toEqual([a, b])
    expect(ids()).toEqual([a, b, b, c])
  })

  test('goes on with the next once one is given up', async () => {
    receiver.behave(answer(400), answer(200))
    rig.start([hook({ ordered: true, concurrency: 1 })])

    await rig.tellMany(2)
    await allEnded(2)

    expect(await statusesOf()).toEqual(['failed', 'delivered'])
  })
})

test('no more deliveries are under way than the endpoint says', async () => {
  receiver.behave({ kind: 'silent' })
  rig.start([hook({ concurrency: 3 })])

  await rig.tellMany(10)
  await until(() => receiver.received.length === 3)
  await rig.clock.advance(9_999)
  const before = receiver.received.length
  receiver.behave(answer(200))
  await rig.clock.advance(1)
  await until(() => receiver.received.length === 10)

  expect(before).toBe(3)
})

test('a receiver that hangs does not hold back another', async () => {
  await using other = await startReceiver()
  receiver.behave({ kind: 'silent' })
  rig.start([hook({ id: 'hangs' }), hook({ id: 'works', url: other.origin })])

  await rig.tellMany(20)
  await until(() => other.received.length === 20)

  expect(receiver.received.length).toBe(8)
})

test('no more attempts begin than the rate allows', async () => {
  rig.start([hook({ rateLimit: { limit: 2, windowMs: 60_000 } })])
  await rig.tellMany(5)
  await until(() => receiver.received.length === 2)
  const seen: number[] = []

  for (const waitMs of [29_999, 1, 29_999, 1, 30_000]) {
    await rig.clock.advance(waitMs)
    await rig.untilSo(async () => value(await rig.admin.get('hook')).pending === 5 - receiver.received.length)
    seen.push(receiver.received.length)
  }

  expect(seen).toEqual([2, 3, 3, 4, 5])
})

test('a receiver that asks for patience gets it for all that is queued', async () => {
  receiver.behave(answer(429, { 'retry-after': '100' }), answer(200))
  rig.start([hook()])
  await rig.tellMany(1)
  await rig.attempted(1)

  await rig.tellMany(3)
  await rig.clock.advance(99_999)
  const before = receiver.received.length
  await rig.clock.advance(1)
  await allEnded(4)

  expect(before).toBe(1)
})

test('a rate that the file changes holds from then on, and one that it does not goes on', async () => {
  const limited = hook({ rateLimit: { limit: 1, windowMs: 60_000 } })
  rig.start([limited])
  await rig.tellMany(3)
  await until(() => receiver.received.length === 1)
  await rig.untilSo(async () => (await statusesOf())[0] === 'delivered')

  rig.webhooks.adoptFile([{ ...limited, timeoutMs: 5_000 }])
  await rig.clock.advance(59_999)
  const before = receiver.received.length
  rig.webhooks.adoptFile([hook({ rateLimit: { limit: 2, windowMs: 60_000 } })])
  await until(() => receiver.received.length === 3)

  expect(before).toBe(1)
})

describe('a receiver that asks for more patience than five minutes', () => {
  beforeEach(async () => {
    receiver.behave(answer(429, { 'retry-after': '3600' }), answer(200))
    rig.start([hook()])
    await rig.tellMany(1)
    await rig.attempted(1)
    await rig.tellMany(3)
  })

  test('gets that from the delivery that it refused, and five minutes from the others', async () => {
    await rig.clock.advance(299_999)
    const before = receiver.received.length
    await rig.clock.advance(1)
    await until(() => receiver.received.length === 4)
    await rig.untilSo(
      async () => (await statusesOf()).filter((status) => status === 'delivered').length === 3,
    )

    expect([before, (await statusesOf())[0]]).toEqual([1, 'pending'])
  })

  test('gets the others at once where the endpoint is enabled anew', async () => {
    const before = receiver.received.length

    value(await rig.admin.enable('hook'))
    await until(() => receiver.received.length === 4)

    expect(before).toBe(1)
  })
})

describe('the circuit', () => {
  test('opens after five failures in a row, lets one probe through at a time, and closes by a success', async () => {
    receiver.behave(answer(503))
    const retryPolicy = { maxRetries: 20, backoffMs: 1_000 }
    rig.start([hook({ concurrency: 8, retryPolicy })])
    await rig.tellMany(5)
    await rig.untilSo(async () => value(await rig.admin.get('hook')).failuresInRow === 5)
    const opened = value(await rig.admin.get('hook'))

    await rig.clock.advance(29_999)
    const whileOpen = receiver.received.length
    await rig.clock.advance(1)
    await rig.untilSo(async () => value(await rig.admin.get('hook')).failuresInRow === 6)
    await rig.clock.advance(59_999)
    const afterProbe = receiver.received.length
    receiver.behave(answer(200))
    await rig.clock.advance(1)
    await allEnded(5)

    expect(opened).toMatchObject({ circuit: 'open', circuitUntilMs: Date.UTC(2030, 0, 1) + 30_000 })
    expect([whileOpen, afterProbe]).toEqual([5, 6])
    expect(value(await rig.admin.get('hook'))).toMatchObject({
      circuit: 'closed',
      failuresInRow: 0,
      pending: 0,
    })
  })

  test('spends no attempt of a delivery while it is open', async () => {
    receiver.behave(answer(503), answer(503), answer(503), answer(503), answer(503), answer(200))
    rig.start([hook({ concurrency: 1, retryPolicy: { maxRetries: 1, backoffMs: 1_000 } })])

    await rig.tellMany(5)
    await rig.untilSo(async () => value(await rig.admin.get('hook')).circuit === 'open')
    await rig.clock.advance(30_000)
    await allEnded(5)

    expect(await statusesOf()).toEqual(['delivered', 'delivered', 'delivered', 'delivered', 'delivered'])
  })
})

describe('an endpoint is disabled', () => {
  test('at once by 410, with an event, and what waits for it is kept to be replayed', async () => {
    receiver.behave(answer(410))
    const endpoint = hook({ url: `${receiver.origin}/hook?token=hidden`, concurrency: 1 })
    rig.start([endpoint])

    await rig.tellMany(3)
    await allEnded(3)
    await rig.tellMany(1)

    expect(receiver.received.length).toBe(1)
    expect(await statusesOf()).toEqual(['failed', 'dropped', 'dropped'])
    expect(rig.disabled).toEqual([
      { webhook_id: 'hook', url: `${receiver.origin}/hook`, reason: 'gone', failures: 1 },
    ])
    expect(value(await rig.admin.get('hook'))).toMatchObject({ condition: 'disabled', pending: 0 })
  })

  test('with what is under way: that is not tried again', async () => {
    receiver.behave(answer(410), { kind: 'silent' })
    rig.start([hook({ concurrency: 2 })])
    await rig.tellMany(2)
    await until(() => receiver.received.length === 2)
    await rig.untilSo(async () => value(await rig.admin.get('hook')).condition === 'disabled')

    await rig.clock.advance(10_000)
    await allEnded(2)

    expect((await statusesOf()).sort()).toEqual(['dropped', 'failed'])
  })

  test('stays so over a restart, and works again when it is enabled', async () => {
    receiver.behave(answer(410), answer(200))
    rig.start([hook()])
    await rig.tellMany(1)
    await allEnded(1)
    await rig.stop()

    rig.start([hook()])
    const restarted = value(await rig.admin.get('hook')).condition
    const enabled = value(await rig.admin.enable('hook')).condition
    const replayed = value(await rig.admin.replayAll({}))
    await allEnded(2)

    expect([restarted, enabled, replayed]).toEqual(['disabled', 'delivering', { replayed: 1, more: false }])
    expect(ids()[0]).toBe(ids()[1])
  })

  test('works again when the file gives it another address, or has been without it', async () => {
    receiver.behave(answer(410))
    rig.start([hook()])
    await rig.tellMany(1)
    await allEnded(1)

    rig.webhooks.adoptFile([hook({ url: `${receiver.origin}/new` })])
    const moved = value(await rig.admin.get('hook')).condition
    rig.webhooks.adoptFile([hook()])
    const back = value(await rig.admin.get('hook')).condition
    rig.webhooks.adoptFile([])
    rig.webhooks.adoptFile([hook()])

    expect([moved, back]).toEqual(['delivering', 'disabled'])
    expect(value(await rig.admin.get('hook')).condition).toBe('delivering')
  })

  test('after five days and twenty attempts of nothing but failures, and two warnings', async () => {
    receiver.behave(answer(503))
    rig.start([hook({ retryPolicy: { maxRetries: 20, backoffMs: 3_600_000 } })])
    await rig.tellMany(4)
    const warnings = () => rig.lines.lines.filter(({ level }) => level === 'warn').length
    const found: [warnings: number, condition: string][] = []

    for (let quarters = 0; quarters < 5.5 * 4; quarters++) {
      await untilAllWritten()
      found.push([warnings(), value(await rig.admin.get('hook')).condition])
      await later(day / 4, { retryPolicy: { maxRetries: 20, backoffMs: 3_600_000 } })
    }
    await untilAllWritten()

    const byDay = [0, 1, 2, 3, 4].map((days) => found[days * 4 + 2])
    expect(byDay.map((one) => one?.[0])).toEqual([0, 1, 1, 2, 2])
    expect(byDay.map((one) => one?.[1])).toEqual(byDay.map(() => 'delivering'))
    expect(value(await rig.admin.get('hook')).condition).toBe('disabled')
    expect(rig.disabled).toMatchObject([{ reason: 'failing' }])
    expect(rig.disabled[0]?.failures).toBeGreaterThanOrEqual(20)
  })
})

/** Waits until nothing is due any more, and what the receiver has had is written down. */
function untilAllWritten(): Promise<void> {
  return rig.untilSo(async () => {
    const { deliveries } = value(await rig.admin.deliveries({ limit: 200 }))
    const nowMs = rig.clock.now()
    const isDue = deliveries.some(({ nextAttemptAtMs = nowMs + 1 }) => nextAttemptAtMs <= nowMs)
    return !isDue && deliveries.reduce((sum, { attempts }) => sum + attempts, 0) === receiver.received.length
  })
}

/** Lets time pass while Gatepost does not run: so it takes no time. */
async function later(waitMs: number, more: Partial<WebhookEndpoint> = {}): Promise<void> {
  await rig.stop()
  await rig.clock.advance(waitMs)
  rig.start([hook(more)])
}

describe('the backlog', () => {
  test('of an endpoint is bounded: the oldest is dropped, counted, and can be replayed', async () => {
    await rig[Symbol.asyncDispose]()
    rig = await createWebhooksRig({ maxPending: 3 })
    rig.start([hook()])
    value(await rig.admin.pause('hook'))

    await rig.tellMany(2)
    const told = await rig.tellMany(3)
    const waiting = await statusesOf()
    await rig.clock.advance(1_000)
    value(await rig.admin.resume('hook'))
    await allEnded(5)

    expect(waiting).toEqual(['dropped', 'dropped', 'pending', 'pending', 'pending'])
    expect(new Set(ids())).toEqual(new Set(told))
    expect(rig.reports.flatMap(({ dropped }) => dropped)).toEqual([['hook', 2]])
    expect(value(await rig.admin.replayAll({ status: 'dropped' }))).toEqual({ replayed: 2, more: false })
  })

  test('takes no more of the disk than its share: what has ended goes first, then the oldest that waits', async () => {
    await rig[Symbol.asyncDispose]()
    rig = await createWebhooksRig({ maxBytes: 400_000 })
    rig.start([hook()])
    await rig.tell(...Array.from({ length: 20 }, () => makeEvent('auth.failed', undefined, 2_000)))
    await allEnded(20)
    value(await rig.admin.pause('hook'))

    for (let times = 0; times < 30; times++)
      await rig.tell(...Array.from({ length: 10 }, () => makeEvent('auth.failed', undefined, 2_000)))
    await rig.clock.advance(1_000)

    const statuses = await statusesOf()
    const dropped = rig.reports.flatMap((report) => report.dropped).reduce((sum, [, count]) => sum + count, 0)
    expect(statuses).not.toContain('delivered')
    expect(statuses.length + dropped).toBe(300)
    expect(statuses.length).toBeGreaterThan(20)
  })
})

describe('the end of Gatepost', () => {
  test('begins no attempt, and lets those under way end', async () => {
    receiver.behave({ kind: 'silent' })
    rig.start([hook({ concurrency: 1 })])
    await rig.tellMany(2)
    await until(() => receiver.received.length === 1)

    const stopping = rig.stop(5_000)
    await rig.clock.advance(5_000)
    await stopping
    receiver.behave(answer(200))
    rig.start([hook()])
    await allEnded(2)

    // The one that was called off has cost its delivery no attempt.
    expect(value(await rig.admin.deliveries({})).deliveries.map(({ attempts }) => attempts)).toEqual([1, 1])
    expect(receiver.received.length).toBe(3)
  })
})

test('at the end of Gatepost an attempt that ends in time makes no room for the next', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  let begun = 0
  rig.start([hook({ concurrency: 1 })], {
    async send() {
      begun += 1
      await promise
      return { kind: 'delivered', status: 200, durationMs: 1, answer: '' }
    },
  })
  await rig.tellMany(2)
  await until(() => begun === 1)

  const stopping = rig.stop(5_000)
  resolve()
  await stopping
  await rig.clock.advance(60_000)
  rig.start([hook({ active: false })])

  expect(begun).toBe(1)
  expect(await statusesOf()).toEqual(['delivered', 'pending'])
})

describe('an answer', () => {
  test('is kept without the secrets that the receiver repeats', async () => {
    receiver.behave({
      kind: 'answer',
      status: 400,
      body: `you said ${testSecret} and Bearer hidden-token-17 and plain words`,
    })
    rig.start([hook({ headers: { authorization: 'Bearer hidden-token-17' } })])

    await rig.tellMany(1)
    const { attemptLog } = await rig.attempted(1)

    expect(attemptLog[0]?.answer).toBe('you said *** and *** and plain words')
  })
})

test('an answer is kept without what was sent, although the endpoint sends something else by now', async () => {
  const sender = createHeldSender()
  const authorization = 'Bearer hidden-token-17'
  rig.start([hook({ headers: { authorization } })], { send: sender.send })
  await rig.tellMany(1)
  await until(() => sender.begun.length === 1)

  rig.webhooks.adoptFile([hook({ headers: { authorization: 'Bearer another-token-18' } })])
  sender.end({ ...delivered, answer: `you said ${authorization}` })
  const { attemptLog } = await rig.attempted(1)

  expect(attemptLog[0]?.answer).toBe('you said ***')
})

test('during a rotation under load every delivery is accepted by the old secret and by the new', async () => {
  rig.start([])
  const made = value(await rig.admin.create({ id: 'hook', url: `${receiver.origin}/hook` }))
  await rig.tellMany(200)
  await until(() => receiver.received.length > 20)
  const rotated = value(await rig.admin.rotate('hook', { graceSeconds: 3_600 }))
  const at = receiver.received.length
  await rig.tellMany(200)
  await allEndedAtAll(400)
  await rig.clock.advance(3_600_000)
  const over = receiver.received.length
  await rig.tellMany(50)
  await until(() => receiver.received.length === 450)

  // Attempts that were signed before the rotation may come after it.
  const before = receiver.received.slice(0, at)
  const after = receiver.received.slice(at + 8, over)
  const last = receiver.received.slice(over)
  expect([isSaidBy(before, made.secret), isPlainBy(before, made.secret)]).toEqual([true, true])
  expect([isSaidBy(after, made.secret), isPlainBy(after, made.secret)]).toEqual([true, true])
  expect(isSaidBy(after, rotated.secret)).toBe(true)
  expect([isSaidBy(last, rotated.secret), isPlainBy(last, rotated.secret)]).toEqual([true, true])
  expect(last.some(({ body, headers }) => said(made.secret, body, headers))).toBe(false)
  expect(last.some((received) => said(rotated.secret, changed(received.body), received.headers))).toBe(false)
  expect(
    isPlainBy(
      last.map((one) => ({ ...one, body: changed(one.body) })),
      rotated.secret,
    ),
  ).toBe(false)
})

type Received = Pick<Receiver['received'][number], 'body' | 'headers'>

function allEndedAtAll(count: number): Promise<void> {
  return until(() => receiver.received.length >= count)
}

/** Whether npm's `standardwebhooks` accepts them all; its clock is the machine's, and the test's is not. */
function isSaidBy(all: readonly Received[], secret: string): boolean {
  return all.length > 0 && all.every(({ body, headers }) => said(secret, body, headers))
}

function said(secret: string, body: Buffer, headers: Received['headers']): boolean {
  const now = Number(headers['webhook-timestamp']) * 1_000
  jest.useFakeTimers({ now, doNotFake: ['setImmediate', 'setTimeout', 'nextTick'] })
  try {
    new Webhook(secret).verify(body, headers as Record<string, string>)
    return true
  } catch {
    return false
  } finally {
    jest.useRealTimers()
  }
}

/** Whether a check of a few lines accepts them all. */
function isPlainBy(all: readonly Received[], secret: string): boolean {
  return all.every(
    ({ body, headers }) =>
      headers['x-webhook-signature'] === `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
  )
}

/** The same bytes but one. */
function changed(body: Buffer): Buffer {
  const copy = Buffer.from(body)
  copy[10] = (copy[10] ?? 0) ^ 1
  return copy
}

test('deliveries that have ended are kept for a day, dead letters for two weeks', async () => {
  receiver.behave(answer(200), answer(400))
  rig.start([hook({ concurrency: 1 })])
  await rig.tellMany(2)
  await allEnded(2)
  const seen: string[][] = []

  for (const waitMs of [day - 60_000, 2 * 60_000, 13 * day - 2 * 60_000, 2 * 60_000]) {
    await later(waitMs)
    seen.push(await statusesOf())
  }

  expect(seen).toEqual([['delivered', 'failed'], ['failed'], ['failed'], []])
})

test('what waits for an endpoint that has gone from the file is given up after an hour, and not before', async () => {
  rig.start([hook({ active: true })])
  value(await rig.admin.pause('hook'))
  await rig.tellMany(2)

  rig.webhooks.adoptFile([])
  await rig.clock.advance(3_599_000)
  const before = await statusesOf()
  await rig.clock.advance(1_000)

  expect(before).toEqual(['pending', 'pending'])
  expect(await statusesOf()).toEqual(['dropped', 'dropped'])
})

const greedy = ['a', 'b', 'c', 'd']

describe('room for attempts, of which there are 256,', () => {
  test('goes to those that wait for it, each in its turn, before those that have had it', async () => {
    const sender = createHeldSender()
    const ids = [...greedy, 'patient', 'quiet']
    const endpoints = ids.map((id) => hook({ id, url: `${receiver.origin}/${id}`, concurrency: 64 }))
    rig.start(endpoints, { send: sender.send })
    await rig.tellMany(70)
    await until(() => sender.begun.length === 256)
    const first = new Set(sender.begun)

    for (let times = 1; times <= 4; times++) {
      sender.end(delivered)
      await until(() => sender.begun.length === 256 + times)
    }

    expect(first).toEqual(new Set(greedy.map((id) => `/${id}`)))
    expect(sender.begun.slice(256)).toEqual(['/patient', '/quiet', '/patient', '/a'])
  })
})

describe('what is under way', () => {
  test('counts for the address that it went to: a late 410 disables no other', async () => {
    const sender = createHeldSender()
    rig.start([hook()], { send: sender.send })
    await rig.tellMany(1)
    await until(() => sender.begun.length === 1)

    rig.webhooks.adoptFile([hook({ url: `${receiver.origin}/new` })])
    sender.end(gone)
    await allEnded(1)

    expect(value(await rig.admin.get('hook'))).toMatchObject({ condition: 'delivering', failuresInRow: 0 })
    expect(rig.disabled).toEqual([])
  })

  test('says nothing of an endpoint that was removed, nor of the next of its name', async () => {
    const sender = createHeldSender()
    rig.start([], { send: sender.send })
    value(await rig.admin.create({ id: 'hook', url: receiver.origin }))
    await rig.tellMany(3)
    await until(() => sender.begun.length === 3)
    sender.end(unlucky)
    await rig.untilSo(async () => value(await rig.admin.get('hook')).failuresInRow === 1)

    value(await rig.admin.remove('hook'))
    sender.end(gone)
    sender.end(unlucky)
    await rig.clock.advance(0)
    value(await rig.admin.create({ id: 'hook', url: receiver.origin }))

    expect(value(await rig.admin.get('hook'))).toMatchObject({ condition: 'delivering', failuresInRow: 0 })
    expect(rig.disabled).toEqual([])
  })
})

test('one step takes the fewer events the more endpoints there are, and always one', () => {
  rig.start()
  const found = [0, 1, 100, 1_000, 1_900].map((count) => {
    rig.webhooks.adoptFile(Array.from({ length: count }, (_, at) => hook({ id: `hook-${at}` })))
    return rig.webhooks.maxEvents
  })

  expect(found).toEqual([2_000, 2_000, 20, 2, 1])
})

test('what waits for an endpoint that came back to the file in time is not given up', async () => {
  rig.start([hook()])
  value(await rig.admin.pause('hook'))
  await rig.tellMany(2)

  rig.webhooks.adoptFile([])
  await rig.clock.advance(1_800_000)
  rig.webhooks.adoptFile([hook()])
  await rig.clock.advance(3_600_000)

  expect(await statusesOf()).toEqual(['pending', 'pending'])
})

describe('where the file of deliveries was damaged and begun afresh', () => {
  test('what is under way settles no new delivery of its number, and makes room when it ends', async () => {
    const bench = createBench([...greedy, 'late'])
    for (const id of greedy) bench.queue(id, 64)
    const underWay = bench.sender.begun.length

    bench.replace()
    const [fresh] = bench.queue('a', 1)
    bench.queue('late', 1)
    const crowded = bench.sender.begun.length
    bench.sender.end(delivered)
    bench.sender.end(delivered)
    await until(() => bench.sender.begun.length === 258)

    expect([underWay, crowded, fresh?.number]).toEqual([256, 256, 1])
    expect(bench.sender.begun.slice(256)).toEqual(['/a', '/late'])
    expect(bench.statusOf(fresh?.id)).toEqual(['pending', 0])
    for (const _old of greedy.flatMap(() => Array.from({ length: 64 })).slice(2)) bench.sender.end(delivered)
    bench.sender.end(delivered)
    await until(() => bench.statusOf(fresh?.id)[0] === 'delivered')
    expect(bench.statusOf(fresh?.id)).toEqual(['delivered', 1])
  })

  test('a test that was under way, or about to be written down, says that nothing is known of it', async () => {
    const bench = createBench(['a'], { deferred: [] })
    const underWay = bench.deliverer.test('a')
    bench.replace()
    bench.sender.end(delivered)
    const ended = bench.deliverer.test('a')
    bench.sender.end(delivered)
    await nextTurn()
    bench.replace()

    expect(await Promise.all([underWay, ended])).toEqual([undefined, undefined])
  })
})

const delivered: AttemptResult = { kind: 'delivered', status: 200, durationMs: 1, answer: '' }
const gone: AttemptResult = { kind: 'gone', status: 410, durationMs: 1, answer: '' }
const unlucky: AttemptResult = { kind: 'retry', reason: 'connection', durationMs: 1, answer: '' }

/** A sender whose attempts end when a test says so, the oldest first. */
function createHeldSender() {
  const begun: string[] = []
  const held: Array<(result: AttemptResult) => void> = []
  const send: Send = ({ url }, signal) => {
    begun.push(new URL(url).pathname)
    const { promise, resolve, reject } = Promise.withResolvers<AttemptResult>()
    held.push(resolve)
    signal?.addEventListener('abort', () => reject(new Error('called off')))
    return promise
  }
  return { begun, send, end: (result: AttemptResult) => held.shift()?.(result) }
}

/** Delivering by itself, over tables that can be replaced. @param deferred takes what is put off; else it is done. */
function createBench(ids: readonly string[], { deferred }: { deferred?: Array<() => void> } = {}) {
  const sender = createHeldSender()
  let tables = new DeliveryTables(new Database(':memory:'), 0)
  let number = 0
  const deliverer = new Deliverer({
    transact: (work) => ({ ok: true, value: work(tables) }),
    send: sender.send,
    clock: rig.clock,
    random: () => 0.5,
    newId: () => `d${++number}`,
    defer: deferred ? (task) => deferred.push(task) : setImmediate,
    logger: rig.lines.logger,
    disable: () => undefined,
    onAttempt: () => undefined,
    onDropped: () => undefined,
    onChange: () => undefined,
  })
  const targetOf = (id: string): Target => ({
    endpoint: endpointOf({ id, url: `http://receiver/${id}`, concurrency: 64 }),
    source: 'file',
    control: { paused: false },
    condition: 'delivering',
  })
  deliverer.adopt(new Map(ids.map((id) => [id, targetOf(id)])))
  return {
    deliverer,
    sender,
    queue(endpointId: string, count: number) {
      const event = tables.addEvent('e', Buffer.from('{}'))
      const queued = Array.from({ length: count }, () => {
        const id = `d${++number}`
        return {
          id,
          number: tables.add({ id, endpointId, event, type: 'auth.failed', atMs: rig.clock.now() }),
        }
      })
      deliverer.wake(endpointId)
      return queued
    },
    replace() {
      tables = new DeliveryTables(new Database(':memory:'), 0)
      deliverer.reset()
    },
    statusOf(id = '') {
      const { status, attempts } = tables.get(id) ?? {}
      return [status, attempts]
    },
  }
}
