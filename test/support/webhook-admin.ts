import {
  webhookAdminBounds as bounds,
  type DeliveryDetail,
  type DeliveryFilter,
  type DeliveryView,
  type NewWebhook,
  type WebhookAdmin,
  type WebhookAnswer,
  type WebhookDraft,
  type WebhookView,
} from '../../src/core/webhook-admin.ts'

/** Endpoints and deliveries in memory, for what stands in front of the real ones: nothing is delivered. */
export interface TestWebhooks extends WebhookAdmin {
  /** Every call, in order: the method's name and its arguments. */
  readonly calls: unknown[][]
  readonly webhooks: Map<string, WebhookView>
  readonly log: DeliveryDetail[]
  /** Answers every call from now on. */
  fail(refusal: Exclude<WebhookAnswer<never>, { kind: 'done' }>): void
}

/** A secret that the made ones look like. */
export const testSecret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'

/** When everything in here happens. */
export const testTime = Date.parse('2030-01-31T12:00:00Z')

/** An endpoint that is declared in the file and does well; `more` replaces whatever matters. */
export function webhookView(more: Partial<WebhookView> = {}): WebhookView {
  return {
    id: 'oncall',
    source: 'file',
    url: 'https://hooks.example.com/gatepost',
    events: ['*'],
    active: true,
    retryPolicy: { maxRetries: 3, backoffSeconds: 60 },
    headerNames: [],
    filters: {},
    ordered: false,
    concurrency: 8,
    timeoutSeconds: 10,
    secrets: [{}],
    condition: 'delivering',
    pending: 0,
    failuresInRow: 0,
    circuit: 'closed',
    ...more,
  }
}

/** A delivery that came through at its second attempt; `more` replaces whatever matters. */
export function deliveryDetail(more: Partial<DeliveryDetail> = {}): DeliveryDetail {
  return {
    id: 'd1',
    webhookId: 'oncall',
    eventId: 'e1',
    eventType: 'auth.failed',
    status: 'delivered',
    attempts: 2,
    createdAtMs: testTime,
    finishedAtMs: testTime + 61_000,
    test: false,
    body: '{"event":"auth.failed","timestamp":"2030-01-31T12:00:00.000Z","data":{}}',
    attemptLog: [
      {
        number: 1,
        atMs: testTime,
        durationMs: 5,
        result: 'retry',
        reason: 'connection',
        error: 'ECONNREFUSED',
        answer: '',
      },
      {
        number: 2,
        atMs: testTime + 60_000,
        durationMs: 12,
        result: 'delivered',
        statusCode: 200,
        answer: 'thanks',
      },
    ],
    ...more,
  }
}

const done = <T>(value: T): WebhookAnswer<T> => ({ kind: 'done', value })

/** Makes one with the endpoint `oncall` of the file and, unless told otherwise, its delivery `d1`. */
export function createTestWebhooks(
  log: DeliveryDetail[] = [deliveryDetail()],
  views: readonly WebhookView[] = [webhookView()],
): TestWebhooks {
  const webhooks = new Map(views.map((view) => [view.id, view]))
  const calls: unknown[][] = []
  let refusal: Exclude<WebhookAnswer<never>, { kind: 'done' }> | undefined

  /** Notes the call, and does it unless all are refused. */
  function noted<A extends unknown[], T>(name: string, act: (...args: A) => WebhookAnswer<T>) {
    return async (...args: A): Promise<WebhookAnswer<T>> => {
      calls.push([name, ...args])
      return refusal ?? act(...args)
    }
  }

  function change(id: string, more: Partial<WebhookView>): WebhookAnswer<WebhookView> {
    const view = webhooks.get(id)
    if (!view) return { kind: 'not_found' }
    const next = { ...view, ...more }
    webhooks.set(id, next)
    return done(next)
  }

  function ofReplica<T>(id: string, act: () => WebhookAnswer<T>): WebhookAnswer<T> {
    if (webhooks.get(id)?.source !== 'file') return act()
    return {
      kind: 'conflict',
      why: `The webhook ${JSON.stringify(id)} is declared in the file: change it there`,
    }
  }

  function find(id: string): DeliveryDetail | undefined {
    return log.find((delivery) => delivery.id === id)
  }

  function repeat(id: string): WebhookAnswer<DeliveryView> {
    const old = find(id)
    if (!old) return { kind: 'not_found' }
    if (old.status === 'pending') return { kind: 'conflict', why: `The delivery ${id} has not ended yet` }
    const { finishedAtMs: _ended, ...rest } = old
    const again: DeliveryDetail = { ...rest, id: `${id}-again`, status: 'pending', replayOf: id, attempts: 0 }
    log.push(again)
    return done(shown(again))
  }

  return {
    calls,
    webhooks,
    log,
    fail(next) {
      refusal = next
    },
    list: noted('list', () => done([...webhooks.values()])),
    get: noted('get', (id) => {
      const view = webhooks.get(id)
      return view ? done(view) : { kind: 'not_found' }
    }),
    create: noted('create', (draft) => {
      const view = viewOf(draft)
      if (webhooks.has(view.id)) {
        return { kind: 'conflict', why: `There is a webhook ${JSON.stringify(view.id)} already` }
      }
      webhooks.set(view.id, view)
      return done<NewWebhook>({ webhook: view, secret: draft.secret ?? testSecret })
    }),
    update: noted('update', (id, { url }) =>
      ofReplica(id, () => change(id, { ...(url !== undefined && { url }) })),
    ),
    remove: noted('remove', (id) =>
      ofReplica(id, () => (webhooks.delete(id) ? done(undefined) : { kind: 'not_found' })),
    ),
    rotate: noted('rotate', (id, { secret = testSecret, graceSeconds = bounds.defaultGraceSeconds }) =>
      ofReplica<NewWebhook>(id, () => {
        const old = graceSeconds > 0 ? [{ untilMs: testTime + graceSeconds * 1_000 }] : []
        const answer = change(id, { secrets: [{}, ...old] })
        return answer.kind === 'done' ? done({ webhook: answer.value, secret }) : answer
      }),
    ),
    pause: noted('pause', (id) => change(id, { condition: 'paused' })),
    resume: noted('resume', (id) => change(id, { condition: 'delivering' })),
    enable: noted('enable', (id) => change(id, { condition: 'delivering' })),
    test: noted('test', (id) => {
      const view = webhooks.get(id)
      if (!view) return { kind: 'not_found' }
      const made = deliveryDetail({ id: `t-${id}`, webhookId: id, eventType: 'webhook.test', test: true })
      log.push(made)
      return done(made)
    }),
    deliveries: noted('deliveries', ({ limit = bounds.defaultPage, cursor = '0', ...filter }) => {
      const all = log.toReversed().filter((delivery) => fits(delivery, filter))
      const from = Number(cursor)
      const page = all.slice(from, from + limit).map(shown)
      return done({
        deliveries: page,
        ...(all.length > from + limit && { next: String(from + limit) }),
      })
    }),
    delivery: noted('delivery', (id) => {
      const detail = find(id)
      return detail ? done(detail) : { kind: 'not_found' }
    }),
    replay: noted('replay', repeat),
    replayAll: noted('replayAll', (filter) => {
      const meant = log.filter(
        (delivery) =>
          (filter.status !== undefined || ['failed', 'dropped'].includes(delivery.status)) &&
          fits(delivery, filter),
      )
      for (const { id } of meant) repeat(id)
      return done({ replayed: meant.length, more: false })
    }),
  }
}

function viewOf({ id = 'wh_0123456789abcdef', url, headers = {}, retryPolicy, ...draft }: WebhookDraft) {
  const { secret: _secret, ...rest } = draft
  return webhookView({
    ...rest,
    id,
    url,
    source: 'replica',
    headerNames: Object.keys(headers),
    retryPolicy: { maxRetries: 3, backoffSeconds: 60, ...retryPolicy },
  })
}

function shown({ body: _body, attemptLog: _log, ...view }: DeliveryDetail): DeliveryView {
  return view
}

function fits(delivery: DeliveryView, filter: DeliveryFilter): boolean {
  const { status, webhookId, eventType, sinceMs = -Infinity, untilMs = Infinity } = filter
  return (
    [status ?? delivery.status, webhookId ?? delivery.webhookId, eventType ?? delivery.eventType].join() ===
      [delivery.status, delivery.webhookId, delivery.eventType].join() &&
    delivery.createdAtMs >= sinceMs &&
    delivery.createdAtMs < untilMs
  )
}
