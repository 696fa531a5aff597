import { collectDefaultMetrics, Registry } from 'prom-client'

/** Makes a registry with the metrics of the process and of Node.js. */
export function createRegistry(): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  // Gauges whose names end in _total, which promtool rightly objects to.
  for (const kind of ['handles', 'requests', 'resources'])
    registry.removeSingleMetric(`nodejs_active_${kind}_total`)
  return registry
}
