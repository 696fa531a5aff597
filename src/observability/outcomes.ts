import { type Outcome, upstreamService } from '../core/outcome.ts'
import { createLabelBudget } from './label-budget.ts'
import type { Metrics } from './metrics.ts'

/** The metrics that outcomes feed. */
type OutcomeMetrics = Pick<
  Metrics,
  | 'requests'
  | 'requestDuration'
  | 'consumerRequests'
  | 'bandwidth'
  | 'upstreamDuration'
  | 'cacheHits'
  | 'cacheMisses'
  | 'observedFaults'
>

/** How many values of a label have a name at the same time. */
export const labelBudgets = { method: 16, route: 500, clientId: 200, service: 200 } as const

/** The client id of a caller who has none. */
const anonymousClient = 'anonymous'

/** Makes the recorder that turns outcomes into metrics, each label within its budget. */
export function createOutcomeRecorder(metrics: OutcomeMetrics): (outcome: Outcome) => void {
  const methods = createLabelBudget(labelBudgets.method, (method) =>
    forget([metrics.requests, metrics.requestDuration], { method }),
  )
  const routes = createLabelBudget(labelBudgets.route, (route) =>
    forget(
      [
        metrics.requests,
        metrics.requestDuration,
        metrics.consumerRequests,
        metrics.bandwidth,
        metrics.cacheHits,
        metrics.cacheMisses,
      ],
      { route },
    ),
  )
  const clients = createLabelBudget(labelBudgets.clientId, (client_id) =>
    forget([metrics.consumerRequests], { client_id }),
  )
  const services = createLabelBudget(labelBudgets.service, (service) =>
    forget([metrics.upstreamDuration], { service }),
  )

  function count(outcome: Outcome, route: string): void {
    const method = methods.labelOf(outcome.method)
    const status = String(outcome.status)
    const client_id = clients.labelOf(outcome.decision.clientId ?? anonymousClient)
    metrics.requests.inc({ method, route, status })
    metrics.requestDuration.observe({ method, route }, outcome.durationMs / 1_000)
    metrics.consumerRequests.inc({ client_id, route, status })
  }

  function weigh({ bytesIn, bytesOut }: Outcome, route: string): void {
    if (bytesIn !== undefined) metrics.bandwidth.inc({ route, direction: 'in' }, bytesIn)
    if (bytesOut !== undefined) metrics.bandwidth.inc({ route, direction: 'out' }, bytesOut)
  }

  function timeUpstream(outcome: Outcome): void {
    if (outcome.upstreamDurationMs === undefined) return
    const service = services.labelOf(upstreamService(outcome) ?? 'unknown')
    metrics.upstreamDuration.observe({ service }, outcome.upstreamDurationMs / 1_000)
  }

  return (outcome) => {
    const { decision, cacheStatus } = outcome
    const route = routes.labelOf(decision.route)
    count(outcome, route)
    weigh(outcome, route)
    timeUpstream(outcome)
    if (cacheStatus === 'hit') metrics.cacheHits.inc({ route })
    if (cacheStatus === 'miss') metrics.cacheMisses.inc({ route })
    if (decision.kind === 'fault')
      metrics.observedFaults.inc({ outcome: wasRefused(outcome) ? 'refused' : 'passed' })
  }
}

function wasRefused({ responseFlags, details }: Outcome): boolean {
  return responseFlags.includes('UAEX') || /^ext_(authz|proc)_error/.test(details)
}

/** A metric whose series can be removed one by one. */
interface Labelled {
  get(): Promise<{
    values: readonly { labels: Partial<Record<string, string | number>>; metricName?: string }[]
  }>
  remove(labels: Partial<Record<string, string | number>>): void
}

/** Removes every series with this label. It reads the series first, which takes a turn: nobody waits for it. */
function forget(metrics: readonly unknown[], label: Readonly<Record<string, string>>): void {
  for (const metric of metrics as Labelled[]) void forgetIn(metric, label)
}

async function forgetIn(metric: Labelled, label: Readonly<Record<string, string>>): Promise<void> {
  const [wanted] = Object.entries(label)
  if (!wanted) return
  const [name, value] = wanted
  const { values } = await metric.get()
  for (const { labels } of values) {
    if (labels[name] === value) metric.remove(withoutBucket(labels))
  }
}

function withoutBucket({ le: _bucket, ...labels }: Partial<Record<string, string | number>>) {
  return labels
}
