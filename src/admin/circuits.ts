import type { FastifyInstance } from 'fastify'
import Type, { type Static } from 'typebox'
import type { CircuitView, OverrideOrder } from '../core/circuit-view.ts'
import { parseWindow } from '../core/rates.ts'
import { problem } from './http.ts'
import {
  answer,
  count,
  problems,
  type SharedSchemas,
  shared,
  showTime,
  text,
  time,
  timeWhere,
} from './schemas.ts'

/** The circuits as the admin API needs them. */
export interface AdminCircuits {
  list(): CircuitView[]
  /** @returns undefined where there is no such circuit. */
  override(service: string, order: OverrideOrder): CircuitView | undefined
}

/** How long an override lasts that says nothing of it. */
const defaultFor = '1h'

const overrideSchema = Type.Object(
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

type OverrideBody = Static<typeof overrideSchema>

const strict = { additionalProperties: false }
const state = (description: string) => Type.Enum(['closed', 'open', 'half_open'], { description })
const ms = (description: string) => Type.Number({ description: `${description}, in milliseconds.` })

const circuitSchema = Type.Object(
  {
    service: Type.String(),
    state: state("What requests meet: the override's state where there is one."),
    since: time('When it took that state.'),
    own_state: state("The circuit's own state, which an override leaves as it is."),
    generation: Type.Integer(),
    retry_at: Type.Optional(time('When the next request may pass; absent where requests pass.')),
    window: Type.Object(
      { requests: count('Requests.'), failures: count('Failures.'), slow: count('Slow answers.') },
      { ...strict, description: 'What a closed circuit has counted in its window.' },
    ),
    last_trip: Type.Optional(
      Type.Object(
        {
          cause: Type.Enum(['consecutive_failures', 'failure_rate', 'slow_rate', 'probe_failed']),
          count: Type.Number({ description: 'What was counted.' }),
          threshold: Type.Number({ description: 'How much of it is too much.' }),
        },
        { ...strict, description: 'Why it opened last; absent where it never has.' },
      ),
    ),
    override: Type.Optional(
      Type.Object(
        {
          state: Type.Enum(['open', 'closed']),
          reason: text('Why, by whoever ordered it.'),
          since: time('From when on.'),
          until: time('Until when.'),
        },
        { ...strict, description: "Somebody's word over the circuit's own." },
      ),
    ),
    unobserved: Type.Boolean({
      description: 'Requests pass, and for a minute nobody has told how any of them ended.',
    }),
    history: Type.Array(
      Type.Object(
        {
          at: time('When.'),
          to: state('The state that it took.'),
          cause: text('Why.'),
          reason: Type.Optional(text("Somebody's words, where the cause is an override.")),
        },
        strict,
      ),
      { description: 'The latest changes, the last one first.' },
    ),
    settings: Type.Object(
      {
        failures: count('Failures in a row that trip it; 0 for never.'),
        window_ms: ms('The sliding window'),
        failure_rate: Type.Optional(Type.Number({ description: 'The share of failures that trips it.' })),
        min_requests: count('Fewer requests in a window say nothing about a rate.'),
        slow_ms: Type.Optional(ms('An answer that takes longer is slow')),
        slow_rate: Type.Optional(Type.Number({ description: 'The share of slow answers that trips it.' })),
        open_ms: ms('How long it stays open the first time'),
        max_open_ms: ms('The longest that it stays open'),
        probes: count('Good probes in a row that close it.'),
        probe_interval_ms: ms('While half open, one request passes in so long'),
      },
      strict,
    ),
  },
  { ...strict, $id: 'Circuit', description: 'How the circuit of a service stands.' },
)

/** The schemas that answers here point to. */
export const circuitSchemas: SharedSchemas = [circuitSchema]

/** Serves `/api/circuits`. */
export function serveCircuits(app: FastifyInstance, circuits: AdminCircuits): void {
  const tags = ['circuits']
  app.get(
    '/api/circuits',
    {
      schema: {
        operationId: 'listCircuits',
        tags,
        summary: 'Lists the circuits',
        response: {
          200: answer('All circuits.', Type.Object({ circuits: Type.Array(shared('Circuit')) }, strict)),
          ...problems(),
        },
      },
    },
    async () => ({ circuits: circuits.list().map(showCircuit) }),
  )
  app.post(
    '/api/circuits/:service',
    {
      schema: {
        operationId: 'overrideCircuit',
        tags,
        summary: 'Holds a circuit open or closed, or lets it go',
        params: Type.Object({ service: text('The name of the service.') }),
        body: overrideSchema,
        response: { 200: answer('The circuit from now on.', shared('Circuit')), ...problems(400, 404) },
      },
    },
    async (request, reply) => {
      const { service } = request.params as { service: string }
      const order = readOrder(request.body as OverrideBody)
      if (typeof order === 'string') return problem(reply, 400, order)
      const view = circuits.override(service, order)
      if (view) return showCircuit(view)
      return problem(reply, 404, `There is no circuit ${JSON.stringify(service)}; ${known(circuits.list())}`)
    },
  )
}

const longestMs = 7 * 86_400_000

/** Reads an order. @returns a sentence where the body does not do. */
function readOrder({ override, reason = '', for: lasts = defaultFor }: OverrideBody): OverrideOrder | string {
  if (override === 'none') return { override }
  if (reason.trim() === '') return 'reason: must say why; whoever finds the override will want to know'
  const forMs = parseWindow(lasts) ?? Number.NaN
  return forMs <= longestMs ? { override, reason, forMs } : 'for: must be at most 7d'
}

/** Writes a circuit as the API shows it; times in RFC 3339. */
export function showCircuit(view: CircuitView) {
  const { spec, counted, trip, override, history } = view
  return {
    service: view.service,
    state: view.state,
    since: showTime(view.sinceMs),
    own_state: view.own,
    generation: view.generation,
    ...timeWhere('retry_at', view.retryAtMs),
    window: counted,
    ...(trip && { last_trip: trip }),
    ...(override && {
      override: {
        state: override.state,
        reason: override.reason,
        since: showTime(override.sinceMs),
        until: showTime(override.untilMs),
      },
    }),
    unobserved: view.unobserved,
    history: history.map(({ atMs, ...change }) => ({ at: showTime(atMs), ...change })),
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

/** The most services that an answer lists. */
const maxListed = 20

function known(views: readonly CircuitView[]): string {
  if (views.length === 0) return 'there are none'
  const more = views.length - maxListed
  const names = views.slice(0, maxListed).map(({ service }) => service)
  return `there are: ${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}
