import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { createMetrics } from '../../src/observability/metrics.ts'
import { noSources } from '../support/metrics.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = 'deploy/observability'
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const compose = parse(read('docker-compose.yml'), { merge: true })

interface Rule {
  alert: string
  expr: string
}

const rules = parse(read(`${folder}/prometheus/alerts.yml`)).groups.flatMap(
  (group: { rules: Rule[] }) => group.rules,
) as Rule[]

interface Panel {
  title: string
  datasource?: { uid: string }
  targets?: { expr: string }[]
}

const dashboard = JSON.parse(read(`${folder}/grafana/dashboards/gatepost.json`)) as {
  panels: Panel[]
  templating: { list: { query: { query: string } }[] }
}

const queries = [
  ...rules.map(({ alert, expr }) => [`the alert ${alert}`, expr] as const),
  ...dashboard.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => [`the panel "${title}"`, expr] as const),
  ),
  ...dashboard.templating.list.map(({ query }) => ['a variable of the dashboard', query.query] as const),
]

/** Labels of each series that a scrape of Gatepost can bring, those of Prometheus included. */
const series = new Map<string, readonly string[]>([['up', []]])
const { registry } = createMetrics(noSources)
for (const metric of registry.getMetricsAsArray()) {
  // prom-client knows the label names of a metric and does not type them.
  const { name, labelNames } = metric as unknown as { name: string; labelNames: readonly string[] }
  const isHistogram = metric.constructor.name === 'Histogram'
  if (!isHistogram) series.set(name, labelNames)
  if (isHistogram)
    for (const part of ['bucket', 'sum', 'count']) series.set(`${name}_${part}`, [...labelNames, 'le'])
}

const metricName = /\b(?:up|(?:gateway|process|nodejs)_\w+)\b(?:\{([^}]*)\})?/g

test('there are alerts and panels to look at', () => {
  expect(rules.length).toBeGreaterThan(5)
  expect(queries.length).toBeGreaterThan(rules.length + 20)
})

test.each(queries)('%s asks only for metrics and labels that Gatepost has', (_name, query) => {
  const asked = [...query.matchAll(metricName)].map(([found, selectors = '']) => ({
    name: found.split('{')[0] ?? '',
    labels: [...selectors.matchAll(/(\w+)\s*[=!]/g)].map(([, label]) => label ?? ''),
  }))

  expect(asked.length).toBeGreaterThan(0)
  expect(asked.filter(({ name }) => !series.has(name))).toEqual([])
  for (const { name, labels } of asked) {
    expect(['job', 'instance', ...(series.get(name) ?? [])]).toEqual(expect.arrayContaining(labels))
  }
})

test.each(queries)('%s groups by labels that its metrics have', (_name, query) => {
  const known = [...query.matchAll(metricName)].flatMap(
    ([found]) => series.get(found.split('{')[0] ?? '') ?? [],
  )
  const grouped = [...query.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, labels = '']) => labels.split(', '))

  expect(['instance', ...known]).toEqual(expect.arrayContaining(grouped))
})

test('every panel asks the datasource that Grafana is provisioned with, which is the Prometheus of compose', () => {
  const [file] = globSync(`${folder}/grafana/provisioning/datasources/*.yaml`, { cwd: root })
  const [datasource] = parse(read(file ?? '')).datasources
  const { hostname, port } = new URL(datasource.url)
  const used = new Set(dashboard.panels.flatMap((panel) => (panel.datasource ? [panel.datasource.uid] : [])))

  expect([...used]).toEqual([datasource.uid])
  expect(compose.services[hostname].command).toContain(`--web.listen-address=0.0.0.0:${port}`)
})

test('Grafana finds the dashboards where compose mounts them', () => {
  const [file] = globSync(`${folder}/grafana/provisioning/dashboards/*.yaml`, { cwd: root })
  const [provider] = parse(read(file ?? '')).providers
  const mounts: string[] = compose.services.grafana.volumes

  expect(mounts).toContain(`./${folder}/grafana/dashboards:${provider.options.path}:ro`)
  expect(mounts).toContain(`./${folder}/grafana/provisioning:/etc/grafana/provisioning:ro`)
})

test('Prometheus scrapes the status listener of Gatepost, and reads rules that are there', () => {
  const { scrape_configs, rule_files } = parse(read(`${folder}/prometheus/prometheus.yml`))
  const [, port] = compose.services.gatepost.environment.GATEPOST_STATUS_ADDRESS.split(':')

  expect(scrape_configs[0].static_configs[0].targets).toEqual([`gatepost:${port}`])
  expect(rule_files.filter((file: string) => !existsSync(join(root, folder, 'prometheus', file)))).toEqual([])
})
