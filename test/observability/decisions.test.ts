import { beforeEach, describe, expect, test } from '@jest/globals'
import { unguarded } from '../../src/core/circuits.ts'
import type { Decision } from '../../src/core/decision.ts'
import { deny } from '../../src/core/denials.ts'
import { Fault } from '../../src/core/fault.ts'
import { anonymous, type Caller } from '../../src/core/identity.ts'
import { createDecisionWatcher, type DecisionWatcher } from '../../src/observability/decisions.ts'
import { createMetrics, type Metrics } from '../../src/observability/metrics.ts'
import { createLogLines, type LogLines } from '../support/log-lines.ts'
import { noSources } from '../support/metrics.ts'
import { requestWith } from '../support/requests.ts'

let metrics: Metrics
let log: LogLines
let nowMs: number
let watcher: DecisionWatcher
beforeEach(() => {
  metrics = createMetrics(noSources)
  log = createLogLines()
  nowMs = requestWith().receivedAtMs
  watcher = createDecisionWatcher({ metrics, logsDecisions: true, logger: log.logger, now: () => nowMs })
})

const route = { name: 'orders', auth: 'required', scopes: [] } as const
const alice: Caller = {
  kind: 'token',
  issuer: 'https://login.example.com/',
  userId: 'alice',
  clientId: 'app',
  scopes: ['read:orders'],
  claims: { email: 'alice@example.com' },
}
const base = { decisionId: 'd'.repeat(32), route }
const allowed = {
  ...base,
  kind: 'allow',
  caller: alice,
  upstreamHeaders: { set: [], remove: [] },
  clientHeaders: [],
  admission: unguarded,
  shadow: [],
} satisfies Decision
const denied = {
  ...base,
  kind: 'deny',
  caller: anonymous,
  denial: deny('invalid_token', 'The token has expired.', { cause: 'expired' }),
} satisfies Decision

/** What a metric says now. */
async function values(name: string): Promise<unknown[]> {
  const metric = await metrics.registry.getSingleMetric(name)?.get()
  return metric?.values.map(({ labels, value }) => ({ ...labels, value })) ?? []
}

describe('a decision', () => {
  test('is counted by door, decision and reason', async () => {
    watcher.decided(requestWith(), allowed)
    watcher.decided(requestWith(), denied)
    watcher.decided(requestWith(), denied)

    expect(await values('gateway_decisions_total')).toEqual([
      { door: 'ext_authz', decision: 'allow', reason: 'ok', value: 1 },
      { door: 'ext_authz', decision: 'deny', reason: 'invalid_token', value: 2 },
    ])
  })

  test('to allow is logged with who called, and without query, headers and claims', () => {
    nowMs += 7

    watcher.decided(requestWith({ authorization: 'Bearer x.y.z' }, { path: '/orders?token=x.y.z' }), allowed)

    expect(log.lines).toEqual([
      {
        level: 'debug',
        message: 'decision',
        fields: {
          request_id: 'request-1',
          door: 'ext_authz',
          method: 'GET',
          authority: 'api.example.com',
          path: '/orders',
          decision_id: 'd'.repeat(32),
          decision: 'allow',
          reason: 'ok',
          route: 'orders',
          user_id: 'alice',
          client_id: 'app',
          issuer: 'https://login.example.com/',
          duration_ms: 7,
        },
      },
    ])
  })

  test('to deny is logged with its status and its cause', () => {
    watcher.decided(requestWith(), denied)

    expect(log.lines[0]?.fields).toMatchObject({ reason: 'invalid_token', status: 401, cause: 'expired' })
    expect(log.lines[0]?.fields).not.toHaveProperty('user_id')
  })

  test('shows that its door is in use', () => {
    watcher.decided(requestWith({}, { receivedAtMs: 1_000 }), denied)
    watcher.decided(requestWith({}, { receivedAtMs: 2_000 }), allowed)

    expect([...watcher.doorsSeen]).toEqual([['ext_authz', 2_000]])
  })
})

describe('a fault', () => {
  test('is counted by the part at fault, and logged with its exception', async () => {
    const foreseen = new Fault('auth', 'Cannot verify tokens of issuer auth0: it has no keys')
    const unforeseen = new TypeError('x is not a function')

    watcher.faulted('ext_authz', foreseen, requestWith())
    watcher.faulted('ext_proc', unforeseen)

    expect(await values('gateway_faults_total')).toEqual([
      { part: 'auth', value: 1 },
      { part: 'internal', value: 1 },
    ])
    expect(log.lines).toEqual([
      {
        level: 'error',
        message: 'fault',
        fields: {
          request_id: 'request-1',
          door: 'ext_authz',
          method: 'GET',
          authority: 'api.example.com',
          path: '/orders',
          part: 'auth',
          exception: foreseen,
        },
      },
      {
        level: 'error',
        message: 'fault',
        fields: { door: 'ext_proc', part: 'internal', exception: unforeseen },
      },
    ])
  })

  test('shows that its door is in use', () => {
    watcher.faulted('ext_authz', new Error('down'))

    expect(watcher.doorsSeen.has('ext_authz')).toBe(true)
  })

  test('is counted each time, but logged ten times a second at the most', async () => {
    for (let count = 0; count < 1_000; count += 1) watcher.faulted('ext_authz', new Error('down'))

    expect(log.lines).toHaveLength(10)
    expect(await values('gateway_faults_total')).toEqual([{ part: 'internal', value: 1_000 }])
  })

  test('in the next second is logged again, after how many were not', () => {
    for (let count = 0; count < 25; count += 1) watcher.faulted('ext_authz', new Error('down'))
    nowMs += 1_000

    watcher.faulted('ext_authz', new Error('down'))
    watcher.faulted('ext_authz', new Error('down'))

    expect(log.lines.slice(10).map(({ message, fields }) => [message, fields['dropped']])).toEqual([
      ['faults not logged, there were too many', 15],
      ['fault', undefined],
      ['fault', undefined],
    ])
  })
})

test('the time of a reply is counted by door, in seconds', async () => {
  watcher.replied('ext_authz', 3)

  const text = await metrics.registry.getSingleMetricAsString('gateway_overhead_seconds')
  expect(text).toContain('gateway_overhead_seconds_sum{door="ext_authz"} 0.003')
  expect(text).toContain('gateway_overhead_seconds_bucket{le="0.0025",door="ext_authz"} 0')
  expect(text).toContain('gateway_overhead_seconds_bucket{le="0.005",door="ext_authz"} 1')
})
