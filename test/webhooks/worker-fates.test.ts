import { createSecretKey, randomBytes } from 'node:crypto'
import { expect, test } from '@jest/globals'
import type { AttemptResult } from '../../src/webhooks/attempt.ts'
import { type QueuedDelivery, sealHeaders } from '../../src/webhooks/queue-message.ts'
import { type Fate, Fates } from '../../src/webhooks/worker-fates.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { endpointAt } from '../support/webhook-queue.ts'

const key = createSecretKey(randomBytes(32))
const never = new AbortController().signal
const facts = { durationMs: 5, answer: '' }
const retry: AttemptResult = { kind: 'retry', reason: 'status', status: 503, ...facts }

function open(result: AttemptResult | Error = { kind: 'delivered', status: 200, ...facts }) {
  const clock = new FakeClock()
  let endpoints = [endpointAt('https://x.example/', { retryPolicy: { maxRetries: 2, backoffMs: 60_000 } })]
  const sent: unknown[] = []
  const fates = new Fates({
    endpoints: () => new Map(endpoints.map((endpoint) => [endpoint.id, endpoint])),
    key: () => key,
    async send(attempt) {
      sent.push(attempt)
      if (result instanceof Error) throw result
      return result
    },
    clock,
    random: () => 0.5,
    tally: { attempted: () => undefined },
  })
  const delivery: QueuedDelivery = {
    endpointId: 'hook',
    eventId: 'e',
    type: 'auth.failed',
    firstAtMs: clock.now(),
    attempts: 0,
    waits: 0,
    body: Buffer.from('{}'),
  }
  const of = (changes: Partial<QueuedDelivery> = {}) => fates.of({ ...delivery, ...changes }, never)
  return {
    clock,
    fates,
    delivery,
    sent,
    of,
    change(changes: Parameters<typeof endpointAt>[1]) {
      endpoints = [endpointAt('https://x.example/', changes)]
    },
  }
}

test.each<[string, AttemptResult, Partial<QueuedDelivery>, object]>([
  ['delivered', { kind: 'delivered', status: 204, ...facts }, {}, { kind: 'done' }],
  [
    'failed once',
    retry,
    { waits: 3 },
    { kind: 'wait', reason: 'retry', afterMs: 60_000, delivery: { attempts: 1, waits: 0 } },
  ],
  ['failed twice', retry, { attempts: 1 }, { kind: 'wait', afterMs: 120_000, delivery: { attempts: 2 } }],
  ['failed for the last time', retry, { attempts: 2 }, { kind: 'dead', reason: 'exhausted', status: 503 }],
  [
    'told when to come again',
    { ...retry, retryAfterMs: 86_400_000 },
    {},
    { kind: 'wait', reason: 'retry', afterMs: 86_400_000 },
  ],
  [
    'refused',
    { kind: 'failed', reason: 'status', status: 400, ...facts },
    {},
    { kind: 'dead', reason: 'refused', status: 400 },
  ],
  [
    'kept from an address',
    { kind: 'failed', reason: 'address', error: 'not public', ...facts },
    {},
    { kind: 'dead', reason: 'refused', error: 'not public' },
  ],
  ['told 410', { kind: 'gone', status: 410, ...facts }, {}, { kind: 'dead', reason: 'gone' }],
])('a delivery that was %s has its fate', async (_what, result, changes, expected) => {
  expect(await open(result).of(changes)).toMatchObject(expected)
})

test('an endpoint that nobody knows yet is looked for again, for an hour', async () => {
  const { of, clock, sent } = open()

  expect(await of({ endpointId: 'new' })).toMatchObject({
    kind: 'wait',
    reason: 'unknown_endpoint',
    afterMs: 30_000,
    delivery: { attempts: 0 },
  })
  expect(await of({ endpointId: 'new', firstAtMs: clock.now() - 3_600_001 })).toEqual({
    kind: 'dead',
    reason: 'unknown_endpoint',
  })
  expect(sent).toEqual([])
})

test('an endpoint that is switched off gets nothing', async () => {
  const { of, change, sent } = open()
  change({ active: false })

  expect(await of()).toEqual({ kind: 'dead', reason: 'inactive' })
  expect(sent).toEqual([])
})

test('an endpoint that has said 410 gets nothing more until the file is reloaded', async () => {
  const { of, change, sent } = open({ kind: 'gone', status: 410, ...facts })
  await of()

  expect(await of()).toEqual({ kind: 'dead', reason: 'gone' })
  expect(sent).toHaveLength(1)
  change({})
  await of()

  expect(sent).toHaveLength(2)
})

test('while its circuit is open a delivery waits without an attempt, at most 45 s for 30', async () => {
  const { of, sent } = open(retry)
  for (let left = 5; left > 0; left--) await of()

  const fate = (await of({ waits: 4, attempts: 1 })) as Extract<Fate, { kind: 'wait' }>

  expect(sent).toHaveLength(5)
  expect(fate).toMatchObject({ kind: 'wait', reason: 'circuit', delivery: { attempts: 1, waits: 5 } })
  expect(fate.afterMs).toBe(37_500)
})

test('who is sent away again and again waits for longer, up to 64 times as long', async () => {
  const { of, change } = open()
  change({ rateLimit: { limit: 1, windowMs: 2_000 } })
  await of()

  const waits = [await of({ waits: 0 }), await of({ waits: 6 }), await of({ waits: 100 })]

  const afterMs = waits.map((fate) => (fate.kind === 'wait' ? [fate.reason, fate.afterMs] : fate))
  expect(afterMs).toEqual([
    ['busy', 2_500],
    ['busy', 160_000],
    ['busy', 160_000],
  ])
})

test('an attempt that is called off counts for nothing', async () => {
  const { of } = open(new Error('the worker stops'))

  await expect(of()).rejects.toThrow('the worker stops')
})

test('a message is read by its MAC, and a copy of long ago is not taken for a delivery', () => {
  const { fates, delivery, clock } = open()
  const headers = sealHeaders(delivery, false, key)
  const old = { ...delivery, firstAtMs: clock.now() - 31 * 86_400_000 - 1 }

  expect(fates.read(headers, delivery.body)).toEqual(delivery)
  expect(fates.read({}, delivery.body)).toEqual({ kind: 'dead', reason: 'unsigned' })
  expect(fates.read(headers, Buffer.from('[]'))).toEqual({ kind: 'dead', reason: 'bad_mac' })
  expect(fates.read(sealHeaders(old, false, key), old.body)).toEqual({ kind: 'dead', reason: 'stale' })
})
