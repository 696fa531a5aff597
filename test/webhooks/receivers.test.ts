import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { createAuthority } from '../support/certificates.ts'
import { type Behaviour, type Receiver, startReceiver } from '../support/receiver.ts'
import { until } from '../support/until.ts'
import { createWebhooksRig, endpointOf, type WebhooksRig } from '../support/webhooks-rig.ts'

// Every delivery is on a real disk and goes over a real connection.
jest.setTimeout(30_000)

const authority = createAuthority('receivers')
const stranger = createAuthority('strangers')
const certificate = authority.issue('localhost', { ips: ['127.0.0.1'] })
const minute = 60_000

let rig: WebhooksRig
let receiver: Receiver
beforeEach(async () => {
  rig = await createWebhooksRig({ ca: authority.cert })
})
afterEach(async () => {
  await rig[Symbol.asyncDispose]()
  await receiver?.stop()
})

const answer = (status: number, headers: Record<string, string> = {}): Behaviour => ({
  kind: 'answer',
  status,
  headers,
})

/** What became of one event at a receiver. */
interface Story {
  status: string
  reason?: string
  /** How each attempt ended. */
  attempts: string[]
  /** Milliseconds between them. */
  waits: number[]
}

/**
 * Tells one event and follows its delivery to the end: the clock is moved to one millisecond before each attempt, where
 * nothing may happen, and then on it.
 */
async function story(url: string, takesTimeout: boolean): Promise<Story> {
  rig.start([endpointOf({ url })])
  await rig.tellMany(1)
  const waits: number[] = []
  for (let times = 1; ; times++) {
    if (takesTimeout) await untilOutOfTime(times)
    const { status, reason, attemptLog, nextAttemptAtMs } = await rig.attempted(times)
    const attempts = attemptLog.map(({ result, statusCode, reason: why }) =>
      [result, why === 'status' ? statusCode : (why ?? statusCode)].join(' '),
    )
    if (status !== 'pending') return { status, ...(reason !== undefined && { reason }), attempts, waits }
    const waitMs = (nextAttemptAtMs ?? 0) - rig.clock.now()
    waits.push(waitMs)
    const connections = receiver.connections
    const received = receiver.received.length
    await rig.clock.advance(waitMs - 1)
    expect([(await rig.newest()).attempts, receiver.received.length]).toEqual([times, received])
    expect(receiver.connections).toBe(connections)
    await rig.clock.advance(1)
  }
}

/** Waits until the receiver has the attempt, which is more than it will ever say, and lets its time run out. */
async function untilOutOfTime(times: number): Promise<void> {
  await until(() => receiver.received.length === times)
  await rig.clock.advance(10_000)
}

const standard = [minute, 2 * minute, 4 * minute]
const four = (how: string) => [how, how, how, how]

describe('a receiver that', () => {
  test.each<[name: string, script: Behaviour[], Story]>([
    ['answers 200', [answer(200)], { status: 'delivered', attempts: ['delivered 200'], waits: [] }],
    ['answers 204', [answer(204)], { status: 'delivered', attempts: ['delivered 204'], waits: [] }],
    [
      'answers 500, then 200',
      [answer(500), answer(200)],
      { status: 'delivered', attempts: ['retry 500', 'delivered 200'], waits: [minute] },
    ],
    [
      'answers 503 for ever',
      [answer(503)],
      { status: 'failed', reason: 'status', attempts: four('retry 503'), waits: standard },
    ],
    [
      'resets, and resets, and then answers 200',
      [{ kind: 'reset' }, { kind: 'reset' }, answer(200)],
      {
        status: 'delivered',
        attempts: ['retry connection', 'retry connection', 'delivered 200'],
        waits: [minute, 2 * minute],
      },
    ],
    [
      'talks no HTTP',
      [{ kind: 'garbage' }],
      { status: 'failed', reason: 'connection', attempts: four('retry connection'), waits: standard },
    ],
    [
      'redirects',
      [answer(302, { location: '/elsewhere' })],
      { status: 'failed', reason: 'status', attempts: ['failed 302'], waits: [] },
    ],
    [
      'answers 400',
      [answer(400)],
      { status: 'failed', reason: 'status', attempts: ['failed 400'], waits: [] },
    ],
    [
      'answers 408, then 200',
      [answer(408), answer(200)],
      { status: 'delivered', attempts: ['retry 408', 'delivered 200'], waits: [minute] },
    ],
    [
      'answers 425, then 200',
      [answer(425), answer(200)],
      { status: 'delivered', attempts: ['retry 425', 'delivered 200'], waits: [minute] },
    ],
    ['answers 410', [answer(410)], { status: 'failed', reason: 'gone', attempts: ['gone 410'], waits: [] }],
    [
      'answers 429 and asks for 7 seconds',
      [answer(429, { 'retry-after': '7' }), answer(200)],
      { status: 'delivered', attempts: ['retry 429', 'delivered 200'], waits: [7_000] },
    ],
    [
      'answers 429 and asks for a date',
      [answer(429, { 'retry-after': 'Tue, 01 Jan 2030 00:03:00 GMT' }), answer(200)],
      { status: 'delivered', attempts: ['retry 429', 'delivered 200'], waits: [3 * minute] },
    ],
    [
      'answers 503 and asks for an hour, which is longer than the backoff',
      [answer(503, { 'retry-after': '3600' }), answer(200)],
      { status: 'delivered', attempts: ['retry 503', 'delivered 200'], waits: [60 * minute] },
    ],
    [
      'answers with more than anybody wants to read',
      [{ kind: 'huge', bytes: 10 * 1024 * 1024 }],
      { status: 'delivered', attempts: ['delivered 200'], waits: [] },
    ],
  ])('%s', async (_name, script, expected) => {
    receiver = await startReceiver()
    receiver.behave(...script)

    expect(await story(`${receiver.origin}/hook`, false)).toEqual(expected)
    expect(receiver.received.length).toBe(expected.attempts.length)
    expect(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
  })

  test.each<[name: string, Behaviour]>([
    ['never answers', { kind: 'silent' }],
    ['drips its headers', { kind: 'drip', part: 'headers' }],
    ['drips its body', { kind: 'drip', part: 'body' }],
  ])('%s, has ten seconds, four times', async (_name, behaviour) => {
    receiver = await startReceiver()
    receiver.behave(behaviour)

    expect(await story(`${receiver.origin}/hook`, true)).toEqual({
      status: 'failed',
      reason: 'timeout',
      attempts: four('retry timeout'),
      waits: standard,
    })
  })

  test('has a certificate of nobody that is trusted', async () => {
    receiver = await startReceiver({ tls: stranger.issue('localhost', { ips: ['127.0.0.1'] }) })

    // Each attempt makes a connection, which comes to nothing.
    expect(await story(`${receiver.origin}/hook`, false)).toEqual({
      status: 'failed',
      reason: 'tls',
      attempts: four('retry tls'),
      waits: standard,
    })
    expect(receiver.received).toEqual([])
  })

  test('has a good certificate', async () => {
    receiver = await startReceiver({ tls: certificate })

    expect(await story(`${receiver.origin}/hook`, false)).toMatchObject({ status: 'delivered' })
  })

  test('is not there', async () => {
    receiver = await startReceiver()
    await receiver.stop()

    expect(await story(`${receiver.origin}/hook`, false)).toMatchObject({
      attempts: four('retry connection'),
      waits: standard,
    })
  })
})

test.each([
  [0, [0.8, 0.8, 0.8]],
  [0.999999, [1.2, 1.2, 1.2]],
])('waits stray by a fifth at most: by chance %d they last %j of their length', async (chance, parts) => {
  await rig[Symbol.asyncDispose]()
  rig = await createWebhooksRig({ random: () => chance })
  receiver = await startReceiver()
  receiver.behave(answer(500))

  const { waits } = await story(`${receiver.origin}/hook`, false)

  const expected = standard.map((waitMs, at) => waitMs * (parts[at] ?? 0))
  expect(waits.map((waitMs, at) => Math.abs(waitMs - (expected[at] ?? 0)) <= 1)).toEqual([true, true, true])
})
