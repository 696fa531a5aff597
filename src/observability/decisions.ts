import { type Decision, decisionReason, decisionStatus, shadowReasons } from '../core/decision.ts'
import { faultPart } from '../core/fault.ts'
import type { Logger } from '../core/log.ts'
import { type Door, pathWithoutQuery, type RequestContext } from '../core/request.ts'
import { createLabelBudget } from './label-budget.ts'
import type { Metrics } from './metrics.ts'
import { anonymousClient, forgetLabel, labelBudgets } from './series.ts'

/** What is told of each request: to the metrics, and to the log. */
export interface DecisionWatcher {
  decided(request: RequestContext, decision: Decision): void
  faulted(door: Door, error: unknown, request?: RequestContext): void
  replied(door: Door, tookMs: number): void
  /** When each door last brought a request, in milliseconds since the epoch. */
  readonly doorsSeen: ReadonlyMap<Door, number>
}

/** What the watcher is made of. */
export interface DecisionWatcherParts {
  metrics: Pick<Metrics, 'decisions' | 'faults' | 'overhead' | 'rateLimitExceeded' | 'shadowDenials'>
  logger: Logger
  /** Whether lines of level debug are written: else none is made. */
  logsDecisions: boolean
  /** Milliseconds since the epoch. */
  now: () => number
}

/** The most faults that are logged within a second; the rest are counted, and the count is logged. */
const maxFaultLinesPerSecond = 10

/** Makes the watcher. Decisions are logged at level debug, faults as errors. */
export function createDecisionWatcher({
  metrics,
  logger,
  logsDecisions,
  now,
}: DecisionWatcherParts): DecisionWatcher {
  const doorsSeen = new Map<Door, number>()
  const clients = createLabelBudget(labelBudgets.clientId, (client_id) =>
    forgetLabel([metrics.rateLimitExceeded], { client_id }),
  )
  const countExceeded = ({ route, caller }: Decision) => {
    const client = caller.kind === 'anonymous' ? undefined : caller.clientId
    metrics.rateLimitExceeded.inc({
      route: route.name,
      client_id: clients.labelOf(client ?? anonymousClient),
    })
  }
  const routes = createLabelBudget(labelBudgets.route, (route) =>
    forgetLabel([metrics.shadowDenials], { route }),
  )
  const countShadow = (decision: Decision) => {
    if (decision.kind === 'deny') return
    for (const { part, reason } of decision.shadow)
      metrics.shadowDenials.inc({ part, reason, route: routes.labelOf(decision.route.name) })
  }
  const faultLines = boundedLines(maxFaultLinesPerSecond)
  return {
    doorsSeen,

    decided(request, decision) {
      const reason = decisionReason(decision)
      doorsSeen.set(request.door, request.receivedAtMs)
      metrics.decisions.inc({ door: request.door, decision: decision.kind, reason })
      if (reason === 'rate_limited') countExceeded(decision)
      countShadow(decision)
      if (logsDecisions) logger.debug(decisionFields(request, decision, reason, now()), 'decision')
    },

    faulted(door, error, request) {
      const part = faultPart(error)
      doorsSeen.set(door, now())
      metrics.faults.inc({ part })
      const { write, dropped } = faultLines(now())
      if (dropped > 0) logger.error({ dropped }, 'faults not logged, there were too many')
      if (write)
        logger.error({ ...(request ? requestFields(request) : { door }), part, exception: error }, 'fault')
    },

    replied(door, tookMs) {
      metrics.overhead.observe({ door }, tookMs / 1_000)
    },
  }
}

function requestFields({ door, requestId, method, authority, path }: RequestContext) {
  return { request_id: requestId, door, method, authority, path: pathWithoutQuery(path) }
}

function decisionFields(request: RequestContext, decision: Decision, reason: string, nowMs: number) {
  const { route, caller } = decision
  return {
    ...requestFields(request),
    decision_id: decision.decisionId,
    decision: decision.kind,
    reason,
    ...(decision.kind === 'deny' && { status: decisionStatus(decision), cause: decision.denial.cause }),
    ...(decision.kind === 'allow' && decision.shadow.length > 0 && { shadow: shadowReasons(decision) }),
    route: route.name,
    ...(caller.kind !== 'anonymous' && {
      user_id: caller.userId,
      client_id: caller.clientId,
      issuer: caller.issuer,
    }),
    duration_ms: nowMs - request.receivedAtMs,
  }
}

/** Says whether one more line may be written in this second, and how many were not in the last one. */
function boundedLines(most: number): (nowMs: number) => { write: boolean; dropped: number } {
  let second = 0
  let lines = 0
  return (nowMs) => {
    const current = Math.floor(nowMs / 1_000)
    const dropped = current === second ? 0 : Math.max(0, lines - most)
    if (current !== second) lines = 0
    second = current
    lines += 1
    return { write: lines <= most, dropped }
  }
}
