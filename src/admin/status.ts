import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { answer, problemAnswer } from './schemas.ts'

/** Answers `/readyz`. */
export interface Readiness {
  ready: boolean
  /** What readiness hangs on, part by part, for a human at three in the morning. */
  detail: Readonly<Record<string, unknown>>
}

/** What everybody may ask. */
export interface StatusSources {
  readiness: () => Readiness
  metrics: () => Promise<{ contentType: string; text: string }>
}

/** The paths that need no token. */
export const openPaths: ReadonlySet<string> = new Set(['/healthz', '/readyz', '/metrics'])

const readinessSchema = Type.Object(
  { status: Type.Enum(['ready', 'not ready']) },
  { description: 'What readiness hangs on, part by part.', additionalProperties: true },
)

// Open, and described so.
const open = { tags: ['status'], security: [] } as const

/** Serves `/healthz`, `/readyz` and `/metrics`. */
export function serveStatus(app: FastifyInstance, { readiness, metrics }: StatusSources): void {
  app.get(
    '/healthz',
    {
      schema: {
        ...open,
        operationId: 'getHealth',
        summary: 'Says that it is alive',
        response: {
          200: answer(
            'Alive.',
            Type.Object({ status: Type.Enum(['alive']) }, { additionalProperties: false }),
          ),
        },
      },
    },
    async () => ({ status: 'alive' }),
  )
  app.get(
    '/readyz',
    {
      schema: {
        ...open,
        operationId: 'getReadiness',
        summary: 'Says whether requests can be decided, and what that hangs on',
        response: {
          200: answer('Ready.', readinessSchema),
          503: answer('Not ready: it starts, or it stops.', readinessSchema),
        },
      },
    },
    async (_request, reply) => {
      const { ready, detail } = readiness()
      return reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : 'not ready', ...detail })
    },
  )
  app.get(
    '/metrics',
    {
      schema: {
        ...open,
        operationId: 'getMetrics',
        summary: 'Hands out the metrics for Prometheus',
        response: {
          200: {
            description: "Metrics in Prometheus's text format.",
            content: { 'text/plain': { schema: Type.String() } },
          },
          500: problemAnswer('The metrics could not be collected.'),
        },
      },
    },
    async (_request, reply) => {
      const { contentType, text } = await metrics()
      return reply.header('content-type', contentType).send(text)
    },
  )
}
