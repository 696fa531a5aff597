import type { FastifyInstance } from 'fastify'
import Type, { type Static } from 'typebox'
import type { ExplainRequest } from '../core/explain-request.ts'
import { type Explanation, stepNames } from '../core/explanation.ts'
import { shadowParts } from '../core/shadow.ts'
import { answer, problems, type SharedSchemas, shared, text } from './schemas.ts'

const bounded = (maxLength: number, description: string) => Type.String({ maxLength, description })

const textOrTexts = Type.Unsafe<string | string[]>({ type: ['string', 'array'], items: { type: 'string' } })

const explainRequestSchema = Type.Object(
  {
    method: bounded(64, 'HTTP method.'),
    path: bounded(16_384, 'Path with its query.'),
    host: Type.Optional(bounded(256, 'Host, with its port or without.')),
    headers: Type.Optional(
      Type.Record(Type.String(), textOrTexts, {
        description: 'Headers by name; a list for one that is sent more than once.',
      }),
    ),
    client_address: Type.Optional(bounded(64, "The client's IP address.")),
    principal: Type.Optional(bounded(1_024, 'The name in the client certificate.')),
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

const strict = { additionalProperties: false }
const header = Type.Array(Type.String(), { minItems: 2, maxItems: 2, description: 'Name and value.' })

const explanationSchema = Type.Object(
  {
    request: Type.Object({ method: Type.String(), authority: Type.String(), path: Type.String() }, strict),
    steps: Type.Array(
      Type.Object(
        {
          step: Type.Enum([...stepNames]),
          outcome: Type.Enum(['passed', 'refused', 'reported', 'fault', 'skipped'], {
            description:
              'skipped where an earlier step has decided, or nothing is asked; reported where only shadow mode lets it pass.',
          }),
          says: text('What was found.'),
          source: Type.Optional(text('Where the settings come from.')),
        },
        strict,
      ),
    ),
    route: Type.Object(
      {
        name: Type.String(),
        service: Type.Optional(Type.String()),
        auth: Type.String(),
        sources: Type.Record(Type.String(), Type.String(), {
          description: 'Where each setting comes from, by its name.',
        }),
      },
      strict,
    ),
    caller: Type.Object(
      {
        kind: Type.String(),
        issuer: Type.Optional(Type.String()),
        userId: Type.Optional(Type.String()),
        clientId: Type.Optional(Type.String()),
        scopes: Type.Optional(Type.Array(Type.String())),
        claims: Type.Optional(
          Type.Unknown({ description: 'Their names; with their values where show_values says so.' }),
        ),
      },
      { ...strict, description: 'Who is calling, as far as that was established.' },
    ),
    limits: Type.Array(
      Type.Object(
        {
          name: Type.String(),
          limit: text('Such as 100/1m.'),
          algorithm: Type.String(),
          by: text('What it counts by.'),
          remaining: Type.Number(),
          resetSeconds: Type.Number({ description: 'Until the whole quota is there again.' }),
          retryAfterSeconds: Type.Optional(
            Type.Number({ description: 'Until this request would pass; absent where it does.' }),
          ),
        },
        strict,
      ),
    ),
    upstreamHeaders: Type.Optional(
      Type.Object(
        { set: Type.Array(header), remove: Type.Array(Type.String()) },
        { ...strict, description: "How the upstream's request differs; absent where it gets none." },
      ),
    ),
    clientHeaders: Type.Array(header, { description: 'What the client gets beside the answer.' }),
    verdict: Type.Object(
      {
        decision: Type.Enum(['allow', 'deny', 'fault']),
        status: Type.Optional(Type.Integer()),
        reason: Type.String(),
        detail: Type.String(),
        cause: Type.Optional(Type.String()),
        shadow: Type.Optional(
          Type.Array(Type.Object({ part: Type.Enum([...shadowParts]), reason: Type.String() }, strict), {
            description: 'What would refuse it, were it not in shadow mode.',
          }),
        ),
      },
      strict,
    ),
  },
  { ...strict, $id: 'Explanation', description: 'Why a request gets the answer that it gets.' },
)

/** The schemas that answers here point to. */
export const explainSchemas: SharedSchemas = [explanationSchema]

/** Says why a request gets the answer that it gets. */
export type Explain = (asked: ExplainRequest) => Promise<Explanation>

/** Serves `POST /api/explain`. */
export function serveExplain(app: FastifyInstance, explain: Explain): void {
  app.post(
    '/api/explain',
    {
      schema: {
        operationId: 'explainRequest',
        tags: ['explain'],
        summary: 'Says why a request gets the answer that it gets',
        description: 'Nothing is taken, counted or told.',
        body: explainRequestSchema,
        response: { 200: answer('The explanation.', shared('Explanation')), ...problems(400) },
      },
    },
    (request) => explain(request.body as ExplainRequest),
  )
}
