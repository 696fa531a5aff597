import { randomBytes, randomUUID } from 'node:crypto'
import type { Agent } from 'undici'
import { createDraftReader } from '../../src/config/webhooks.ts'
import type { EventType, GatewayEvent } from '../../src/core/events.ts'
import type { DeliveryDetail, WebhookAdmin, WebhookAnswer } from '../../src/core/webhook-admin.ts'
import type { WebhookEndpoint } from '../../src/core/webhooks.ts'
import { type Keeper, startKeeper } from '../../src/events/spool/keeper.ts'
import { createSender } from '../../src/webhooks/attempt.ts'
import { checkByRules, createGuardedAgent, createSystemResolver } from '../../src/webhooks/guard.ts'
import type { WebhookReport } from '../../src/webhooks/numbers.ts'
import { type EndpointDisabled, Webhooks, type WebhooksParts } from '../../src/webhooks/service.ts'
import { FakeClock } from './fake-clock.ts'
import { createLogLines, type LogLines } from './log-lines.ts'
import { batchOf, makeEvent } from './spool.ts'
import { type TempFolder, tempFolder } from './temp.ts'
import { until } from './until.ts'

/** A secret that endpoints of tests have. */
export const testSecret = 'whsec_MDEyMzQ1Njc4OWFiY2RlZg=='

/** An endpoint as a file would declare it. */
export function endpointOf(more: Partial<WebhookEndpoint> & Pick<WebhookEndpoint, 'url'>): WebhookEndpoint {
  return {
    id: 'hook',
    secrets: [{ value: () => testSecret }],
    events: ['*'],
    active: true,
    retryPolicy: { maxRetries: 3, backoffMs: 60_000 },
    headers: {},
    filters: {},
    ordered: false,
    concurrency: 8,
    timeoutMs: 10_000,
    ...more,
  }
}

/** What a rig may be made of in another way than usual. */
export type RigOptions = Partial<
  Pick<WebhooksParts, 'key' | 'random' | 'maxPending' | 'maxBytes' | 'send'>
> & { ca?: string }

/** Webhooks as they are in Gatepost, from the log of events on disk to real receivers; only the clock is a test's. */
export class WebhooksRig implements AsyncDisposable {
  readonly clock = new FakeClock()
  readonly lines: LogLines = createLogLines()
  readonly disabled: EndpointDisabled[] = []
  readonly reports: WebhookReport[] = []
  readonly folder: string
  readonly #temp: TempFolder
  readonly #options: RigOptions
  #dispatcher: Agent | undefined
  #webhooks: Webhooks | undefined
  #keeper: Keeper | undefined
  #batch = 0
  #committed = 0

  constructor(temp: TempFolder, options: RigOptions) {
    this.folder = temp.path
    this.#temp = temp
    this.#options = options
  }

  get webhooks(): Webhooks {
    if (!this.#webhooks) throw new Error('Cannot use webhooks: the rig is not started')
    return this.#webhooks
  }

  get admin(): WebhookAdmin {
    return this.webhooks.admin
  }

  /** Starts, or starts again in the same folder. */
  start(endpoints: readonly WebhookEndpoint[] = [], options: RigOptions = {}): void {
    const { ca, ...rest } = { ...this.#options, ...options }
    const { clock } = this
    const check = checkByRules({ allowPrivate: true, allowPlaintext: true })
    this.#dispatcher = createGuardedAgent({ check, resolve: createSystemResolver(), ...(ca && { ca }) })
    const webhooks = new Webhooks({
      folder: this.folder,
      maxBytes: 64 * 1024 * 1024,
      key: undefined,
      readDraft: createDraftReader({ allowPlaintext: true }),
      check,
      send: createSender({ dispatcher: this.#dispatcher, check, clock, monotonicMs: clock.now }),
      clock,
      random: () => 0.5,
      randomBytes,
      newId: randomUUID,
      defer: setImmediate,
      logger: this.lines.logger,
      onDisabled: (what) => this.disabled.push(what),
      onReport: (report) => this.reports.push(report),
      ...rest,
    })
    webhooks.adoptFile(endpoints)
    this.#webhooks = webhooks
    this.#keeper = startKeeper({
      folder: this.folder,
      maxBytes: 256 * 1024 * 1024,
      sync: 'normal',
      readers: [
        {
          kind: 'step',
          name: 'webhooks',
          prepare: (database) => webhooks.prepare(database),
          wants: (types) => webhooks.wants(Object.keys(types)),
          maxEvents: () => webhooks.maxEvents,
          step: (events) => webhooks.step(events),
          onStepped: () => webhooks.onStepped(),
          start: (work) => webhooks.start(work),
          stop: (withinMs) => webhooks.stop(withinMs),
        },
      ],
      clock,
      random: () => 1,
      logger: this.lines.logger,
      onCommitted: (number) => {
        this.#committed = number
      },
      onNumbers: () => undefined,
    })
  }

  /** Tells events, and waits until they are on disk. @returns their ids. */
  async tell(...events: readonly GatewayEvent[]): Promise<string[]> {
    this.#batch += 1
    this.#keeper?.commit(this.#batch, batchOf(...events))
    await until(() => this.#committed === this.#batch)
    await this.clock.advance(0)
    return events.map(({ id }) => id)
  }

  /** Tells so many events of a type. @returns their ids. */
  tellMany(count: number, type: EventType = 'auth.failed'): Promise<string[]> {
    return this.tell(...Array.from({ length: count }, () => makeEvent(type)))
  }

  /** The only delivery of an endpoint, or the newest, with its attempts. */
  async newest(webhookId = 'hook'): Promise<DeliveryDetail> {
    const { deliveries } = value(await this.admin.deliveries({ webhookId, limit: 1 }))
    return value(await this.admin.delivery(deliveries[0]?.id ?? ''))
  }

  /** Waits until a look at deliveries shows what is wanted; time stands still meanwhile. */
  async untilSo(look: () => Promise<boolean>): Promise<void> {
    let isSo = false
    let isLooking = false
    await until(() => {
      if (!isLooking) {
        isLooking = true
        void look().then((found) => {
          isSo = found
          isLooking = false
        })
      }
      return isSo
    })
  }

  /** Waits until the newest delivery of an endpoint has been attempted so often. */
  async attempted(times: number, webhookId = 'hook'): Promise<DeliveryDetail> {
    await this.untilSo(async () => (await this.newest(webhookId)).attempts >= times)
    return this.newest(webhookId)
  }

  /** Ends as by SIGTERM. */
  async stop(withinMs = 5_000): Promise<void> {
    const stopping = this.#keeper?.stop(withinMs)
    await this.clock.advance(0)
    await stopping
    this.#keeper = undefined
    await this.#dispatcher?.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#keeper) {
      const stopping = this.#keeper.stop(0)
      await this.clock.advance(1)
      await stopping
    }
    await this.#dispatcher?.destroy()
    await this.#temp.remove()
  }
}

/** Makes a rig in a folder of its own. */
export async function createWebhooksRig(options: RigOptions = {}): Promise<WebhooksRig> {
  return new WebhooksRig(await tempFolder('webhooks'), options)
}

/** What was asked for. @throws where it was refused. */
export function value<T>(answer: WebhookAnswer<T>): T {
  if (answer.kind !== 'done') throw new Error(`Cannot go on: refused: ${JSON.stringify(answer)}`)
  return answer.value
}
