import { Counter, Gauge, Histogram } from 'prom-client'
import type { CircuitState } from '../core/circuits.ts'
import { createRegistry } from './registry.ts'

/** Upper bounds of duration buckets, in seconds: fine where a verdict lies, coarse where an upstream does. */
const durationBuckets = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
]

const circuitStates: Readonly<Record<CircuitState, number>> = { closed: 0, open: 1, half_open: 2 }

/** How the keys of an issuer stand at the moment of a scrape. */
export interface IssuerGauges {
  keys: number
  /** Milliseconds since the last good fetch; absent if there was none. */
  ageMs?: number
}

/** How a sink stands at the moment of a scrape. */
export interface SinkGauges {
  /** Events that wait for it. */
  queued: number
  /** Of the oldest of them, in milliseconds; absent if there is none. */
  ageMs?: number
  /** Whether its last attempt failed. */
  failing: boolean
}

/** How an endpoint of webhooks stands at the moment of a scrape. */
export interface WebhookGauges {
  /** Deliveries that wait for it or are under way. */
  pending: number
  /** Of the oldest of them, in milliseconds; 0 if there is none. */
  ageMs: number
  isDisabled: boolean
  circuit: CircuitState
}

/** What is read at the moment of a scrape instead of being kept up to date. */
export interface MetricSources {
  /** Tokens in the cache. */
  cachedTokens: () => number
  /** Events waiting on the bus. */
  eventsWaiting: () => number
  /** Bytes that the event log has not yet written. */
  eventLogBytes: () => number
  /** Bytes that the spool takes on disk. */
  spoolBytes: () => number
  /** Characters of events that the spool has taken and not yet committed. */
  spoolBuffered: () => number
  /** How each sink of the spool stands, by name. */
  sinks: () => Iterable<readonly [name: string, state: SinkGauges]>
  /** Answers about tokens that are remembered, by issuer and service. */
  askedTokens: () => Iterable<readonly [name: string, count: number]>
  /** How each circuit stands. */
  circuits: () => Iterable<{ service: string; state: CircuitState; unobserved: boolean }>
  /** How each endpoint of webhooks stands. */
  webhooks: () => Iterable<readonly [id: string, state: WebhookGauges]>
  /** State of each issuer's keys, by the issuer's short name. */
  issuers: () => Iterable<readonly [name: string, state: IssuerGauges]>
}

/** Every metric of Gatepost, each declared once. */
export type Metrics = ReturnType<typeof createMetrics>

/** Declares the metrics in a registry of their own. */
export function createMetrics(sources: MetricSources) {
  const registry = createRegistry()
  const registers = [registry]

  new Gauge({
    name: 'gateway_token_cache_entries',
    help: 'Verified tokens in the cache.',
    registers,
    collect() {
      this.set(sources.cachedTokens())
    },
  })
  new Gauge({
    name: 'gateway_events_waiting',
    help: 'Events between the request path and the sinks.',
    registers,
    collect() {
      this.set(sources.eventsWaiting())
    },
  })
  new Gauge({
    name: 'gateway_event_log_buffered_bytes',
    help: 'Bytes that the event log has taken and not yet written.',
    registers,
    collect() {
      this.set(sources.eventLogBytes())
    },
  })
  new Gauge({
    name: 'gateway_circuit_breaker_state',
    help: 'State of the circuit, by service: 0 closed, 1 open, 2 half open.',
    labelNames: ['service'],
    registers,
    collect() {
      this.reset()
      for (const { service, state } of sources.circuits()) this.set({ service }, circuitStates[state])
    },
  })
  new Gauge({
    name: 'gateway_circuit_breaker_unobserved',
    help: 'Whether requests pass and for a minute nobody has told how any ended, by service: then it cannot open.',
    labelNames: ['service'],
    registers,
    collect() {
      this.reset()
      for (const { service, unobserved } of sources.circuits()) this.set({ service }, unobserved ? 1 : 0)
    },
  })
  new Gauge({
    name: 'gateway_spool_bytes',
    help: 'Bytes that events take on disk until they are delivered.',
    registers,
    collect() {
      this.set(sources.spoolBytes())
    },
  })
  new Gauge({
    name: 'gateway_spool_buffered_characters',
    help: 'Events that are not yet on disk, in characters of JSON.',
    registers,
    collect() {
      this.set(sources.spoolBuffered())
    },
  })
  new Gauge({
    name: 'gateway_sink_queued_events',
    help: 'Events that are not yet delivered, by sink.',
    labelNames: ['sink'],
    registers,
    collect() {
      for (const [sink, { queued }] of sources.sinks()) this.set({ sink }, queued)
    },
  })
  new Gauge({
    name: 'gateway_sink_oldest_event_age_seconds',
    help: 'Age of the oldest event that is not yet delivered, by sink; 0 where there is none.',
    labelNames: ['sink'],
    registers,
    collect() {
      for (const [sink, { ageMs = 0 }] of sources.sinks()) this.set({ sink }, ageMs / 1_000)
    },
  })
  new Gauge({
    name: 'gateway_sink_failing',
    help: 'Whether the last attempt to deliver failed (1) or not (0), by sink.',
    labelNames: ['sink'],
    registers,
    collect() {
      for (const [sink, { failing }] of sources.sinks()) this.set({ sink }, failing ? 1 : 0)
    },
  })
  new Gauge({
    name: 'gateway_webhook_pending_deliveries',
    help: 'Deliveries that wait or are under way, by webhook.',
    labelNames: ['webhook_id'],
    registers,
    collect() {
      this.reset()
      for (const [webhook_id, { pending }] of sources.webhooks()) this.set({ webhook_id }, pending)
    },
  })
  new Gauge({
    name: 'gateway_webhook_oldest_delivery_age_seconds',
    help: 'Age of the oldest delivery that waits, by webhook; 0 where none does.',
    labelNames: ['webhook_id'],
    registers,
    collect() {
      this.reset()
      for (const [webhook_id, { ageMs }] of sources.webhooks()) this.set({ webhook_id }, ageMs / 1_000)
    },
  })
  new Gauge({
    name: 'gateway_webhook_disabled',
    help: 'Whether a webhook was disabled (1) because it failed for long or answered 410, or not (0).',
    labelNames: ['webhook_id'],
    registers,
    collect() {
      this.reset()
      for (const [webhook_id, { isDisabled }] of sources.webhooks())
        this.set({ webhook_id }, isDisabled ? 1 : 0)
    },
  })
  new Gauge({
    name: 'gateway_webhook_circuit_state',
    help: 'State of the circuit, by webhook: 0 closed, 1 open, 2 half open.',
    labelNames: ['webhook_id'],
    registers,
    collect() {
      this.reset()
      for (const [webhook_id, { circuit }] of sources.webhooks())
        this.set({ webhook_id }, circuitStates[circuit])
    },
  })
  new Gauge({
    name: 'gateway_answer_cache_entries',
    help: 'Answers of introspection and userinfo that are remembered, by issuer and service.',
    labelNames: ['cache'],
    registers,
    collect() {
      for (const [cache, count] of sources.askedTokens()) this.set({ cache }, count)
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
    answerCacheHits: new Counter({
      name: 'gateway_answer_cache_hits_total',
      help: 'Answers of introspection and userinfo found remembered, by issuer and service.',
      labelNames: ['cache'],
      registers,
    }),
    answerCacheMisses: new Counter({
      name: 'gateway_answer_cache_misses_total',
      help: 'Answers of introspection and userinfo that had to be asked for, by issuer and service.',
      labelNames: ['cache'],
      registers,
    }),
    outwardCalls: new Counter({
      name: 'gateway_outward_calls_total',
      help: 'Calls to dependencies, by target and result (ok, failed, or rejected where nothing was sent).',
      labelNames: ['target', 'result'],
      registers,
    }),
    outwardRetries: new Counter({
      name: 'gateway_outward_retries_total',
      help: 'Further attempts at calls to dependencies, by target.',
      labelNames: ['target'],
      registers,
    }),
    outwardDuration: new Histogram({
      name: 'gateway_outward_duration_seconds',
      help: 'Time that calls to dependencies took with all their attempts, by target.',
      labelNames: ['target'],
      buckets: durationBuckets,
      registers,
    }),
    limitOverflows: new Counter({
      name: 'gateway_rate_limit_overflows_total',
      help: 'Requests counted by a shared counter because there was no room for one of their own.',
      registers,
    }),
    rateLimitExceeded: new Counter({
      name: 'gateway_rate_limit_exceeded_total',
      help: 'Requests refused by a limit, by route and client id (anonymous where there is none).',
      labelNames: ['route', 'client_id'],
      registers,
    }),
    shadowDenials: new Counter({
      name: 'gateway_shadow_denials_total',
      help: 'Requests that went on and would have been refused, by part in shadow mode, reason and route.',
      labelNames: ['part', 'reason', 'route'],
      registers,
    }),
    requests: new Counter({
      name: 'gateway_requests_total',
      help: 'Requests that have ended, by method, route and the status that the client got.',
      labelNames: ['method', 'route', 'status'],
      registers,
    }),
    requestDuration: new Histogram({
      name: 'gateway_request_duration_seconds',
      help: 'Time from the first byte received to the last byte sent, by method and route.',
      labelNames: ['method', 'route'],
      buckets: durationBuckets,
      registers,
    }),
    consumerRequests: new Counter({
      name: 'gateway_consumer_requests_total',
      help: 'Requests that have ended, by client id (anonymous where there is none), route and status.',
      labelNames: ['client_id', 'route', 'status'],
      registers,
    }),
    bandwidth: new Counter({
      name: 'gateway_bandwidth_bytes_total',
      help: 'Bytes of headers and bodies between client and Envoy, by route and direction (in or out).',
      labelNames: ['route', 'direction'],
      registers,
    }),
    upstreamDuration: new Histogram({
      name: 'gateway_upstream_duration_seconds',
      help: 'Time from the first byte sent to the upstream to the last byte of its answer, by service.',
      labelNames: ['service'],
      buckets: durationBuckets,
      registers,
    }),
    cacheHits: new Counter({
      name: 'gateway_cache_hits_total',
      help: 'Responses that an HTTP cache had, by route; told by Cache-Status, Age or X-Cache.',
      labelNames: ['route'],
      registers,
    }),
    cacheMisses: new Counter({
      name: 'gateway_cache_misses_total',
      help: 'Responses that an HTTP cache had to fetch, by route.',
      labelNames: ['route'],
      registers,
    }),
    observedFaults: new Counter({
      name: 'gateway_observed_faults_total',
      help: 'Requests that Envoy served without a verdict, by what became of them (refused or passed).',
      labelNames: ['outcome'],
      registers,
    }),
    ignoredOutcomes: new Counter({
      name: 'gateway_ignored_outcomes_total',
      help: 'Outcomes that nobody asked for, by why: tcp, intermediate, or the name of a second observer.',
      labelNames: ['why'],
      registers,
    }),
    events: new Counter({
      name: 'gateway_events_total',
      help: 'Events that happened, by type.',
      labelNames: ['type'],
      registers,
    }),
    eventsLeftOut: new Counter({
      name: 'gateway_events_left_out_total',
      help: 'Events not told because nobody wants them, by type and why (type or sample); they are no drops.',
      labelNames: ['type', 'why'],
      registers,
    }),
    sinkSent: new Counter({
      name: 'gateway_sink_events_sent_total',
      help: 'Events delivered, by sink.',
      labelNames: ['sink'],
      registers,
    }),
    sinkRetries: new Counter({
      name: 'gateway_sink_retries_total',
      help: 'Attempts to deliver that followed a failed one, by sink.',
      labelNames: ['sink'],
      registers,
    }),
    sinkSetAside: new Counter({
      name: 'gateway_sink_events_set_aside_total',
      help: 'Events that a sink refused for good, by sink and type.',
      labelNames: ['sink', 'type'],
      registers,
    }),
    spoolFailures: new Counter({
      name: 'gateway_spool_failures_total',
      help: 'Times that the spool could not be written or read, as on a full disk.',
      registers,
    }),
    spoolDamaged: new Counter({
      name: 'gateway_spool_damaged_total',
      help: 'Damaged spools that were set aside.',
      registers,
    }),
    spoolRestarts: new Counter({
      name: 'gateway_spool_restarts_total',
      help: 'Times that the thread of the spool died and was started again.',
      registers,
    }),
    webhookAttempts: new Counter({
      name: 'gateway_webhook_attempts_total',
      help: 'Attempts to deliver, by webhook and result (delivered, retry, failed or gone).',
      labelNames: ['webhook_id', 'result'],
      registers,
    }),
    webhooksDropped: new Counter({
      name: 'gateway_webhook_dropped_total',
      help: 'Deliveries given up without having failed, by webhook: no room, or its endpoint went or was disabled.',
      labelNames: ['webhook_id'],
      registers,
    }),
    eventsDropped: new Counter({
      name: 'gateway_events_dropped_total',
      help: 'Events lost for want of room, by where (bus, spool or a sink) and type.',
      labelNames: ['sink', 'type'],
      registers,
    }),
  }
}
