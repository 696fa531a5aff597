import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { createAskAdmin } from '../../src/ask-running.ts'
import type { Options } from '../../src/cli/arguments.ts'
import { circuitsCommand } from '../../src/cli/circuits.ts'
import type { CircuitView, OverrideOrder } from '../../src/core/circuit-view.ts'
import { type AdminApi, adminToken, startAdminApi } from '../support/admin-api.ts'
import { circuitView } from '../support/circuit-view.ts'

const untilMs = Date.parse('2030-01-31T13:00:00Z')

let views: CircuitView[]
let orders: unknown[]
let api: AdminApi
beforeEach(async () => {
  views = [circuitView()]
  orders = []
  api = await startAdminApi({ circuits: { list: () => views, override } })
})
afterEach(() => api[Symbol.asyncDispose]())

function override(service: string, order: OverrideOrder): CircuitView | undefined {
  const view = views.find((candidate) => candidate.service === service)
  if (!view) return undefined
  orders.push(order)
  if (order.override === 'none') return circuitView({ state: 'closed' })
  const { override: state, reason } = order
  return circuitView({ state, override: { state, reason, sinceMs: 0, untilMs } })
}

async function run(action: string, operands: readonly string[] = [], options: Options = {}) {
  const ran = { code: 0, out: '', err: '' }
  const { address } = api.server
  ran.code = await circuitsCommand(action, operands, options, {
    ask: createAskAdmin({ admin: { address, token: () => adminToken }, dataDir: '/nowhere' }),
    address: '127.0.0.1:9002',
    answer: (text) => {
      ran.out += text
    },
    complain: (text) => {
      ran.err += text
    },
  })
  return ran
}

describe('gatepost circuits list', () => {
  test('says of each circuit how it stands, and why it is not closed', async () => {
    const held = { state: 'closed', reason: 'it lies', sinceMs: 0, untilMs } as const
    const { retryAtMs: _none, trip: _never, ...calm } = circuitView({ service: 'calm', state: 'closed' })
    views.push(circuitView({ service: 'held', state: 'closed', override: held }), {
      ...calm,
      own: 'closed',
      counted: { requests: 9, failures: 1, slow: 2 },
      unobserved: true,
    })

    const { code, out } = await run('list')

    expect(code).toBe(0)
    expect(out.split('\n').map((line) => line.replaceAll(/ {2,}/g, ' | '))).toEqual([
      'SERVICE | STATE | SINCE | REQUESTS | FAILURES | SLOW | NOTES',
      'users | open | 2030-01-31T12:00:00.000Z | 0 | 0 | 0 | consecutive_failures: 3 of 3; next request at 2030-01-31T12:00:05.000Z',
      'held | closed | 2030-01-31T12:00:00.000Z | 0 | 0 | 0 | held closed until 2030-01-31T13:00:00.000Z (it lies), by itself it would be open; next request at 2030-01-31T12:00:05.000Z',
      'calm | closed | 2030-01-31T12:00:00.000Z | 9 | 1 | 2 | nobody tells how requests end',
      '',
    ])
  })

  test('says so where there is none', async () => {
    views = []

    expect((await run('list')).out).toBe('There are no circuits: no route names a service and a circuit\n')
  })

  test('is what the API answers, for machines', async () => {
    const { out } = await run('list', [], { json: true })

    expect(JSON.parse(out)).toEqual((await api.ask('GET', '/api/circuits')).body)
  })
})

describe('holding a circuit', () => {
  test('open refuses requests for as long as is said', async () => {
    expect(await run('open', ['users'], { reason: 'it lies', for: '10m' })).toEqual({
      code: 0,
      out: 'The circuit of users is open until 2030-01-31T13:00:00.000Z\n',
      err: '',
    })
    expect(orders).toEqual([{ override: 'open', reason: 'it lies', forMs: 600_000 }])
  })

  test('close lets requests pass, for an hour', async () => {
    await run('close', ['users'], { reason: 'it lies' })

    expect(orders).toEqual([{ override: 'closed', reason: 'it lies', forMs: 3_600_000 }])
  })

  test('clear lets it go', async () => {
    expect((await run('clear', ['users'])).out).toBe(
      'The circuit of users is closed, as it finds by itself\n',
    )
    expect(orders).toEqual([{ override: 'none' }])
  })

  test.each([
    ['without a reason', {}, 'Say why, for whoever finds it: --reason TEXT'],
    ['for too long', { reason: 'it lies', for: '8d' }, 'for: must be at most 7d'],
  ])('%s is misuse', async (_what, options, problem) => {
    expect(await run('open', ['users'], options)).toEqual({
      code: 64,
      out: '',
      err: `${problem}. Try gatepost circuits --help\n`,
    })
    expect(orders).toEqual([])
  })

  test('says which circuits there are', async () => {
    expect(await run('clear', ['usrs'])).toEqual({
      code: 1,
      out: '',
      err: 'There is no circuit "usrs"; there are: users\n',
    })
  })
})
