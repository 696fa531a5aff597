import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describeVariables } from '../src/config/variables.ts'
import { type DenialRow, denials } from '../src/core/denials.ts'
import { catalogue, descriptions, eventTypes } from '../src/events/catalogue.ts'
import { createMetrics, type MetricSources } from '../src/observability/metrics.ts'
import { code, fillSections, table } from './sections.ts'

/** A table of the README, by the name that its markers give. */
const tables: Readonly<Record<string, () => string>> = {
  variables: () =>
    table(
      ['variable', 'default', 'meaning'],
      describeVariables().map(({ name, default: fallback, meaning }) => [
        name.split(', ').map(code).join(', '),
        fallback ? code(fallback) : '–',
        meaning,
      ]),
    ),
  denials: () =>
    table(
      ['reason', 'HTTP', 'gRPC', '`error` in `WWW-Authenticate`', 'title'],
      Object.entries<DenialRow>(denials).map(([reason, { httpStatus, grpcStatus, bearerError, title }]) => [
        code(reason),
        String(httpStatus),
        String(grpcStatus),
        bearerError ? code(bearerError) : '–',
        title,
      ]),
    ),
  events: () =>
    table(
      ['event', 'meaning', '`data`'],
      eventTypes.map((type) => {
        const { properties, required } = catalogue[type]
        const needed: readonly string[] = required
        const fields = Object.keys(properties).map((name) => code(needed.includes(name) ? name : `${name}?`))
        return [`[${code(type)}](docs/events/${type}.schema.json)`, descriptions[type], fields.join(' ')]
      }),
    ),
  metrics: () =>
    table(
      ['metric', 'type', 'labels', 'meaning'],
      describeMetrics().map(({ name, type, labelNames, help }) => [
        code(name),
        type,
        labelNames.map(code).join(', ') || '–',
        help,
      ]),
    ),
}

interface MetricDescription {
  name: string
  type: string
  labelNames: readonly string[]
  help: string
}

/** Gatepost's own metrics, in the order of their declaration; those of the process are left out. */
function describeMetrics(): MetricDescription[] {
  // Nothing is scraped, so that no source is asked.
  const { registry } = createMetrics({} as MetricSources)
  // prom-client knows the label names of a metric and does not type them.
  const metrics = registry.getMetricsAsArray() as unknown as MetricDescription[]
  return metrics
    .filter(({ name }) => name.startsWith('gateway_'))
    .map((metric) => ({ ...metric, type: metric.constructor.name.toLowerCase() }))
}

/**
 * Fills the marked sections of the README.
 * @throws Error where it has a section that nothing fills, or lacks one.
 */
export function fill(readme: string): string {
  return fillSections(readme, tables)
}

if (import.meta.main) {
  const path = fileURLToPath(new URL('../README.md', import.meta.url))
  writeFileSync(path, fill(readFileSync(path, 'utf8')))
}
