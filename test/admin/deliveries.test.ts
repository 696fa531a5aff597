import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { webhookBodies } from '../../src/config/webhook-bodies.ts'
import { type AdminApi, startAdminApi } from '../support/admin-api.ts'
import { createTestWebhooks, deliveryDetail, type TestWebhooks, testTime } from '../support/webhook-admin.ts'

let webhooks: TestWebhooks
let api: AdminApi
beforeEach(async () => {
  webhooks = createTestWebhooks([
    deliveryDetail(),
    deliveryDetail({ id: 'd2', status: 'failed', reason: 'status', createdAtMs: testTime + 1_000 }),
    deliveryDetail({ id: 'd3', status: 'pending', nextAttemptAtMs: testTime + 60_000 }),
  ])
  api = await startAdminApi({ webhooks: { admin: webhooks, bodies: webhookBodies } })
})
afterEach(() => api[Symbol.asyncDispose]())

const shownFirst = {
  id: 'd1',
  webhook_id: 'oncall',
  event_id: 'e1',
  event: 'auth.failed',
  status: 'delivered',
  attempts: 2,
  created_at: '2030-01-31T12:00:00.000Z',
  finished_at: '2030-01-31T12:01:01.000Z',
  test: false,
}

describe('GET /api/deliveries', () => {
  test('lists them, the newest first', async () => {
    const { status, body } = await api.ask('GET', '/api/deliveries')

    expect([status, body]).toEqual([
      200,
      {
        deliveries: [
          { ...shownFirst, id: 'd3', status: 'pending', next_attempt_at: '2030-01-31T12:01:00.000Z' },
          {
            ...shownFirst,
            id: 'd2',
            status: 'failed',
            reason: 'status',
            created_at: '2030-01-31T12:00:01.000Z',
          },
          shownFirst,
        ],
      },
    ])
  })

  test('hands every filter over, and a page and its size', async () => {
    const query = new URLSearchParams({
      status: 'failed',
      webhook_id: 'oncall',
      event: 'auth.failed',
      since: '2030-01-31T13:00:00.5+01:00',
      until: '2030-01-31T13:00:00Z',
      limit: '1',
      cursor: '0',
    })

    const { status } = await api.ask('GET', `/api/deliveries?${query}`)

    expect([status, webhooks.calls]).toEqual([
      200,
      [
        [
          'deliveries',
          {
            status: 'failed',
            webhookId: 'oncall',
            eventType: 'auth.failed',
            sinceMs: testTime + 500,
            untilMs: testTime + 3_600_000,
            limit: 1,
            cursor: '0',
          },
        ],
      ],
    ])
  })

  test('leads through all pages by the cursor of each', async () => {
    const ids: string[] = []
    let path = '/api/deliveries?limit=2'
    while (path !== '') {
      const { body } = await api.ask('GET', path)
      const { deliveries, next_cursor: next } = body as { deliveries: { id: string }[]; next_cursor?: string }
      ids.push(...deliveries.map(({ id }) => id))
      path = next === undefined ? '' : `/api/deliveries?limit=2&cursor=${next}`
    }

    expect(ids).toEqual(['d3', 'd2', 'd1'])
  })

  test.each([
    ['status=lost', 'status: must be one of pending, delivered, failed, dropped'],
    ['limit=201', 'limit: must be <= 200'],
    ['limit=0', 'limit: must be >= 1'],
    ['limit=many', 'limit: must be integer'],
    ['since=yesterday', 'since: must match format "date-time"'],
    ['webhook=oncall', 'the query: there is no setting "webhook", did you mean "webhook_id"?'],
    ['event=a&event=b', 'event: must be string'],
  ])('refuses %s', async (query, title) => {
    const { status, body } = await api.ask('GET', `/api/deliveries?${query}`)

    expect([status, body]).toEqual([400, { status: 400, title }])
    expect(webhooks.calls).toEqual([])
  })

  test('says why a cursor does not do', async () => {
    webhooks.fail({ kind: 'invalid', problems: ['cursor: it is of no page'] })

    const { status, body } = await api.ask('GET', '/api/deliveries?cursor=x')

    expect([status, body]).toEqual([400, { status: 400, title: 'cursor: it is of no page' }])
  })
})

describe('GET /api/deliveries/{id}', () => {
  test('shows what was sent, and every attempt', async () => {
    const { status, body } = await api.ask('GET', '/api/deliveries/d1')

    expect([status, body]).toEqual([
      200,
      {
        ...shownFirst,
        body: '{"event":"auth.failed","timestamp":"2030-01-31T12:00:00.000Z","data":{}}',
        attempt_log: [
          {
            number: 1,
            at: '2030-01-31T12:00:00.000Z',
            duration_ms: 5,
            result: 'retry',
            reason: 'connection',
            error: 'ECONNREFUSED',
            answer: '',
          },
          {
            number: 2,
            at: '2030-01-31T12:01:00.000Z',
            duration_ms: 12,
            result: 'delivered',
            status_code: 200,
            answer: 'thanks',
          },
        ],
      },
    ])
  })
})

describe('replaying', () => {
  test('makes a new delivery of one that has ended', async () => {
    const { status, body } = await api.ask('POST', '/api/deliveries/d2/replay')

    expect(status).toBe(201)
    expect(body).toMatchObject({ id: 'd2-again', event_id: 'e1', replay_of: 'd2', status: 'pending' })
  })

  test('leaves one that is pending as it is', async () => {
    const { status, body } = await api.ask('POST', '/api/deliveries/d3/replay')

    expect([status, body]).toEqual([409, { status: 409, title: 'The delivery d3 has not ended yet' }])
  })

  test('takes all that have failed, where nothing else is said', async () => {
    const { status, body } = await api.ask('POST', '/api/deliveries/replay', {})

    expect([status, body]).toEqual([200, { replayed: 1, more: false }])
    expect(webhooks.calls).toEqual([['replayAll', {}]])
  })

  test('takes those that a filter fits', async () => {
    const { body } = await api.ask('POST', '/api/deliveries/replay', {
      status: 'delivered',
      webhook_id: 'oncall',
      event: 'auth.failed',
      since: '2030-01-31T12:00:00Z',
      until: '2030-01-31T12:00:01Z',
    })

    expect(body).toEqual({ replayed: 1, more: false })
    expect(webhooks.calls).toEqual([
      [
        'replayAll',
        {
          status: 'delivered',
          webhookId: 'oncall',
          eventType: 'auth.failed',
          sinceMs: testTime,
          untilMs: testTime + 1_000,
        },
      ],
    ])
  })

  test.each([
    [{ status: 'pending' }, 'status: must be one of delivered, failed, dropped'],
    [{ webhook: 'oncall' }, 'the body: there is no setting "webhook", did you mean "webhook_id"?'],
    [{ limit: 5 }, 'the body: there is no setting "limit", did you mean'],
  ])('refuses %j, and replays nothing', async (filter, title) => {
    const { status, body } = await api.ask('POST', '/api/deliveries/replay', filter)

    expect([status, body]).toEqual([400, { status: 400, title: expect.stringContaining(title) }])
    expect(webhooks.calls).toEqual([])
  })
})

test.each([
  ['GET', '/api/deliveries/x'],
  ['POST', '/api/deliveries/x/replay'],
])('%s %s says that there is no such delivery', async (method, path) => {
  const { status, body } = await api.ask(method, path)

  expect([status, body]).toEqual([404, { status: 404, title: 'There is no delivery "x"' }])
})
