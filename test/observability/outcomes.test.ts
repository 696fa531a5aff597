import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import type { Outcome } from '../../src/core/outcome.ts'
import { createMetrics } from '../../src/observability/metrics.ts'
import { createOutcomeRecorder } from '../../src/observability/outcomes.ts'
import { labelBudgets } from '../../src/observability/series.ts'
import { noSources } from '../support/metrics.ts'
import { outcomeWith } from '../support/outcomes.ts'

/** A recorder, and what a scrape then shows of a metric: one line each series, without comments. */
function open() {
  const metrics = createMetrics(noSources)
  const record = createOutcomeRecorder(metrics)
  return {
    record: (...more: Partial<Outcome>[]) => {
      for (const one of more) record(outcomeWith(one))
    },
    series: async (name: string) => {
      const text = await metrics.registry.getSingleMetricAsString(name)
      return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    },
  }
}

describe('an outcome counts', () => {
  test('as a request by method, route and the status that the client got', async () => {
    const { record, series } = open()

    record({}, {}, { method: 'POST', status: 503, decision: { kind: 'deny', route: 'users' } })

    expect(await series('gateway_requests_total')).toEqual([
      'gateway_requests_total{method="GET",route="orders",status="200"} 2',
      'gateway_requests_total{method="POST",route="users",status="503"} 1',
    ])
  })

  test('by its client, who is anonymous where there is none', async () => {
    const { record, series } = open()

    record({}, { decision: { kind: 'allow', route: 'orders', clientId: 'shop' } })

    expect(await series('gateway_consumer_requests_total')).toEqual([
      'gateway_consumer_requests_total{client_id="anonymous",route="orders",status="200"} 1',
      'gateway_consumer_requests_total{client_id="shop",route="orders",status="200"} 1',
    ])
  })

  test('its bytes in both directions, where the observer knows them', async () => {
    const { record, series } = open()

    record({ bytesIn: 100, bytesOut: 7 }, { bytesIn: 20, bytesOut: undefined })
    record({ bytesIn: undefined, bytesOut: undefined, decision: { kind: 'allow', route: 'unseen' } })

    expect(await series('gateway_bandwidth_bytes_total')).toEqual([
      'gateway_bandwidth_bytes_total{route="orders",direction="in"} 120',
      'gateway_bandwidth_bytes_total{route="orders",direction="out"} 7',
    ])
  })

  test('its durations in seconds', async () => {
    const { record, series } = open()

    record({ durationMs: 250, upstreamDurationMs: 125 })

    expect(await series('gateway_request_duration_seconds')).toContain(
      'gateway_request_duration_seconds_sum{method="GET",route="orders"} 0.25',
    )
    expect(await series('gateway_upstream_duration_seconds')).toContain(
      'gateway_upstream_duration_seconds_sum{service="order_service"} 0.125',
    )
  })

  test('no time of an upstream that was not asked', async () => {
    const { record, series } = open()

    record({ upstreamDurationMs: undefined })

    expect(await series('gateway_upstream_duration_seconds')).toEqual([])
  })

  test('as a hit or a miss where a cache spoke, and as neither where none did', async () => {
    const { record, series } = open()

    record({ cacheStatus: 'hit' }, { cacheStatus: 'miss' }, { cacheStatus: 'miss' }, {})

    expect(await series('gateway_cache_hits_total')).toEqual(['gateway_cache_hits_total{route="orders"} 1'])
    expect(await series('gateway_cache_misses_total')).toEqual([
      'gateway_cache_misses_total{route="orders"} 2',
    ])
  })

  test('as a fault that Envoy refused or let pass', async () => {
    const { record, series } = open()
    const decision = { kind: 'fault', route: 'unmatched' } as const

    record(
      { decision, responseFlags: ['UAEX'] },
      { decision, details: 'ext_authz_error' },
      { decision, details: 'ext_proc_error_gRPC_error_14' },
      { decision, details: 'via_upstream' },
      { details: 'ext_authz_error' },
    )

    expect(await series('gateway_observed_faults_total')).toEqual([
      'gateway_observed_faults_total{outcome="refused"} 3',
      'gateway_observed_faults_total{outcome="passed"} 1',
    ])
  })
})

describe('labels that a client can invent', () => {
  test('are bounded: a flood of methods ends as other, and what is used keeps its name', async () => {
    const { record, series } = open()
    record({}, {}, {})

    for (let at = 0; at < 1_000; at++) record({ method: `M${at}` })
    await nextTurn()

    const requests = await series('gateway_requests_total')
    expect(requests).toContain('gateway_requests_total{method="GET",route="orders",status="200"} 3')
    expect(requests).toHaveLength(labelBudgets.method + 1)
    expect(requests.at(-1)).toContain('method="other"')
  })

  test('are bounded for clients and routes as well', async () => {
    const { record, series } = open()

    for (let at = 0; at < 1_000; at++) {
      record({ decision: { kind: 'allow', route: `route-${at}`, clientId: 'shop' } })
      record({ decision: { kind: 'allow', route: 'orders', clientId: `client-${at}` } })
    }

    const routes = await series('gateway_cache_hits_total')
    const consumers = await series('gateway_consumer_requests_total')
    const clients = new Set(consumers.map((line) => /client_id="([^"]*)"/.exec(line)?.[1]))
    const names = new Set(consumers.map((line) => /route="([^"]*)"/.exec(line)?.[1]))
    expect(routes).toEqual([])
    expect(clients.size).toBe(labelBudgets.clientId + 1)
    expect(names.size).toBe(labelBudgets.route + 1)
  })

  test('that lose their name lose their series, in histograms too, and others keep theirs', async () => {
    const { record, series } = open()
    for (let at = 0; at < labelBudgets.method; at++) record({ method: `M${at}` })

    record(...Array.from({ length: 3 }, () => ({ method: 'NEW' })))
    for (let turn = 0; turn < 5; turn++) await nextTurn()

    const requests = (await series('gateway_requests_total')).join('\n')
    const durations = (await series('gateway_request_duration_seconds')).join('\n')
    for (const text of [requests, durations]) {
      expect(text).toContain('method="NEW"')
      expect(text).toContain('method="M1"')
      expect(text).not.toContain('method="M0"')
    }
  })
})
