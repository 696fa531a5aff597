import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import type { CircuitView, OverrideOrder } from '../../src/core/circuit-view.ts'
import { type AdminApi, startAdminApi } from '../support/admin-api.ts'
import { circuitView } from '../support/circuit-view.ts'

let orders: unknown[]
let views: CircuitView[]
let api: AdminApi
beforeEach(async () => {
  orders = []
  views = [circuitView()]
  api = await startAdminApi({
    circuits: {
      list: () => views,
      override(service: string, order: OverrideOrder) {
        orders.push([service, order])
        return views.find((view) => view.service === service)
      },
    },
  })
})
afterEach(() => api[Symbol.asyncDispose]())

const shown = {
  service: 'users',
  state: 'open',
  since: '2030-01-31T12:00:00.000Z',
  own_state: 'open',
  generation: 2,
  retry_at: '2030-01-31T12:00:05.000Z',
  window: { requests: 0, failures: 0, slow: 0 },
  last_trip: { cause: 'consecutive_failures', count: 3, threshold: 3 },
  unobserved: false,
  history: [{ at: '2030-01-31T12:00:00.000Z', to: 'open', cause: 'consecutive_failures' }],
}

test('GET /api/circuits lists them as described, with an override and without', async () => {
  const override = {
    state: 'closed',
    reason: 'it lies',
    sinceMs: Date.parse('2030-01-31T12:00:00Z'),
    untilMs: Date.parse('2030-01-31T13:00:00Z'),
  } as const
  views.push(circuitView({ service: 'orders', override }))

  const { status, body } = await api.ask('GET', '/api/circuits')

  expect(status).toBe(200)
  expect(body).toMatchObject({
    circuits: [
      shown,
      {
        service: 'orders',
        override: { state: 'closed', reason: 'it lies', until: '2030-01-31T13:00:00.000Z' },
      },
    ],
  })
})

describe('POST /api/circuits/{service}', () => {
  test.each<[object, OverrideOrder]>([
    [{ override: 'none' }, { override: 'none' }],
    [
      { override: 'open', reason: 'it lies' },
      { override: 'open', reason: 'it lies', forMs: 3_600_000 },
    ],
    [
      { override: 'closed', reason: 'it lies', for: '7d' },
      { override: 'closed', reason: 'it lies', forMs: 604_800_000 },
    ],
  ])('takes the order %j', async (sent, order) => {
    const { status, body } = await api.ask('POST', '/api/circuits/users', sent)

    expect([status, orders]).toEqual([200, [['users', order]]])
    expect(body).toMatchObject(shown)
  })

  test.each([
    [{ override: 'open' }, 'reason: must say why; whoever finds the override will want to know'],
    [{ override: 'open', reason: ' ' }, 'reason: must say why; whoever finds the override will want to know'],
    [{ override: 'open', reason: 'it lies', for: '8d' }, 'for: must be at most 7d'],
    [
      { override: 'open', reason: 'it lies', for: 'ever' },
      'for: must be of another form: How long it lasts, at most 7d. Default: 1h.',
    ],
    [{ override: 'ajar', reason: 'it lies' }, 'override: must be one of open, closed, none'],
    [{ state: 'open', override: 'none' }, 'the body: there is no setting "state", did you mean'],
  ])('refuses %j', async (sent, title) => {
    const { status, body } = await api.ask('POST', '/api/circuits/users', sent)

    expect([status, body]).toEqual([400, { status: 400, title: expect.stringContaining(title) }])
    expect(orders).toEqual([])
  })

  test('says which circuits there are', async () => {
    const { status, body } = await api.ask('POST', '/api/circuits/usrs', { override: 'none' })

    expect([status, body]).toEqual([
      404,
      { status: 404, title: 'There is no circuit "usrs"; there are: users' },
    ])
  })
})

test('a service with the longest name that a policy allows is found, whatever it is spelt with', async () => {
  const service = 'ü'.repeat(128)
  views = [circuitView({ service })]

  const reply = await api.ask('POST', `/api/circuits/${encodeURIComponent(service)}`, { override: 'none' })

  expect(reply.status).toBe(200)
})

test('an unknown service is answered with some that there are', async () => {
  views = Array.from({ length: 25 }, (_, at) => circuitView({ service: `s${at}` }))

  const reply = await api.ask('POST', '/api/circuits/nobody', { override: 'none' })

  expect(reply.status).toBe(404)
  expect(JSON.stringify(reply.body)).toContain('s18, s19 and 5 more')
})
