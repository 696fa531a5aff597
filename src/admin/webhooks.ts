import type { FastifyInstance, FastifyReply } from 'fastify'
import Type, { type Static, type TSchema } from 'typebox'
import {
  webhookAdminBounds as bounds,
  type NewWebhook,
  type Rotation,
  type WebhookAdmin,
  type WebhookAnswer,
  type WebhookChange,
  type WebhookDraft,
  type WebhookView,
} from '../core/webhook-admin.ts'
import { webhookBounds, webhookSecretForm } from '../core/webhooks.ts'
import { showDeliveryDetail } from './deliveries.ts'
import {
  answer,
  count,
  emptyAnswer,
  problems,
  type SharedSchemas,
  shared,
  text,
  time,
  timeWhere,
} from './schemas.ts'
import { send } from './webhook-answers.ts'

/** The endpoints as the admin API needs them. */
export interface AdminWebhooks {
  admin: WebhookAdmin
  /** How requests spell an endpoint: the schemas of their bodies, and what is in one that fits. */
  bodies: {
    draftSchema: TSchema
    changeSchema: TSchema
    draft: (body: unknown) => WebhookDraft
    change: (body: unknown) => WebhookChange
  }
}

const strict = { additionalProperties: false }

const webhook = {
  id: Type.String(),
  source: Type.Enum(['file', 'replica'], {
    description:
      'Where it is declared: in GATEPOST_WEBHOOKS_FILE, which cannot be changed here, or in the data folder of this replica.',
  }),
  url: text('Where deliveries go; values of its query are shown as ***.'),
  events: Type.Array(Type.String(), {
    description: 'Types, circuit_breaker.* for a family, * for every event.',
  }),
  active: Type.Boolean(),
  retry_policy: Type.Object(
    { max_retries: count('Attempts after the first.'), backoff_seconds: count('Before the second attempt.') },
    strict,
  ),
  header_names: Type.Array(Type.String(), {
    description: 'Names of its headers; their values are not shown.',
  }),
  rate_limit: Type.Optional(text('The most attempts in so much time; absent for no limit.')),
  filters: Type.Object(
    { routes: Type.Optional(Type.Array(Type.String())), services: Type.Optional(Type.Array(Type.String())) },
    strict,
  ),
  ordered: Type.Boolean(),
  concurrency: Type.Integer({ minimum: 1 }),
  timeout_seconds: Type.Number(),
  secrets: Type.Array(Type.Object({ until: Type.Optional(time('Until when it signs.')) }, strict), {
    description: 'Those in force, the current one first; never what they are.',
  }),
  condition: Type.Enum(['delivering', 'inactive', 'paused', 'disabled', 'unusable'], {
    description:
      'What becomes of deliveries: they go out; or none is queued (inactive, disabled); or what comes is queued (paused, unusable).',
  }),
  why: Type.Optional(text('Why it is disabled or unusable.')),
  disabled_at: Type.Optional(time('When it was disabled.')),
  pending: count('Deliveries that wait or are under way.'),
  oldest_pending_at: Type.Optional(time('When the oldest of them was queued.')),
  failures_in_row: count('Attempts that failed since the last that did not.'),
  failing_since: Type.Optional(time('When the first of them was made.')),
  circuit: Type.Object(
    {
      state: Type.Enum(['closed', 'open', 'half_open']),
      until: Type.Optional(time('When it is tried again, where it is open.')),
    },
    { ...strict, description: 'Whether attempts are held back because they keep failing.' },
  ),
}

const webhookSchema = Type.Object(webhook, {
  ...strict,
  $id: 'Webhook',
  description: 'An endpoint that events are delivered to.',
})

const newWebhookSchema = Type.Object(
  { ...webhook, secret: text('The secret, shown only now.') },
  { ...strict, $id: 'NewWebhook', description: 'An endpoint, and the secret that was just made or given.' },
)

/** The schemas that answers here point to. */
export const webhookSchemas: SharedSchemas = [webhookSchema, newWebhookSchema]

const rotationSchema = Type.Object(
  {
    secret: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: webhookBounds.secretLength,
        description: `The new secret: ${webhookSecretForm}. Default: a new one.`,
      }),
    ),
    grace_seconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: bounds.graceSeconds,
        description: `How long the old one signs on. Default: ${bounds.defaultGraceSeconds}.`,
      }),
    ),
  },
  { ...strict, description: 'How the secret changes; an empty object for the defaults.' },
)

const tags = ['webhooks']
const idParameter = Type.Object({ id: text('The id of the endpoint.') })
const webhookAnswer = answer('The endpoint.', shared('Webhook'))

/** What is done to an endpoint without saying more, with a sentence each. */
const orders = {
  pause: 'Keeps deliveries back, and queues what comes',
  resume: 'Ends a pause',
  enable: 'Delivers again to an endpoint that was disabled',
} as const satisfies Partial<Record<keyof WebhookAdmin, string>>

/** Serves `/api/webhooks`. */
export function serveWebhooks(app: FastifyInstance, { admin, bodies }: AdminWebhooks): void {
  serveCollection(app, admin, bodies)
  serveEndpoint(app, admin, bodies)
  serveOrders(app, admin)
  serveSecretAndTest(app, admin)
}

function serveCollection(app: FastifyInstance, admin: WebhookAdmin, bodies: AdminWebhooks['bodies']): void {
  app.get(
    '/api/webhooks',
    {
      schema: {
        operationId: 'listWebhooks',
        tags,
        summary: 'Lists the endpoints',
        response: {
          200: answer('All endpoints.', Type.Object({ webhooks: Type.Array(shared('Webhook')) }, strict)),
          ...problems(503),
        },
      },
    },
    async (_request, reply) =>
      send(reply, await admin.list(), (views) => ({ webhooks: views.map(showWebhook) })),
  )
  app.post(
    '/api/webhooks',
    {
      schema: {
        operationId: 'createWebhook',
        tags,
        summary: 'Adds an endpoint to this replica',
        description: 'The answer holds its secret, for the only time.',
        body: bodies.draftSchema,
        response: {
          201: answer('The endpoint, with its secret.', shared('NewWebhook')),
          ...problems(400, 409, 503),
        },
      },
    },
    async (request, reply) => {
      const made = await admin.create(bodies.draft(request.body))
      if (made.kind === 'done') {
        reply.code(201).header('location', `/api/webhooks/${encodeURIComponent(made.value.webhook.id)}`)
      }
      return sendSecret(reply, made)
    },
  )
}

function serveEndpoint(app: FastifyInstance, admin: WebhookAdmin, bodies: AdminWebhooks['bodies']): void {
  app.get(
    '/api/webhooks/:id',
    {
      schema: {
        operationId: 'getWebhook',
        tags,
        summary: 'Shows an endpoint',
        params: idParameter,
        response: { 200: webhookAnswer, ...problems(404, 503) },
      },
    },
    async (request, reply) => {
      const { id } = request.params as Static<typeof idParameter>
      return send(reply, await admin.get(id), showWebhook, noWebhook(id))
    },
  )
  app.patch(
    '/api/webhooks/:id',
    {
      schema: {
        operationId: 'updateWebhook',
        tags,
        summary: 'Changes an endpoint of this replica',
        params: idParameter,
        body: bodies.changeSchema,
        response: { 200: webhookAnswer, ...problems(400, 404, 409, 503) },
      },
    },
    async (request, reply) => {
      const { id } = request.params as Static<typeof idParameter>
      return send(reply, await admin.update(id, bodies.change(request.body)), showWebhook, noWebhook(id))
    },
  )
  app.delete(
    '/api/webhooks/:id',
    {
      schema: {
        operationId: 'deleteWebhook',
        tags,
        summary: 'Removes an endpoint of this replica with all of its deliveries',
        params: idParameter,
        response: { 204: emptyAnswer('Removed.'), ...problems(404, 409, 503) },
      },
    },
    async (request, reply) => {
      const { id } = request.params as Static<typeof idParameter>
      return send(reply.code(204), await admin.remove(id), () => undefined, noWebhook(id))
    },
  )
}

function serveOrders(app: FastifyInstance, admin: WebhookAdmin): void {
  for (const [order, summary] of Object.entries(orders) as [keyof typeof orders, string][]) {
    app.post(
      `/api/webhooks/:id/${order}`,
      {
        schema: {
          operationId: `${order}Webhook`,
          tags,
          summary,
          params: idParameter,
          response: { 200: webhookAnswer, ...problems(404, 409, 503) },
        },
      },
      async (request, reply) => {
        const { id } = request.params as Static<typeof idParameter>
        return send(reply, await admin[order](id), showWebhook, noWebhook(id))
      },
    )
  }
}

function serveSecretAndTest(app: FastifyInstance, admin: WebhookAdmin): void {
  app.post(
    '/api/webhooks/:id/rotate',
    {
      schema: {
        operationId: 'rotateWebhookSecret',
        tags,
        summary: 'Puts a new secret in front',
        description:
          'The old one signs as well for a while. The answer holds the new one, for the only time.',
        params: idParameter,
        body: rotationSchema,
        response: {
          200: answer('The endpoint, with its new secret.', shared('NewWebhook')),
          ...problems(400, 404, 409, 503),
        },
      },
    },
    async (request, reply) => {
      const { id } = request.params as Static<typeof idParameter>
      const rotated = await admin.rotate(id, rotationOf(request.body as Static<typeof rotationSchema>))
      return sendSecret(reply, rotated, noWebhook(id))
    },
  )
  app.post(
    '/api/webhooks/:id/test',
    {
      schema: {
        operationId: 'testWebhook',
        tags,
        summary: 'Delivers one event webhook.test now, once, and says how that ended',
        params: idParameter,
        response: {
          200: answer('The delivery, whichever way it ended.', shared('DeliveryDetail')),
          ...problems(404, 409, 503),
        },
      },
    },
    async (request, reply) => {
      const { id } = request.params as Static<typeof idParameter>
      return send(reply, await admin.test(id), showDeliveryDetail, noWebhook(id))
    },
  )
}

function sendSecret(reply: FastifyReply, made: WebhookAnswer<NewWebhook>, missing?: string): FastifyReply {
  reply.header('cache-control', 'no-store')
  return send(reply, made, ({ webhook: view, secret }) => ({ ...showWebhook(view), secret }), missing)
}

function rotationOf({ secret, grace_seconds: graceSeconds }: Static<typeof rotationSchema>): Rotation {
  return {
    ...(secret !== undefined && { secret }),
    ...(graceSeconds !== undefined && { graceSeconds }),
  }
}

function noWebhook(id: string): string {
  return `There is no webhook ${JSON.stringify(id)}`
}

function showWebhook(view: WebhookView) {
  const { retryPolicy, secrets } = view
  return {
    id: view.id,
    source: view.source,
    url: view.url,
    events: view.events,
    active: view.active,
    retry_policy: { max_retries: retryPolicy.maxRetries, backoff_seconds: retryPolicy.backoffSeconds },
    header_names: view.headerNames,
    rate_limit: view.rateLimit,
    filters: view.filters,
    ordered: view.ordered,
    concurrency: view.concurrency,
    timeout_seconds: view.timeoutSeconds,
    secrets: secrets.map(({ untilMs }) => timeWhere('until', untilMs)),
    condition: view.condition,
    why: view.why,
    ...timeWhere('disabled_at', view.disabledAtMs),
    pending: view.pending,
    ...timeWhere('oldest_pending_at', view.oldestPendingAtMs),
    failures_in_row: view.failuresInRow,
    ...timeWhere('failing_since', view.failingSinceMs),
    circuit: { state: view.circuit, ...timeWhere('until', view.circuitUntilMs) },
  }
}
