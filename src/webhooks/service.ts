import type Database from 'better-sqlite3'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/log.ts'
import type { WebhookAdmin } from '../core/webhook-admin.ts'
import type { WebhookEndpoint } from '../core/webhooks.ts'
import { createWebhookAdmin } from './admin.ts'
import type { Send } from './attempt.ts'
import { Deliverer, type Transact } from './deliverer.ts'
import { type Disabling, type DisablingReason, EndpointStore } from './endpoint-store.ts'
import { createExpand, type Expand, type LoggedEvent } from './expansion.ts'
import type { CheckAddress } from './guard.ts'
import { tidy } from './housekeeping.ts'
import { Tally, type WebhookReport } from './numbers.ts'
import { type Queued, queueEvents } from './queueing.ts'
import { type ReadDraft, Registry, type Target } from './registry.ts'
import type { Random } from './secrets.ts'
import { DeliveryTables } from './tables.ts'
import { bareUrl } from './views.ts'

/** What is told when an endpoint gets nothing any more. */
export interface EndpointDisabled {
  webhook_id: string
  /** Without its query. */
  url: string
  reason: DisablingReason
  /** Attempts that failed since the last that did not. */
  failures: number
}

/** What webhooks are made of. */
export interface WebhooksParts {
  /** The data folder. */
  folder: string
  /** The most bytes that deliveries take in the file that they share with the log of events. */
  maxBytes: number
  /** Deliveries that wait for one endpoint at most. Default: 10,000. */
  maxPending?: number
  /** Seals secrets; absent where no GATEPOST_SECRET_KEY is set. */
  key: Buffer | undefined
  readDraft: ReadDraft
  check: CheckAddress
  send: Send
  clock: Clock
  /** From 0 to below 1. */
  random: () => number
  randomBytes: Random
  /** A unique id. */
  newId: () => string
  /** Runs a task soon, after what is being done now. */
  defer: (task: () => void) => void
  logger: Logger
  onDisabled: (what: EndpointDisabled, atMs: number) => void
  /** Told how things stand, at most once a second, where anything has changed. */
  onReport: (report: WebhookReport) => void
}

/** Runs work in a transaction of the file of events; `ok` is false where the disk does not allow it at the moment. */
export type Work = <T>(work: () => T) => { ok: true; value: T } | { ok: false }

/** Deliveries that one step makes of events, about: the thread has others to serve as well. */
const deliveriesPerStep = 2_000

/** Between two reports, in milliseconds. */
const reportEveryMs = 1_000

/** Between two rounds of tidying up; while there is more to do, between two of them as well. */
const tidyPauses = { everyMs: 60_000, moreMs: 250 }

/** How long what waits for an endpoint is kept that has gone from the file: a bad edit must not cost a queue. */
const orphanGraceMs = 3_600_000

/** Between two lines about deliveries that were given up. */
const dropLineEveryMs = 60_000

/** Webhooks from events to receivers, as a reader of the log of events that works in its transactions. */
export class Webhooks {
  readonly admin: WebhookAdmin
  readonly #parts: WebhooksParts
  readonly #store: EndpointStore
  readonly #registry: Registry
  readonly #deliverer: Deliverer
  readonly #attempts = new Tally()
  readonly #dropped = new Tally()
  readonly #orphans = new Map<string, () => void>()
  #work: Work | undefined
  #tables: DeliveryTables | undefined
  #expand: Expand = createExpand([])
  #stepped: Queued | undefined
  #cancelReport: (() => void) | undefined
  #cancelTidy: (() => void) | undefined
  #unsaidDrops: Map<string, number> | undefined
  #isStopped = false

  /** @throws where the endpoints of this replica cannot be read. */
  constructor(parts: WebhooksParts) {
    this.#parts = parts
    this.#store = new EndpointStore(parts.folder)
    this.#registry = new Registry({
      ...parts,
      store: this.#store,
      read: parts.readDraft,
      random: parts.randomBytes,
      now: parts.clock.now,
      onChange: () => this.#adopt(),
    })
    const transact: Transact = (work) => this.#transact(work)
    this.#deliverer = new Deliverer({
      ...parts,
      transact,
      disable: (id, why) => this.#disable(id, why),
      onAttempt: (id, result) => this.#attempts.add(1, id, result),
      onDropped: (id, count) => this.#countDropped(id, count),
      onChange: () => this.#changed(),
    })
    this.admin = createWebhookAdmin({
      registry: this.#registry,
      deliverer: this.#deliverer,
      transact,
      now: parts.clock.now,
      newId: parts.newId,
      maxPending: parts.maxPending,
    })
  }

  /** Makes sure of the tables, each time that the file was opened. */
  prepare(database: Database.Database): void {
    if (this.#tables) this.#deliverer.reset()
    this.#tables = new DeliveryTables(database, this.#parts.clock.now())
  }

  /** Whether anybody may want an event of these types: where nobody does, events need not be read. */
  wants(types: readonly string[]): boolean {
    return types.some((type) => this.#expand.wants(type))
  }

  /** Events that one step may take beyond its first batch: the more endpoints there are, the fewer. At least 1. */
  get maxEvents(): number {
    return Math.max(1, Math.floor(deliveriesPerStep / Math.max(1, this.#registry.targets.size)))
  }

  /** Queues the next events for whoever wants them. */
  step(events: readonly LoggedEvent[]): void {
    const { maxBytes, maxPending, clock, newId } = this.#parts
    this.#stepped = queueEvents(events, this.#expand, this.#theTables, {
      maxBytes,
      ...(maxPending !== undefined && { maxPending }),
      underWay: () => this.#deliverer.underWay,
      now: clock.now,
      newId,
    })
  }

  /** What the step has queued is on disk. */
  onStepped(): void {
    const { endpoints = [], dropped = [] } = this.#stepped ?? {}
    this.#stepped = undefined
    for (const [id, count] of dropped) this.#countDropped(id, count)
    for (const id of endpoints) this.#deliverer.wake(id)
    this.#changed()
  }

  /** Takes the endpoints of the file. */
  adoptFile(endpoints: readonly WebhookEndpoint[]): void {
    this.#registry.adoptFile(endpoints)
  }

  /** Begins to deliver. */
  start(work: Work): void {
    this.#work = work
    this.#adopt()
    this.#tidy()
    this.#changed()
  }

  /** Begins no attempt any more, lets those under way end within the limit, and closes what is its own. */
  async stop(withinMs: number): Promise<void> {
    this.#cancelTidy?.()
    await this.#deliverer.stop(withinMs)
    this.#isStopped = true
    for (const cancel of this.#orphans.values()) cancel()
    this.#cancelReport?.()
    this.#report()
    this.#store.close()
  }

  get #theTables(): DeliveryTables {
    if (!this.#tables) throw new Error('Cannot work with deliveries: the file is not open')
    return this.#tables
  }

  #transact: Transact = (work) => {
    if (this.#isStopped) return { ok: false }
    return this.#work?.(() => work(this.#theTables)) ?? { ok: false }
  }

  #adopt(): void {
    const { targets } = this.#registry
    this.#expand = createExpand([...targets.values()].filter(isQueued).map(({ endpoint }) => endpoint))
    // Until there is a disk to look at, nothing can be delivered.
    if (!this.#work) return
    this.#deliverer.adopt(targets)
    this.#watchOrphans(targets)
    this.#changed()
  }

  /** What waits for endpoints that are gone is given up, after a while. */
  #watchOrphans(targets: ReadonlyMap<string, Target>): void {
    for (const [id, cancel] of this.#orphans) {
      if (!targets.has(id)) continue
      cancel()
      this.#orphans.delete(id)
    }
    const queues = this.#transact((tables) => [...tables.queues().keys()])
    if (!queues.ok) return
    for (const id of queues.value) {
      if (targets.has(id) || this.#orphans.has(id)) continue
      this.#orphans.set(
        id,
        this.#parts.clock.after(orphanGraceMs, () => this.#dropOrphan(id)),
      )
    }
  }

  #dropOrphan(id: string): void {
    this.#orphans.delete(id)
    const drop = { underWay: this.#deliverer.underWay, reason: 'removed', atMs: this.#parts.clock.now() }
    const dropped = this.#transact((tables) => tables.drop(id, drop))
    if (dropped.ok) this.#countDropped(id, dropped.value)
  }

  #disable(id: string, why: Omit<Disabling, 'urlHash'>): void {
    const url = this.#registry.targets.get(id)?.endpoint.url ?? ''
    this.#registry.disable(id, why)
    const { reason, failures, atMs } = why
    this.#parts.logger.error({ webhook_id: id, reason, failures }, 'webhook disabled')
    this.#parts.onDisabled({ webhook_id: id, url: bareUrl(url), reason, failures }, atMs)
  }

  #countDropped(id: string, count: number): void {
    if (count === 0) return
    this.#dropped.add(count, id)
    this.#changed()
    if (this.#unsaidDrops) {
      this.#unsaidDrops.set(id, (this.#unsaidDrops.get(id) ?? 0) + count)
      return
    }
    this.#unsaidDrops = new Map()
    this.#sayDropped(new Map([[id, count]]))
  }

  /** Tells of drops, and from then on once a minute how many there were. */
  #sayDropped(counts: ReadonlyMap<string, number>): void {
    const { logger, clock } = this.#parts
    logger.error({ dropped: Object.fromEntries(counts) }, 'webhook deliveries dropped; they can be replayed')
    clock.after(dropLineEveryMs, () => {
      const unsaid = this.#unsaidDrops ?? new Map()
      this.#unsaidDrops = unsaid.size > 0 ? new Map() : undefined
      if (unsaid.size > 0) this.#sayDropped(unsaid)
    })
  }

  #tidy(): void {
    const { clock } = this.#parts
    const tidied = this.#transact((tables) => tidy(tables, this.#deliverer.underWay, clock.now()))
    const { dropped = [], more = false } = tidied.ok ? tidied.value : {}
    for (const [id, count] of dropped) this.#countDropped(id, count)
    this.#cancelTidy = clock.after(more ? tidyPauses.moreMs : tidyPauses.everyMs, () => this.#tidy())
  }

  #changed(): void {
    if (this.#isStopped) return
    this.#cancelReport ??= this.#parts.clock.after(reportEveryMs, () => {
      this.#cancelReport = undefined
      this.#report()
    })
  }

  #report(): void {
    const endpoints = [...this.#registry.targets].map(([id, { condition }]) => {
      const { pending, oldestMs } = this.#queueOf(id)
      const { circuit, health } = this.#deliverer.state(id) ?? {}
      return {
        id,
        condition,
        pending,
        ...(oldestMs !== undefined && { oldestAtMs: oldestMs }),
        failuresInRow: health?.failures ?? 0,
        circuit: circuit?.kind ?? 'closed',
      }
    })
    this.#parts.onReport({
      endpoints,
      attempts: this.#attempts.take().map(([[id = '', result = ''], count]) => [id, result, count]),
      dropped: this.#dropped.take().map(([[id = ''], count]) => [id, count]),
    })
  }

  #queueOf(id: string): ReturnType<DeliveryTables['queue']> {
    try {
      return this.#tables?.queue(id) ?? { pending: 0 }
    } catch {
      // The next work with the disk says what is wrong with it.
      return { pending: 0 }
    }
  }
}

/** Whether events are queued for an endpoint, be they delivered now or later. */
function isQueued({ condition }: Target): boolean {
  return condition !== 'inactive' && condition !== 'disabled'
}
