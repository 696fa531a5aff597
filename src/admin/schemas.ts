import Type, { type Static } from 'typebox'
import type { ExplainRequest } from '../core/explain-request.ts'

const text = (maxLength: number, description: string) => Type.String({ maxLength, description })

/** The body of `POST /api/explain`. */
export const explainRequestSchema = Type.Object(
  {
    method: text(64, 'HTTP method.'),
    path: text(16_384, 'Path with its query.'),
    host: Type.Optional(text(256, 'Host, with its port or without.')),
    headers: Type.Optional(
      Type.Record(Type.String(), Type.Union([Type.String(), Type.Array(Type.String())]), {
        description: 'Headers by name; a list for one that is sent more than once.',
      }),
    ),
    client_address: Type.Optional(text(64, "The client's IP address.")),
    principal: Type.Optional(text(1_024, 'The name in the client certificate.')),
    route_settings: Type.Optional(
      Type.Record(Type.String(), Type.String(), {
        description: "What Envoy's route says by context_extensions.",
      }),
    ),
    ask_issuers: Type.Optional(
      Type.Boolean({ description: 'Whether issuers may be asked what is not known yet.' }),
    ),
    show_values: Type.Optional(Type.Boolean({ description: 'Whether claims are shown with their values.' })),
  },
  { additionalProperties: false },
)

// The schema and the type that the core works with must say the same.
;({}) as Static<typeof explainRequestSchema> satisfies ExplainRequest
