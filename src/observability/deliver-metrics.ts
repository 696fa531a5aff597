import { Counter, Gauge, Histogram } from 'prom-client'
import { createRegistry } from './registry.ts'

/** What is read at the moment of a scrape. */
export interface DeliverSources {
  /** Messages at hand that are not yet settled. */
  underWay: () => number
  /** Whether messages are taken from RabbitMQ. */
  connected: () => boolean
}

/** Every metric of `gatepost deliver`, each declared once. */
export type DeliverMetrics = ReturnType<typeof createDeliverMetrics>

/** Declares the metrics of webhook workers in a registry of their own. */
export function createDeliverMetrics(sources: DeliverSources) {
  const registry = createRegistry()
  const registers = [registry]

  new Gauge({
    name: 'gateway_webhook_in_flight',
    help: 'Deliveries that this worker has at hand.',
    registers,
    collect() {
      this.set(sources.underWay())
    },
  })
  new Gauge({
    name: 'gateway_webhook_queue_connected',
    help: 'Whether deliveries are taken from RabbitMQ (1) or not (0).',
    registers,
    collect() {
      this.set(sources.connected() ? 1 : 0)
    },
  })
  return {
    registry,
    attempts: new Counter({
      name: 'gateway_webhook_attempts_total',
      help: 'Attempts to deliver, by endpoint and result (delivered, retry, failed or gone).',
      labelNames: ['webhook_id', 'result'],
      registers,
    }),
    attemptDuration: new Histogram({
      name: 'gateway_webhook_attempt_duration_seconds',
      help: 'Time that attempts to deliver took.',
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    }),
    waits: new Counter({
      name: 'gateway_webhook_waits_total',
      help: 'Times that deliveries were sent to wait, by reason (retry, circuit, busy or unknown_endpoint).',
      labelNames: ['reason'],
      registers,
    }),
    dead: new Counter({
      name: 'gateway_webhook_dead_total',
      help: 'Messages given up and kept as dead letters, by reason.',
      labelNames: ['reason'],
      registers,
    }),
    redelivered: new Counter({
      name: 'gateway_webhook_redelivered_total',
      help: 'Messages that came again after a worker had given them back.',
      registers,
    }),
  }
}
