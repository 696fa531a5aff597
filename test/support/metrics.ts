import type { MetricSources } from '../../src/observability/metrics.ts'

/** Sources of metrics where there is nothing to tell. */
export const noSources: MetricSources = {
  cachedTokens: () => 0,
  askedTokens: () => [],
  eventsWaiting: () => 0,
  eventLogBytes: () => 0,
  spoolBytes: () => 0,
  spoolBuffered: () => 0,
  sinks: () => [],
  issuers: () => [],
  circuits: () => [],
  webhooks: () => [],
}
