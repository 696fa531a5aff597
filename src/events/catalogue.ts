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
  'rate_limit.exceeded': rateLimitExceeded,
  'request.completed': requestCompleted,
} as const

/** What each event says, in one sentence. */
export const descriptions: Readonly<Record<EventType, string>> = {
  'auth.failed': 'A caller was refused for who they are, or are not.',
  'rate_limit.exceeded': 'A caller asked too often.',
  'request.completed': 'A request has ended; one for each that the observer sees, denials included.',
}

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false
type Agreed = { [T in EventType]: Same<Static<(typeof catalogue)[T]>, EventData[T]> }

// The core's types and the schemas must say the same: where they do not, this line does not compile.
void ({ 'auth.failed': true, 'rate_limit.exceeded': true, 'request.completed': true } satisfies Agreed)

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
