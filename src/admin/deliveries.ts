import type { FastifyInstance } from 'fastify'
import Type, { type Static } from 'typebox'
import {
  type AttemptView,
  webhookAdminBounds as bounds,
  type DeliveryDetail,
  type DeliveryFilter,
  type DeliveryView,
  deliveryStatuses,
  type WebhookAdmin,
} from '../core/webhook-admin.ts'
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
import { send } from './webhook-answers.ts'

/** The deliveries as the admin API needs them. */
export type AdminDeliveries = Pick<WebhookAdmin, 'deliveries' | 'delivery' | 'replay' | 'replayAll'>

const strict = { additionalProperties: false }

const delivery = {
  id: Type.String(),
  webhook_id: text('The endpoint.'),
  event_id: text('The webhook-id that the receiver sees: that of the event.'),
  event: text('The type of the event.'),
  status: Type.Enum([...deliveryStatuses], {
    description:
      'pending: waits, or is under way. failed: refused for good, or failed at its last attempt. dropped: given up without having failed.',
  }),
  reason: Type.Optional(text('Why it failed or was dropped.')),
  attempts: count('Attempts so far.'),
  created_at: time('When it was queued.'),
  next_attempt_at: Type.Optional(
    time('When it is tried next, unless something holds the endpoint back; while pending.'),
  ),
  finished_at: Type.Optional(time('When it ended.')),
  replay_of: Type.Optional(text('The delivery that this one repeats.')),
  test: Type.Boolean({ description: 'Whether it is a test.' }),
}

const deliverySchema = Type.Object(delivery, {
  ...strict,
  $id: 'Delivery',
  description: 'A delivery of one event to one endpoint.',
})

const attemptSchema = Type.Object(
  {
    number: Type.Integer({ minimum: 1 }),
    at: time('When it began.'),
    duration_ms: Type.Number({ minimum: 0 }),
    result: Type.Enum(['delivered', 'retry', 'failed', 'gone']),
    status_code: Type.Optional(Type.Integer({ description: 'Absent where there was no answer.' })),
    reason: Type.Optional(
      text('status, timeout, connection, tls, name or address; absent where it was delivered.'),
    ),
    error: Type.Optional(text('What went wrong, where nobody answered.')),
    answer: text('The first KiB of the answer, without secrets of the endpoint.'),
  },
  { ...strict, $id: 'Attempt', description: 'One attempt at a delivery.' },
)

const deliveryDetailSchema = Type.Object(
  {
    ...delivery,
    body: text('What was sent, as text.'),
    attempt_log: Type.Array(shared('Attempt'), { description: 'The attempts, the oldest first.' }),
  },
  { ...strict, $id: 'DeliveryDetail', description: 'A delivery with what is known of it.' },
)

/** The schemas that answers here point to. */
export const deliverySchemas: SharedSchemas = [deliverySchema, attemptSchema, deliveryDetailSchema]

const filter = {
  status: Type.Optional(Type.Enum([...deliveryStatuses], { description: 'Only those that stand so.' })),
  webhook_id: Type.Optional(Type.String({ maxLength: 64, description: 'Only those to this endpoint.' })),
  event: Type.Optional(Type.String({ maxLength: 128, description: 'Only events of this type.' })),
  since: Type.Optional(time('Only those that were queued then or later.')),
  until: Type.Optional(time('Only those that were queued before.')),
}

const querySchema = Type.Object(
  {
    ...filter,
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: bounds.page,
        description: `The most on a page. Default: ${bounds.defaultPage}.`,
      }),
    ),
    cursor: Type.Optional(
      Type.String({ maxLength: 512, description: 'The next_cursor of the page before.' }),
    ),
  },
  strict,
)

const replaySchema = Type.Object(
  { ...filter, status: Type.Optional(Type.Enum(['delivered', 'failed', 'dropped'])) },
  {
    ...strict,
    description: 'Which deliveries; an empty object means all that have failed or were dropped.',
  },
)

const tags = ['deliveries']
const idParameter = Type.Object({ id: text('The id of the delivery.') })

/** Serves `/api/deliveries`. */
export function serveDeliveries(app: FastifyInstance, deliveries: AdminDeliveries): void {
  app.get(
    '/api/deliveries',
    {
      schema: {
        operationId: 'listDeliveries',
        tags,
        summary: 'Lists deliveries, the newest first',
        querystring: querySchema,
        response: {
          200: answer(
            'A page of them.',
            Type.Object(
              {
                deliveries: Type.Array(shared('Delivery')),
                next_cursor: Type.Optional(text('Where the next page begins; absent on the last.')),
              },
              strict,
            ),
          ),
          ...problems(400, 503),
        },
      },
    },
    async (request, reply) => {
      const { limit, cursor, ...asked } = request.query as Static<typeof querySchema>
      const query = {
        ...filterOf(asked),
        ...(limit !== undefined && { limit }),
        ...(cursor !== undefined && { cursor }),
      }
      return send(reply, await deliveries.deliveries(query), (page) => ({
        deliveries: page.deliveries.map(showDelivery),
        ...(page.next !== undefined && { next_cursor: page.next }),
      }))
    },
  )
  app.get(
    '/api/deliveries/:id',
    {
      schema: {
        operationId: 'getDelivery',
        tags,
        summary: 'Shows a delivery with all of its attempts',
        params: idParameter,
        response: { 200: answer('The delivery.', shared('DeliveryDetail')), ...problems(404, 503) },
      },
    },
    async (request, reply) => {
      const { id } = request.params as Static<typeof idParameter>
      return send(reply, await deliveries.delivery(id), showDeliveryDetail, noDelivery(id))
    },
  )
  app.post(
    '/api/deliveries/:id/replay',
    {
      schema: {
        operationId: 'replayDelivery',
        tags,
        summary: 'Delivers once more what has ended, whichever way',
        description: 'A new delivery with the same webhook-id and the same body.',
        params: idParameter,
        response: { 201: answer('The new delivery.', shared('Delivery')), ...problems(404, 409, 503) },
      },
    },
    async (request, reply) => {
      const { id } = request.params as Static<typeof idParameter>
      return send(reply.code(201), await deliveries.replay(id), showDelivery, noDelivery(id))
    },
  )
  app.post(
    '/api/deliveries/replay',
    {
      schema: {
        operationId: 'replayDeliveries',
        tags,
        summary: 'Delivers once more all that a filter fits, the oldest first',
        description: `At most ${bounds.replay.toLocaleString('en-US')} at once.`,
        body: replaySchema,
        response: {
          200: answer(
            'How many.',
            Type.Object(
              {
                replayed: count('Deliveries that were replayed.'),
                more: Type.Boolean({ description: 'Whether the filter fits further ones: ask again.' }),
              },
              strict,
            ),
          ),
          ...problems(400, 409, 503),
        },
      },
    },
    async (request, reply) => {
      const filter = filterOf(request.body as Static<typeof replaySchema>)
      return send(reply, await deliveries.replayAll(filter), (replayed) => replayed)
    },
  )
}

function filterOf({ status, webhook_id, event, since, until }: Static<typeof querySchema>): DeliveryFilter {
  return {
    ...(status !== undefined && { status }),
    ...(webhook_id !== undefined && { webhookId: webhook_id }),
    ...(event !== undefined && { eventType: event }),
    ...(since !== undefined && { sinceMs: Date.parse(since) }),
    ...(until !== undefined && { untilMs: Date.parse(until) }),
  }
}

function noDelivery(id: string): string {
  return `There is no delivery ${JSON.stringify(id)}`
}

function showDelivery(view: DeliveryView) {
  return {
    id: view.id,
    webhook_id: view.webhookId,
    event_id: view.eventId,
    event: view.eventType,
    status: view.status,
    reason: view.reason,
    attempts: view.attempts,
    created_at: showTime(view.createdAtMs),
    ...timeWhere('next_attempt_at', view.nextAttemptAtMs),
    ...timeWhere('finished_at', view.finishedAtMs),
    replay_of: view.replayOf,
    test: view.test,
  }
}

/** Writes a delivery as the API shows it, with its attempts. */
export function showDeliveryDetail(detail: DeliveryDetail) {
  return { ...showDelivery(detail), body: detail.body, attempt_log: detail.attemptLog.map(showAttempt) }
}

function showAttempt({
  number,
  atMs,
  durationMs,
  result,
  statusCode,
  reason,
  error,
  answer: told,
}: AttemptView) {
  return {
    number,
    at: showTime(atMs),
    duration_ms: durationMs,
    result,
    status_code: statusCode,
    reason,
    error,
    answer: told,
  }
}
