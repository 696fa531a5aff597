import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import type { Agent } from 'undici'
import { type Attempt, createSender } from '../../src/webhooks/attempt.ts'
import { checkByRules, createGuardedAgent, createSystemResolver } from '../../src/webhooks/guard.ts'
import { createAuthority } from '../support/certificates.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { freePort } from '../support/ports.ts'
import { type Behaviour, type Receiver, startReceiver } from '../support/receiver.ts'
import { until } from '../support/until.ts'

const check = checkByRules({ allowPrivate: true, allowPlaintext: false })
const body = Buffer.from('{"event":"circuit_breaker.opened"}')
const authority = createAuthority('receivers')

let receiver: Receiver
let dispatcher: Agent
let clock: FakeClock
beforeEach(async () => {
  receiver = await startReceiver()
  clock = new FakeClock(Date.UTC(2030, 0, 1))
  dispatcher = createGuardedAgent({ check, resolve: createSystemResolver(), ca: authority.cert })
})
afterEach(async () => {
  await dispatcher.destroy()
  await receiver.stop()
})

function send(more: Partial<Attempt> = {}, signal?: AbortSignal) {
  const sender = createSender({ dispatcher, check, clock, monotonicMs: clock.now })
  return sender(
    { url: `${receiver.origin}/hooks?to=us`, headers: {}, body, timeoutMs: 10_000, ...more },
    signal,
  )
}

const answering = (status: number, headers: Record<string, string> = {}): Behaviour => ({
  kind: 'answer',
  status,
  headers,
})

test('posts the exact bytes with the headers it is given', async () => {
  const result = await send({ headers: { 'Content-Type': 'application/json', 'X-Tenant': 'a' } })

  expect(result).toEqual({ kind: 'delivered', status: 200, durationMs: 0, answer: '' })
  expect(receiver.received).toMatchObject([
    {
      method: 'POST',
      path: '/hooks?to=us',
      headers: { 'content-type': 'application/json', 'x-tenant': 'a', 'content-length': String(body.length) },
      body,
    },
  ])
})

describe('an answer of', () => {
  test.each([200, 201, 202, 204, 299])('%i is success', async (status) => {
    receiver.behave(answering(status))

    expect(await send()).toMatchObject({ kind: 'delivered', status })
  })

  test.each([408, 425, 429, 500, 502, 503, 504, 599])('%i may be another one next time', async (status) => {
    receiver.behave(answering(status))

    expect(await send()).toMatchObject({ kind: 'retry', reason: 'status', status })
  })

  test.each([301, 302, 303, 307, 308])('%i is a failure, and is not followed', async (status) => {
    await using other = await startReceiver()
    receiver.behave(answering(status, { location: `${other.origin}/` }))

    expect(await send()).toMatchObject({ kind: 'failed', reason: 'status', status })
    expect([receiver.received.length, other.connections]).toEqual([1, 0])
  })

  test.each([300, 304, 400, 401, 403, 404, 409, 413, 422, 451])('%i is a failure', async (status) => {
    receiver.behave(answering(status))

    expect(await send()).toMatchObject({ kind: 'failed', reason: 'status', status })
  })

  test('410 ends it', async () => {
    receiver.behave(answering(410))

    expect(await send()).toMatchObject({ kind: 'gone', status: 410 })
  })

  test('500, then 200 is a failure that passes', async () => {
    receiver.behave(answering(500), answering(200))

    expect([(await send()).kind, (await send()).kind]).toEqual(['retry', 'delivered'])
  })
})

describe('Retry-After', () => {
  test.each([
    [429, '7', 7_000],
    [503, '120', 120_000],
    [408, '3', 3_000],
    [429, 'Tue, 01 Jan 2030 00:02:00 GMT', 120_000],
    [503, 'Tuesday, 01-Jan-30 00:00:30 GMT', 30_000],
    [429, 'Tue Jan  1 00:00:05 2030', 5_000],
    [429, '0', 1_000],
    [429, 'Mon, 31 Dec 2029 23:00:00 GMT', 1_000],
    [429, '999999999', 86_400_000],
  ])('of a %i is heard: %s', async (status, text, retryAfterMs) => {
    receiver.behave(answering(status, { 'retry-after': text }))

    expect(await send()).toMatchObject({ kind: 'retry', status, retryAfterMs })
  })

  test.each(['soon', '-5', '1.5', '', 'Jan 2030', '2030-01-01T00:02:00Z'])(
    'that says %j says nothing',
    async (text) => {
      receiver.behave(answering(429, { 'retry-after': text }))

      expect(await send()).not.toHaveProperty('retryAfterMs')
    },
  )

  test('of a refusal makes it no less final', async () => {
    receiver.behave(answering(404, { 'retry-after': '7' }))

    const result = await send()

    expect(result).toMatchObject({ kind: 'failed' })
    expect(result).not.toHaveProperty('retryAfterMs')
  })
})

describe('a receiver that', () => {
  test('never answers is given up after the attempt’s time, and the connection dropped', async () => {
    receiver.behave({ kind: 'silent' })

    const sending = send()
    await until(() => receiver.received.length === 1)
    await clock.advance(9_999)
    const before = await Promise.race([sending, 'still waiting'])
    await clock.advance(1)

    expect([before, await sending]).toEqual([
      'still waiting',
      {
        kind: 'retry',
        reason: 'timeout',
        durationMs: 10_000,
        answer: '',
        error: 'no answer within 10000 ms',
      },
    ])
    await until(() => receiver.cut === 1)
  })

  test.each(['headers', 'body'] as const)('drips its %s is given up after the same time', async (part) => {
    receiver.behave({ kind: 'drip', part })

    const sending = send()
    await until(() => receiver.dripped >= 5)
    await clock.advance(10_000)

    expect(await sending).toMatchObject({ kind: 'retry', reason: 'timeout' })
    await until(() => receiver.cut === 1)
  })

  test('resets the connection may answer another time', async () => {
    receiver.behave({ kind: 'reset' })

    expect(await send()).toMatchObject({ kind: 'retry', reason: 'connection', error: 'ECONNRESET' })
  })

  test('speaks something else may speak HTTP another time', async () => {
    receiver.behave({ kind: 'garbage' })

    expect(await send()).toMatchObject({
      kind: 'retry',
      reason: 'connection',
      error: 'HTTPParserError',
    })
  })

  test('does not listen may do so another time', async () => {
    const url = `http://127.0.0.1:${await freePort()}/`

    expect(await send({ url })).toMatchObject({ kind: 'retry', reason: 'connection', error: 'ECONNREFUSED' })
  })

  test('answers too much is cut short, and has accepted it all the same', async () => {
    receiver.behave({ kind: 'huge', bytes: 64 * 1024 * 1024 })

    const result = await send()

    expect(result).toMatchObject({ kind: 'delivered', status: 200, answer: 'x'.repeat(1_024) })
    await until(() => receiver.cut === 1)
  })

  test('answers within the bound keeps its connection', async () => {
    receiver.behave({ kind: 'huge', bytes: 60 * 1024 })

    for (let sent = 0; sent < 5; sent += 1) await send()

    // The second may come while the first answer's end is still being dealt with.
    expect(receiver.received).toHaveLength(5)
    expect(receiver.connections).toBeLessThanOrEqual(2)
  })
})

describe('of an answer', () => {
  test('the first KiB is kept, cut even within a character', async () => {
    receiver.behave({ kind: 'answer', status: 400, body: `${'x'.repeat(1_023)}é and more` })

    expect((await send()).answer).toBe(`${'x'.repeat(1_023)}\ufffd`)
  })

  test('what could move a terminal or turn the text around is not', async () => {
    receiver.behave({ kind: 'answer', status: 500, body: 'a\u001b[31m\r\nb\u0000\u202ec\u2028d' })

    expect((await send()).answer).toBe('a [31m  b  c d')
  })
})

describe('by TLS, a receiver', () => {
  test('with a certificate of its name is reached', async () => {
    await using secure = await startReceiver({ tls: authority.issue('r', { dns: ['localhost'] }) })

    expect(await send({ url: `https://localhost:${secure.port}/` })).toMatchObject({ kind: 'delivered' })
  })

  test.each([
    [
      'of another name',
      () => authority.issue('r', { dns: ['other.example'] }),
      'ERR_TLS_CERT_ALTNAME_INVALID',
    ],
    [
      'that has expired',
      () => authority.issue('r', { dns: ['localhost'], validTo: new Date(Date.now() - 1_000) }),
      'CERT_HAS_EXPIRED',
    ],
    [
      'of an unknown authority',
      () => createAuthority('strangers').issue('r', { dns: ['localhost'] }),
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    ],
  ])('with a certificate %s gets nothing, until another time', async (_what, issue, error) => {
    await using secure = await startReceiver({ tls: issue() })

    expect(await send({ url: `https://localhost:${secure.port}/` })).toMatchObject({
      kind: 'retry',
      reason: 'tls',
      error,
    })
    expect(secure.received).toEqual([])
  })

  test('that does not speak it gets nothing, until another time', async () => {
    const url = `https://localhost:${receiver.port}/`

    expect(await send({ url })).toMatchObject({ kind: 'retry', reason: 'tls' })
  })
})

test('an attempt that is called off has no result', async () => {
  receiver.behave({ kind: 'silent' })
  const stop = new AbortController()

  const sending = send({}, stop.signal)
  await until(() => receiver.received.length === 1)
  stop.abort(new Error('the process ends'))

  await expect(sending).rejects.toThrow('the process ends')
  expect(clock.pending).toEqual([])
})

test('an address that must not be reached is a failure at once', async () => {
  expect(await send({ url: 'http://10.0.0.1/' })).toEqual({
    kind: 'failed',
    reason: 'address',
    durationMs: 0,
    answer: '',
    error: expect.stringMatching(/^plain http is for loopback only/),
  })
})
