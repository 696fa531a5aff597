import Type, { type Static } from 'typebox'
import type { CircuitView, OverrideOrder } from '../core/circuit-view.ts'

/** The circuits as the admin API needs them. */
export interface AdminCircuits {
  list(): CircuitView[]
  /** @returns undefined where there is no such circuit. */
  override(service: string, order: OverrideOrder): CircuitView | undefined
}

/** How long an override lasts that says nothing of it. */
const defaultFor = '1h'

/** The body of `POST /api/circuits/{service}`. */
export const overrideSchema = Type.Object(
  {
    override: Type.Enum(['open', 'closed', 'none'], {
      description:
        'open refuses every request, closed lets every one pass, none ends what was ordered before.',
    }),
    reason: Type.Optional(
      Type.String({
        maxLength: 512,
        description: 'Why, for whoever finds it; asked for with open and closed.',
      }),
    ),
    for: Type.Optional(
      Type.String({
        pattern: '^[1-9]\\d{0,8}(ms|s|m|h|d)$',
        description: `How long it lasts, at most 7d. Default: ${defaultFor}.`,
      }),
    ),
  },
  { additionalProperties: false },
)

/** The body, checked. */
export type OverrideBody = Static<typeof overrideSchema>

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

const longestMs = 7 * 86_400_000

/** Reads an order. @returns a sentence where the body does not do. */
export function readOrder({
  override,
  reason = '',
  for: lasts = defaultFor,
}: OverrideBody): OverrideOrder | string {
  if (override === 'none') return { override }
  if (reason.trim() === '') return 'body/reason must say why: whoever finds the override will want to know'
  const [, count, unit = ''] = /^(\d+)([a-z]+)$/.exec(lasts) ?? []
  const forMs = Number(count) * (unitMs[unit] ?? Number.NaN)
  return forMs <= longestMs ? { override, reason, forMs } : 'body/for must be at most 7d'
}

/** Writes a circuit as the API shows it; times in RFC 3339. */
export function showCircuit(view: CircuitView) {
  const { spec, counted, trip, override, history } = view
  return {
    service: view.service,
    state: view.state,
    since: time(view.sinceMs),
    own_state: view.own,
    generation: view.generation,
    ...(view.retryAtMs !== undefined && { retry_at: time(view.retryAtMs) }),
    window: counted,
    ...(trip && { last_trip: trip }),
    ...(override && {
      override: {
        state: override.state,
        reason: override.reason,
        since: time(override.sinceMs),
        until: time(override.untilMs),
      },
    }),
    unobserved: view.unobserved,
    history: history.map(({ atMs, ...change }) => ({ at: time(atMs), ...change })),
    settings: {
      failures: spec.failures,
      window_ms: spec.windowMs,
      failure_rate: spec.failureRate,
      min_requests: spec.minRequests,
      slow_ms: spec.slowMs,
      slow_rate: spec.slowMs === undefined ? undefined : spec.slowRate,
      open_ms: spec.openMs,
      max_open_ms: spec.maxOpenMs,
      probes: spec.probes,
      probe_interval_ms: spec.probeIntervalMs,
    },
  }
}

function time(ms: number): string {
  return new Date(ms).toISOString()
}
