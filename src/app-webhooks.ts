import { MessageChannel, type MessagePort } from 'node:worker_threads'
import type { Settings } from './config/settings.ts'
import { CannotStart } from './core/cannot-start.ts'
import type { Clock } from './core/clock.ts'
import type { Publish } from './core/events.ts'
import type { WebhookAdmin, WebhookAnswer } from './core/webhook-admin.ts'
import type { Metrics, WebhookGauges } from './observability/metrics.ts'
import { hasStoredWebhooks } from './webhooks/endpoint-store.ts'
import { checkByRules } from './webhooks/guard.ts'
import { WebhookLink } from './webhooks/link.ts'
import type { WebhookNumbers, WebhookReport } from './webhooks/numbers.ts'
import { refusedEndpoints } from './webhooks-thread.ts'

/** Webhooks as the main thread sees them. */
export interface Webhooks {
  admin: WebhookAdmin
  /** Has the file of endpoints reread now. */
  reload(): void
  /** Makes the way to a thread that is about to be started. @returns the thread's end of it. */
  connect(): MessagePort
  /** How each endpoint stands. */
  gauges(): [id: string, gauges: WebhookGauges][]
  /** The same for people. */
  describe(): Record<string, unknown>
}

/** What webhooks need in the main thread. */
export interface WebhooksParts {
  clock: Clock
  metrics: Metrics
  publish: Publish
  /** Whether the thread that delivers is wanted from the start. */
  isWanted: boolean
  /** Starts that thread, unless it runs. */
  start: () => Promise<unknown>
}

/**
 * Whether this replica delivers webhooks from the start: a file says where to, or an endpoint was added to the replica.
 * Where neither is so, the first endpoint that is added starts it.
 */
export function hasWebhooks({ webhooks, dataDir }: Pick<Settings, 'webhooks' | 'dataDir'>): boolean {
  return webhooks.path !== undefined || hasStoredWebhooks(dataDir)
}

/**
 * Refuses endpoints that deliveries must not go to, as far as their URLs tell. Where others deliver, that is for them to
 * say. @throws CannotStart
 */
export function checkEndpoints({
  webhooks: { first, allowPrivate, rabbit },
  allowPlaintext,
}: Pick<Settings, 'webhooks' | 'allowPlaintext'>): void {
  if (rabbit) return
  const problems = refusedEndpoints(first, checkByRules({ allowPrivate, allowPlaintext }))
  if (problems.length === 0) return
  throw new CannotStart(problems.map((problem) => `GATEPOST_WEBHOOKS_FILE: ${problem}`).join('\n'), undefined)
}

/** What the thread is told about webhooks. */
export function webhooksJob({ webhooks, subKeys }: Pick<Settings, 'webhooks' | 'subKeys'>) {
  const { path, rabbit, allowPrivate, context } = webhooks
  const key = subKeys?.('webhooks.secrets').export()
  const common = { context: context(), allowPrivate, ...(key && { key }) }
  // Where deliveries wait in RabbitMQ, those of the file do so: what is left is this replica's own.
  if (rabbit) return { ...common, reader: 'webhooks_replica' }
  return { ...common, reader: 'webhooks', ...(path !== undefined && { path }) }
}

/** Makes the main thread's part of webhooks. */
export function openWebhooks({ clock, metrics, publish, isWanted, start }: WebhooksParts): Webhooks {
  let numbers: readonly WebhookNumbers[] = []
  let runs = isWanted
  const link = new WebhookLink({
    clock,
    onDisabled: (data, atMs) => publish({ type: 'endpoint.disabled', atMs, requestId: '', data }),
    onReport(report) {
      numbers = report.endpoints
      count(metrics, report)
    },
  })

  const ageOf = (oldestAtMs: number | undefined) =>
    oldestAtMs === undefined ? 0 : Math.max(0, clock.now() - oldestAtMs)

  async function whenStarted<T>(call: () => Promise<WebhookAnswer<T>>): Promise<WebhookAnswer<T>> {
    try {
      await start()
      runs = true
    } catch (error) {
      return { kind: 'unavailable', why: `${(error as Error).message}.` }
    }
    return call()
  }

  return {
    admin: lazily(link.admin, () => runs, whenStarted),
    reload: () => link.reload(),

    connect() {
      const { port1, port2 } = new MessageChannel()
      link.connect(port1)
      return port2
    },

    gauges: () =>
      numbers.map(({ id, condition, pending, oldestAtMs, circuit }) => [
        id,
        { pending, ageMs: ageOf(oldestAtMs), isDisabled: condition === 'disabled', circuit },
      ]),

    describe() {
      const described = numbers.map(({ id, condition, pending, oldestAtMs, failuresInRow, circuit }) => [
        id,
        {
          condition,
          pending,
          oldest_age_seconds: ageOf(oldestAtMs) / 1_000,
          failures_in_row: failuresInRow,
          circuit,
        },
      ])
      return Object.fromEntries(described)
    },
  }
}

/** Answers what can be answered where nothing is delivered yet; the first endpoint starts what delivers. */
function lazily(
  admin: WebhookAdmin,
  runs: () => boolean,
  whenStarted: <T>(call: () => Promise<WebhookAnswer<T>>) => Promise<WebhookAnswer<T>>,
): WebhookAdmin {
  const orElse =
    <A extends unknown[], T>(call: (...args: A) => Promise<WebhookAnswer<T>>, answer: WebhookAnswer<T>) =>
    async (...args: A) =>
      runs() ? call(...args) : answer
  const none = { kind: 'not_found' } as const
  return {
    list: orElse(admin.list, { kind: 'done', value: [] }),
    get: orElse(admin.get, none),
    create: (draft) => whenStarted(() => admin.create(draft)),
    update: orElse(admin.update, none),
    remove: orElse(admin.remove, none),
    rotate: orElse(admin.rotate, none),
    pause: orElse(admin.pause, none),
    resume: orElse(admin.resume, none),
    enable: orElse(admin.enable, none),
    test: orElse(admin.test, none),
    deliveries: orElse(admin.deliveries, { kind: 'done', value: { deliveries: [] } }),
    delivery: orElse(admin.delivery, none),
    replay: orElse(admin.replay, none),
    replayAll: orElse(admin.replayAll, { kind: 'done', value: { replayed: 0, more: false } }),
  }
}

function count(metrics: Metrics, { attempts, dropped }: WebhookReport): void {
  for (const [webhook_id, result, some] of attempts) metrics.webhookAttempts.inc({ webhook_id, result }, some)
  for (const [webhook_id, some] of dropped) metrics.webhooksDropped.inc({ webhook_id }, some)
}
