import { expect, test } from '@jest/globals'
import { createMetrics, type IssuerGauges } from '../../src/observability/metrics.ts'
import { noSources } from '../support/metrics.ts'

test.each([
  'gateway_decisions_total',
  'gateway_overhead_seconds',
  'gateway_faults_total',
  'gateway_token_cache_hits_total',
  'gateway_token_cache_misses_total',
  'gateway_token_cache_entries',
  'gateway_token_refusals_total',
  'gateway_issuer_fetches_total',
  'gateway_issuer_keys',
  'gateway_issuer_key_age_seconds',
  'process_cpu_seconds_total',
  'nodejs_eventloop_lag_seconds',
])('%s is there from the start, with its help and type', async (name) => {
  const text = await createMetrics(noSources).registry.metrics()

  expect(text).toMatch(new RegExp(`^# HELP ${name} .+\\n# TYPE ${name} (counter|gauge|histogram)$`, 'm'))
})

test.each([0.01, 0.05, 0.1, 0.5, 1, 5])('durations have a bucket that ends at %s seconds', async (bound) => {
  const metrics = createMetrics(noSources)
  metrics.overhead.observe({ door: 'ext_authz' }, 0.001)

  const text = await metrics.registry.metrics()

  expect(text).toContain(`gateway_overhead_seconds_bucket{le="${bound}",door="ext_authz"} 1`)
})

test('no gauge has the name of a counter, which promtool objects to', async () => {
  const described = await createMetrics(noSources).registry.getMetricsAsJSON()

  const misnamed = described.filter(({ name, type }) => name.endsWith('_total') && String(type) !== 'counter')
  expect(misnamed).toEqual([])
})

test('what is read at the moment of a scrape is read each time', async () => {
  let cachedTokens = 1
  let state: IssuerGauges = { keys: 0 }
  const { registry } = createMetrics({
    ...noSources,
    cachedTokens: () => cachedTokens,
    issuers: () => [['auth0', state]],
  })

  const before = await registry.metrics()
  cachedTokens = 2
  state = { keys: 3, ageMs: 4_500 }
  const after = await registry.metrics()

  expect(before).toContain('gateway_token_cache_entries 1\n')
  expect(before).toContain('gateway_issuer_keys{issuer="auth0"} 0\n')
  expect(before).not.toContain('gateway_issuer_key_age_seconds{')
  expect(after).toContain('gateway_token_cache_entries 2\n')
  expect(after).toContain('gateway_issuer_keys{issuer="auth0"} 3\n')
  expect(after).toContain('gateway_issuer_key_age_seconds{issuer="auth0"} 4.5\n')
})

test('two sets of metrics know nothing of each other', async () => {
  const one = createMetrics(noSources)
  const other = createMetrics(noSources)

  one.faults.inc({ part: 'auth' })

  expect((await other.faults.get()).values).toEqual([])
})
