import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

/** Upper bounds of duration buckets, in seconds: fine where a verdict lies, coarse where an upstream does. */
const durationBuckets = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
]

/** How the keys of an issuer stand at the moment of a scrape. */
export interface IssuerGauges {
  keys: number
  /** Milliseconds since the last good fetch; absent if there was none. */
  ageMs?: number
}

/** What is read at the moment of a scrape instead of being kept up to date. */
export interface MetricSources {
  /** Tokens in the cache. */
  cachedTokens: () => number
  /** State of each issuer's keys, by the issuer's short name. */
  issuers: () => Iterable<readonly [name: string, state: IssuerGauges]>
}

/** Every metric of Gatepost, each declared once. */
export type Metrics = ReturnType<typeof createMetrics>

/** Declares the metrics in a registry of their own. */
export function createMetrics(sources: MetricSources) {
  const registers = [new Registry()]
  const [registry] = registers as [Registry]
  collectDefaultMetrics({ register: registry })
  // Gauges whose names end in _total, which promtool rightly objects to.
  for (const kind of ['handles', 'requests', 'resources'])
    registry.removeSingleMetric(`nodejs_active_${kind}_total`)

  new Gauge({
    name: 'gateway_token_cache_entries',
    help: 'Verified tokens in the cache.',
    registers,
    collect() {
      this.set(sources.cachedTokens())
    },
  })
  new Gauge({
    name: 'gateway_issuer_keys',
    help: 'Keys in use, by issuer.',
    labelNames: ['issuer'],
    registers,
    collect() {
      for (const [issuer, { keys }] of sources.issuers()) this.set({ issuer }, keys)
    },
  })
  new Gauge({
    name: 'gateway_issuer_key_age_seconds',
    help: 'Time since the keys were last fetched, by issuer.',
    labelNames: ['issuer'],
    registers,
    collect() {
      for (const [issuer, { ageMs }] of sources.issuers()) {
        if (ageMs !== undefined) this.set({ issuer }, ageMs / 1_000)
      }
    },
  })

  return {
    registry,
    decisions: new Counter({
      name: 'gateway_decisions_total',
      help: 'Verdicts, by door, decision (allow or deny) and reason.',
      labelNames: ['door', 'decision', 'reason'],
      registers,
    }),
    overhead: new Histogram({
      name: 'gateway_overhead_seconds',
      help: 'Time from message to reply, by door.',
      labelNames: ['door'],
      buckets: durationBuckets,
      registers,
    }),
    faults: new Counter({
      name: 'gateway_faults_total',
      help: 'Requests without a verdict, by the part at fault.',
      labelNames: ['part'],
      registers,
    }),
    tokenCacheHits: new Counter({
      name: 'gateway_token_cache_hits_total',
      help: 'Tokens found verified.',
      registers,
    }),
    tokenCacheMisses: new Counter({
      name: 'gateway_token_cache_misses_total',
      help: 'Tokens that had to be verified.',
      registers,
    }),
    tokenRefusals: new Counter({
      name: 'gateway_token_refusals_total',
      help: 'Tokens refused, by issuer (unknown where none is trusted) and cause.',
      labelNames: ['issuer', 'cause'],
      registers,
    }),
    issuerFetches: new Counter({
      name: 'gateway_issuer_fetches_total',
      help: 'Fetches of keys, by issuer and result (ok or failed).',
      labelNames: ['issuer', 'result'],
      registers,
    }),
  }
}
