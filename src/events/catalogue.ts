import Type, { type Static } from 'typebox'
import type { EventData, EventType } from '../core/events.ts'

const text = (maxLength: number, description: string) => Type.String({ maxLength, description })
const optional = Type.Optional

const authFailed = Type.Object(
  {
    reason: text(64, 'Reason of the denial; the README lists them.'),
    path: text(2_048, 'Path without query.'),
    client_ip: optional(text(64, 'Address of the client, by GATEPOST_CLIENT_ADDRESS.')),
    token_type: Type.Union(
      [Type.Literal('none'), Type.Literal('bearer'), Type.Literal('api_key'), Type.Literal('other')],
      {
        description: 'What was shown.',
      },
    ),
    route: text(128, 'Label of the route; unmatched where nothing names it.'),
    issuer: optional(text(2_048, 'Who vouches for the caller, where the credential itself was good.')),
    shadow: optional(
      Type.Literal(true, { description: 'The request went on all the same: auth is in shadow mode.' }),
    ),
  },
  { additionalProperties: false },
)

const rateLimitExceeded = Type.Object(
  {
    client_id: optional(text(1_024, 'Client that the credential was issued to.')),
    route: text(128, 'Label of the route; unmatched where nothing names it.'),
    name: text(64, "The limit's name."),
    limit: Type.Integer({ minimum: 1, description: 'Requests in the window.' }),
    window: Type.String({ pattern: '^\\d+(ms|s|m|h|d)$', description: 'The window, such as 1m.' }),
    requests_made: Type.Integer({ minimum: 0, description: 'How much of the limit is taken.' }),
    reset_at: Type.String({ format: 'date-time', description: 'When the whole quota is there again; UTC.' }),
    shadow: optional(
      Type.Literal(true, { description: 'The request went on all the same: rate_limit is in shadow mode.' }),
    ),
  },
  { additionalProperties: false },
)

const circuitChanged = Type.Object(
  {
    service: text(128, 'The upstream service.'),
    failure_count: Type.Integer({
      minimum: 0,
      description: 'What was counted when it last opened: failures, or slow answers.',
    }),
    failure_threshold: Type.Integer({ minimum: 0, description: 'How much of it is too much.' }),
    timeout_seconds: Type.Number({ minimum: 0, description: 'How long it stays open; 0 if it is not.' }),
    cause: Type.Union(
      [
        Type.Literal('consecutive_failures'),
        Type.Literal('failure_rate'),
        Type.Literal('slow_rate'),
        Type.Literal('probe_failed'),
        Type.Literal('timeout'),
        Type.Literal('probes_passed'),
        Type.Literal('override'),
        Type.Literal('override_ended'),
      ],
      { description: 'What changed its state.' },
    ),
    replica: text(256, 'Host name of the Gatepost whose circuit it is.'),
  },
  { additionalProperties: false },
)

const endpointDisabled = Type.Object(
  {
    webhook_id: text(64, 'The webhook.'),
    url: text(2_048, 'Where it went, without query.'),
    reason: Type.Union([Type.Literal('gone'), Type.Literal('failing')], {
      description: 'The receiver answered 410, or nothing but failures came of it for days.',
    }),
    failures: Type.Integer({ minimum: 0, description: 'Attempts that failed since the last that did not.' }),
  },
  { additionalProperties: false },
)

const requestCompleted = Type.Object(
  {
    method: text(64, 'HTTP method.'),
    path: text(2_048, 'Path without query.'),
    status_code: Type.Integer({
      minimum: 0,
      maximum: 999,
      description: 'Status that the client got; 0 where it got none.',
    }),
    duration_ms: Type.Number({
      minimum: 0,
      description: 'Milliseconds from the first byte received to the last byte sent.',
    }),
    user_id: optional(text(1_024, 'sub of the verified token.')),
    client_ip: optional(text(64, 'Address of the client, by GATEPOST_CLIENT_ADDRESS.')),
    user_agent: optional(text(512, 'As the client sent it.')),
    upstream_service: optional(text(256, "The route's service, else Envoy's cluster.")),
    cache_status: optional(
      Type.Union([Type.Literal('hit'), Type.Literal('miss')], {
        description: 'Whether a cache had the answer, where one said so.',
      }),
    ),
    route: text(128, 'Label of the route; unmatched where nothing names it.'),
    client_id: optional(text(1_024, 'Client that the verified token was issued to.')),
    decision: Type.Union(
      [Type.Literal('allow'), Type.Literal('deny'), Type.Literal('fault'), Type.Literal('none')],
      {
        description:
          'The verdict; fault where Gatepost gave none, none where Envoy answered before it asked.',
      },
    ),
    shadow: optional(
      Type.Array(Type.String({ maxLength: 64 }), {
        description:
          'Reasons for which it would have been refused, were the parts at issue not in shadow mode.',
      }),
    ),
    bytes_in: optional(Type.Integer({ minimum: 0, description: 'Bytes of request headers and body.' })),
    bytes_out: optional(Type.Integer({ minimum: 0, description: 'Bytes of response headers and body.' })),
    response_flags: optional(
      Type.Array(Type.String({ maxLength: 8 }), {
        description: "Envoy's response flags by their short names.",
      }),
    ),
    trace_id: optional(Type.String({ pattern: '^[0-9a-f]{32}$', description: 'W3C trace id.' })),
  },
  { additionalProperties: false },
)

/** The schema of each event's data: JSON Schema, and the TypeScript type in one. */
export const catalogue = {
  'auth.failed': authFailed,
  'circuit_breaker.closed': circuitChanged,
  'circuit_breaker.half_opened': circuitChanged,
  'circuit_breaker.opened': circuitChanged,
  'endpoint.disabled': endpointDisabled,
  'rate_limit.exceeded': rateLimitExceeded,
  'request.completed': requestCompleted,
} as const

/** What each event says, in one sentence. */
export const descriptions: Readonly<Record<EventType, string>> = {
  'auth.failed': 'A caller was refused for who they are, or are not.',
  'circuit_breaker.closed': 'Requests to a service pass again.',
  'circuit_breaker.half_opened': 'A service is being tried out by single requests.',
  'circuit_breaker.opened':
    'Requests to a service are refused: it is not answering well, or somebody said so.',
  'endpoint.disabled': 'Nothing is delivered any more to an endpoint of webhooks.',
  'rate_limit.exceeded': 'A caller asked too often.',
  'request.completed': 'A request has ended; one for each that the observer sees, denials included.',
}

/** When each event is told. */
export const occasions: Readonly<Record<EventType, string>> = {
  'auth.failed':
    'With every refusal for lack of a good credential, of a scope or of a claim, when the verdict is given.',
  'circuit_breaker.closed':
    'When the probes of a half-open circuit have passed, or an override says so or ends.',
  'circuit_breaker.half_opened':
    'When the time of an open circuit is over and a request may probe its service.',
  'circuit_breaker.opened':
    'When the failures of a service are too many, a probe fails, or an override says so.',
  'endpoint.disabled':
    'When a receiver answers 410, or after five days of nothing but failures; once, by the replica that saw it.',
  'rate_limit.exceeded':
    'With the first refusal of each caller and window, or with every one (GATEPOST_RATE_LIMIT_EVENTS), when the verdict is given.',
  'request.completed':
    'When the observer tells that a request has ended (GATEPOST_OBSERVER), once for each; GATEPOST_EVENTS_SAMPLE thins it.',
}

const circuit = { service: 'order-service', failure_threshold: 5, replica: 'gatepost-7c9f' } as const

/** Data as each event may carry it. */
export const examples: { readonly [T in EventType]: EventData[T] } = {
  'auth.failed': {
    reason: 'insufficient_scope',
    path: '/api/orders',
    client_ip: '192.0.2.7',
    token_type: 'bearer',
    route: 'orders',
    issuer: 'https://login.example.com/',
  },
  'circuit_breaker.closed': { ...circuit, failure_count: 5, timeout_seconds: 0, cause: 'probes_passed' },
  'circuit_breaker.half_opened': { ...circuit, failure_count: 5, timeout_seconds: 0, cause: 'timeout' },
  'circuit_breaker.opened': {
    ...circuit,
    failure_count: 5,
    timeout_seconds: 60,
    cause: 'consecutive_failures',
  },
  'endpoint.disabled': {
    webhook_id: 'billing',
    url: 'https://hooks.example.com/usage',
    reason: 'failing',
    failures: 812,
  },
  'rate_limit.exceeded': {
    client_id: 'shop',
    route: 'orders',
    name: 'burst',
    limit: 60,
    window: '1m',
    requests_made: 60,
    reset_at: '2030-01-02T03:05:05.000Z',
  },
  'request.completed': {
    method: 'GET',
    path: '/api/orders/17',
    status_code: 200,
    duration_ms: 12.4,
    user_id: 'alice',
    client_ip: '192.0.2.7',
    user_agent: 'curl/8.5.0',
    upstream_service: 'order-service',
    cache_status: 'miss',
    route: 'orders',
    client_id: 'shop',
    decision: 'allow',
    bytes_in: 512,
    bytes_out: 2_048,
    trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
  },
}

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false
type Agreed = { [T in EventType]: Same<Static<(typeof catalogue)[T]>, EventData[T]> }

// The core's types and the schemas must say the same: where they do not, this line does not compile.
void ({
  'auth.failed': true,
  'circuit_breaker.closed': true,
  'circuit_breaker.half_opened': true,
  'circuit_breaker.opened': true,
  'endpoint.disabled': true,
  'rate_limit.exceeded': true,
  'request.completed': true,
} satisfies Agreed)

/** The event types, in the order of the catalogue. */
export const eventTypes = Object.keys(catalogue) as EventType[]

/** The most bytes of JSON that an event takes. */
export const maxEventBytes = 16 * 1024

/** The JSON Schema of a whole event: the envelope with its data. */
export function eventSchema(type: EventType) {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: `urn:gatepost:event:${type}`,
    title: type,
    ...Type.Object(
      {
        id: Type.String({ format: 'uuid', description: 'Unique; made by Gatepost.' }),
        event_type: Type.Literal(type),
        timestamp: Type.String({ format: 'date-time', description: 'When it happened; UTC.' }),
        request_id: optional(text(256, 'x-request-id; a client can choose it.')),
        data: catalogue[type],
      },
      { description: descriptions[type], additionalProperties: false },
    ),
  }
}
