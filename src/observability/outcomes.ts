import { type Outcome, upstreamService } from '../core/outcome.ts'
import { createLabelBudget } from './label-budget.ts'
import type { Metrics } from './metrics.ts'
import { anonymousClient, forgetLabel, labelBudgets } from './series.ts'

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

/** Makes the recorder that turns outcomes into metrics, each label within its budget. */
export function createOutcomeRecorder(metrics: OutcomeMetrics): (outcome: Outcome) => void {
  const methods = createLabelBudget(labelBudgets.method, (method) =>
    forgetLabel([metrics.requests, metrics.requestDuration], { method }),
  )
  const routes = createLabelBudget(labelBudgets.route, (route) =>
    forgetLabel(
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
    forgetLabel([metrics.consumerRequests], { client_id }),
  )
  const services = createLabelBudget(labelBudgets.service, (service) =>
    forgetLabel([metrics.upstreamDuration], { service }),
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
