import { describe, expect, test } from '@jest/globals'
import type { EventType, GatewayEvent } from '../../src/core/events.ts'
import { accountOf, type Outage } from './account.ts'
import type { SentRequest } from './load.ts'

const killed: Outage = { by: 'SIGKILL', fromMs: 10_000, untilMs: 12_000 }
const stopped: Outage = { by: 'SIGTERM', fromMs: 10_000, untilMs: 12_000 }
const nothingExcused = { uncommitted: 0, 'in flight': 0, 'nobody there': 0 }

function sent(path: string, over: Partial<SentRequest> = {}): SentRequest {
  return { path, client: 'client-1', dueAtMs: 5_000, answeredAtMs: 5_010, status: 200, ...over }
}

function told(type: EventType, path: string, data: object = {}, id = `${type} ${path}`): GatewayEvent {
  const completed = { method: 'GET', status_code: 200, client_id: 'client-1', decision: 'allow' }
  const own = type === 'request.completed' ? completed : {}
  return { id, event_type: type, data: { path, ...own, ...data } } as unknown as GatewayEvent
}

const refused = { status_code: 401, client_id: undefined, decision: 'deny' }

test('each answer is due as one event, each refusal as two, and a request without an answer as none', () => {
  const requests = [sent('/a'), sent('/b', { status: 401, client: undefined }), sent('/c', { status: 0 })]
  const events = [
    told('request.completed', '/a'),
    told('request.completed', '/b', refused),
    told('auth.failed', '/b'),
  ]

  const account = accountOf(requests, events)

  expect(account).toMatchObject({ due: 3, delivered: 3, copies: 0, lost: {}, problems: [] })
})

test('what is delivered again under its id is a copy', () => {
  const event = told('request.completed', '/a')

  const account = accountOf([sent('/a')], [event, event, event])

  expect(account).toMatchObject({ due: 1, delivered: 1, copies: 2, problems: [] })
})

test('what is missing is lost, by type', () => {
  const account = accountOf([sent('/a'), sent('/b', { status: 401, client: undefined })], [])

  expect(account).toMatchObject({
    delivered: 0,
    excused: nothingExcused,
    lost: { 'request.completed': 2, 'auth.failed': 1 },
  })
})

describe('a problem is', () => {
  test.each<[string, GatewayEvent[]]>([
    [
      'told as request.completed under 2 ids',
      [told('request.completed', '/a'), told('request.completed', '/a', {}, 'another')],
    ],
    ['which nobody sent so', [told('request.completed', '/a'), told('request.completed', '/x')]],
    ['which nobody sent so', [told('request.completed', '/a'), told('auth.failed', '/a')]],
    ['was told as "GET 500 client-1 allow"', [told('request.completed', '/a', { status_code: 500 })]],
    ['was told as "GET 200 client-2 allow"', [told('request.completed', '/a', { client_id: 'client-2' })]],
    ['was told as "GET 200 client-1 fault"', [told('request.completed', '/a', { decision: 'fault' })]],
  ])('%s', (problem, events) => {
    const account = accountOf([sent('/a')], events)

    expect(account.problems).toEqual([expect.stringContaining(problem)])
  })

  test('not an event of a request whose answer did not arrive', () => {
    const account = accountOf([sent('/a', { status: 0 })], [told('request.completed', '/a')])

    expect(account).toMatchObject({ due: 0, problems: [] })
  })
})

describe('what is missing around an outage', () => {
  test.each<[string, Outage, Partial<SentRequest>, object]>([
    [
      'is in flight where it was answered just before a kill',
      killed,
      { answeredAtMs: 9_900 },
      { 'in flight': 1 },
    ],
    ['is lost where it was answered long before a kill', killed, { answeredAtMs: 9_000 }, {}],
    ['is lost where it was answered just before SIGTERM', stopped, { answeredAtMs: 9_990 }, {}],
    ['is lost where Gatepost answered it after SIGTERM', stopped, { answeredAtMs: 10_100 }, {}],
    [
      'has nobody there where Envoy alone answered',
      stopped,
      { answeredAtMs: 11_000, status: 503 },
      { 'nobody there': 1 },
    ],
    ['is lost where Envoy alone answered long after it', killed, { answeredAtMs: 13_000, status: 503 }, {}],
  ])('%s', (_what, outage, over, excused) => {
    const account = accountOf([sent('/a', over)], [], outage)

    expect(account.excused).toEqual({ ...nothingExcused, ...excused })
    expect(account.lost).toEqual(Object.keys(excused).length > 0 ? {} : { 'request.completed': 1 })
  })

  test('of what decide tells is excused for the time of a batch alone, not for a flush interval', () => {
    const request = sent('/a', { status: 401, client: undefined, answeredAtMs: 9_550 })

    const account = accountOf([request], [], killed)

    expect(account).toMatchObject({
      excused: { ...nothingExcused, 'in flight': 1 },
      oldestExcusedMs: 450,
      lost: { 'auth.failed': 1 },
    })
  })
})
