import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { circuitSchemas } from './circuits.ts'
import { deliverySchemas } from './deliveries.ts'
import { explainSchemas } from './explain.ts'
import { answer, commonSchemas, problems } from './schemas.ts'
import { webhookSchemas } from './webhooks.ts'

/** The version of the API: its first part changes when something that worked works no more. */
const apiVersion = '1.0.0'

const tags = [
  { name: 'status', description: 'Whether it is alive and ready, and its metrics; open to everybody.' },
  { name: 'explain', description: 'Why a request gets the answer that it gets.' },
  { name: 'circuits', description: 'Circuits of upstream services.' },
  { name: 'webhooks', description: 'Endpoints that events are delivered to.' },
  { name: 'deliveries', description: 'What was delivered to them, and what was not.' },
  { name: 'api', description: 'This description.' },
]

/**
 * Describes every route that is added from now on (OpenAPI 3.1), and serves the description at `/openapi.json`. To be
 * called before any route is added.
 */
export async function describeApi(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Gatepost admin API',
        version: apiVersion,
        description:
          'What the listener on GATEPOST_ADMIN_ADDRESS answers. Times are RFC 3339 in UTC; problems are application/problem+json (RFC 9457).',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: 'http://127.0.0.1:9002', description: 'The default address.' }],
      tags,
      security: [{ token: [] }],
      components: {
        securitySchemes: {
          token: {
            type: 'http',
            scheme: 'bearer',
            description: 'GATEPOST_ADMIN_TOKEN, or what stands in $GATEPOST_DATA_DIR/admin-token.',
          },
        },
      },
    },
    refResolver: { buildLocalReference: (schema) => String(schema['$id']) },
  })
  for (const schema of [
    ...commonSchemas,
    ...explainSchemas,
    ...circuitSchemas,
    ...webhookSchemas,
    ...deliverySchemas,
  ]) {
    app.addSchema(schema)
  }
  app.get(
    '/openapi.json',
    {
      schema: {
        operationId: 'getDescription',
        tags: ['api'],
        summary: 'Describes this API (OpenAPI 3.1)',
        response: {
          200: answer('The description.', Type.Object({}, { additionalProperties: true })),
          ...problems(),
        },
      },
    },
    async () => app.swagger(),
  )
}
