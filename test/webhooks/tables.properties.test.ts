import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, jest, test } from '@jest/globals'
import Database from 'better-sqlite3'
import fc from 'fast-check'
import type { DeliveryStatus } from '../../src/core/webhook-admin.ts'
import { createExpand } from '../../src/webhooks/expansion.ts'
import { trimFinished } from '../../src/webhooks/housekeeping.ts'
import { queueEvents } from '../../src/webhooks/queueing.ts'
import { DeliveryTables } from '../../src/webhooks/tables.ts'
import { makeEvent } from '../support/spool.ts'
import { endpointOf } from '../support/webhooks-rig.ts'

jest.setTimeout(120_000)

const runs = Number(process.env['FUZZ_RUNS'] ?? 25)
const scratch = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

const hooks = ['a', 'b', 'c'] as const
const maxPending = 6
const hook = fc.constantFrom(...hooks)

/** What can happen to deliveries. Numbers choose among what is there. */
const happening = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('expand' as const),
      events: fc.integer({ min: 1, max: 5 }),
      to: fc.subarray([...hooks], { minLength: 1 }),
      fails: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('attempt' as const),
      hook,
      ordered: fc.boolean(),
      end: fc.constantFrom<DeliveryStatus>('delivered', 'failed', 'pending'),
      waitMs: fc.integer({ min: 1, max: 40 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('replay' as const), hook: fc.option(hook) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 50 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('drop' as const, 'forget' as const), hook }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('expire' as const), most: fc.integer({ min: 0, max: 12 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('reopen' as const, 'test' as const), hook }) },
)

type Happening = typeof happening extends fc.Arbitrary<infer T> ? T : never

/** A delivery, as plainly as can be. */
interface Delivery {
  id: string
  hook: string
  eventId: string
  status: DeliveryStatus
  attempts: number
  dueMs: number
  createdMs: number
  finishedMs?: number
  replayed: boolean
  test: boolean
}

/** What histories met, so that the test can see that they were no idle noise. */
const met = {
  delivered: 0,
  failed: 0,
  dropped: 0,
  replayed: 0,
  undone: 0,
  reopened: 0,
  expired: 0,
  forgotten: 0,
}

class History {
  readonly #path: string
  #database: Database.Database
  #tables: DeliveryTables
  #model: Delivery[] = []
  #nowMs = 1_000
  #ids = 0

  constructor(folder: string) {
    this.#path = join(folder, 'spool.db')
    this.#database = this.#open()
    this.#tables = new DeliveryTables(this.#database, this.#nowMs)
  }

  #open(): Database.Database {
    const database = new Database(this.#path)
    database.pragma('synchronous = OFF')
    return database
  }

  close(): void {
    this.#database.close()
  }

  live(one: Happening): void {
    switch (one.kind) {
      case 'expand':
        this.#expandOrFail(one)
        break
      case 'attempt':
        this.#attempt(one)
        break
      case 'replay':
        this.#replay(one.hook ?? undefined)
        break
      case 'wait':
        this.#nowMs += one.ms
        break
      case 'drop':
        this.#drop(one.hook, Number.POSITIVE_INFINITY)
        break
      case 'forget':
        this.#forget(one.hook)
        break
      case 'expire':
        this.#expire(one.most)
        break
      case 'reopen':
        this.#reopen()
        break
      case 'test':
        this.#test(one.hook)
        break
    }
  }

  /** Holds what the tables say against what should be so. */
  check(): void {
    const pending = this.#model.filter(({ status, test: isTest }) => status === 'pending' && !isTest)
    for (const name of hooks) {
      const mine = pending.filter((delivery) => delivery.hook === name)
      const oldestMs = mine[0]?.createdMs
      expect(this.#tables.queue(name)).toEqual({
        pending: mine.length,
        ...(oldestMs !== undefined && { oldestMs }),
      })
      expect(this.#tables.head(name)?.id).toBe(mine[0]?.id)
      const due = mine.filter(({ dueMs }) => dueMs <= this.#nowMs)
      due.sort((a, b) => a.dueMs - b.dueMs)
      expect(this.#tables.due(name, this.#nowMs, 100).map(({ id }) => id)).toEqual(due.map(({ id }) => id))
      const later = mine.filter(({ dueMs }) => dueMs > this.#nowMs).map(({ dueMs }) => dueMs)
      expect(this.#tables.nextDueMs(name, this.#nowMs)).toBe(
        later.length > 0 ? Math.min(...later) : undefined,
      )
    }
    expect(this.#tables.finished).toBe(this.#model.filter(({ status }) => status !== 'pending').length)
    const listed = this.#tables.list({}, undefined, 1_000).reverse()
    expect(listed.map(({ id, status, attempts, event_id }) => [id, status, attempts, event_id])).toEqual(
      this.#model.map(({ id, status, attempts, eventId }) => [id, status, attempts, eventId]),
    )
    for (const { number, attempts } of listed) expect(this.#tables.attempts(number).length).toBe(attempts)
    this.#checkSums()
  }

  /** What triggers keep is what a look at everything finds. */
  #checkSums(): void {
    const kept = this.#database
      .prepare<[], { events: number; used: number; orphans: number; texts: number }>(
        `SELECT (SELECT count(*) FROM webhook_events) AS events,
           (SELECT count(DISTINCT event) FROM webhook_deliveries) AS used,
           (SELECT count(*) FROM webhook_attempts WHERE delivery NOT IN (SELECT number FROM webhook_deliveries)) AS orphans,
           (SELECT sum(length(body)) FROM webhook_events) + (SELECT coalesce(sum(length(answer)), 0) FROM webhook_attempts) AS texts`,
      )
      .get()
    expect(kept?.events).toBe(kept?.used)
    expect(kept?.orphans).toBe(0)
    const rows = this.#model.reduce(
      (sum, { attempts }) => sum + 600 + 120 * attempts,
      200 * (kept?.events ?? 0),
    )
    expect(this.#tables.bytes).toBe(rows + (kept?.texts ?? 0))
  }

  #in(work: () => void): void {
    this.#database.transaction(work).immediate()
  }

  #expandOrFail({ events: count, to, fails }: Extract<Happening, { kind: 'expand' }>): void {
    const ids = this.#ids
    const events = Array.from({ length: count }, () => {
      this.#ids += 1
      return makeEvent('auth.failed', `event-${this.#ids}`)
    })
    const expand = createExpand(to.map((id) => endpointOf({ id, url: 'https://hooks.example.com/' })))
    let made: string[] = []
    try {
      this.#in(() => {
        const logged = events.map((event) => ({
          id: event.id,
          type: event.event_type,
          json: JSON.stringify(event),
        }))
        queueEvents(logged, expand, this.#tables, {
          maxBytes: 1e9,
          maxPending,
          underWay: () => [],
          now: () => this.#nowMs,
          newId: () => this.#newId((id) => made.push(id)),
        })
        if (fails) throw new Error('the disk is full')
      })
    } catch {
      // The transaction is undone, and the same events come again another time.
      met.undone += 1
      this.#ids = ids
      made = []
      return
    }
    for (const event of events) {
      for (const name of to) this.#add(made.shift() ?? '', name, event.id)
    }
    for (const name of to) this.#drop(name, this.#pendingOf(name).length - maxPending, true)
  }

  #newId(tell: (id: string) => void): string {
    this.#ids += 1
    tell(`delivery-${this.#ids}`)
    return `delivery-${this.#ids}`
  }

  #add(id: string, name: string, eventId: string, isTest = false): void {
    this.#model.push({
      id,
      hook: name,
      eventId,
      status: 'pending',
      attempts: 0,
      dueMs: this.#nowMs,
      createdMs: this.#nowMs,
      replayed: false,
      test: isTest,
    })
  }

  #pendingOf(name: string): Delivery[] {
    return this.#model.filter((one) => one.hook === name && one.status === 'pending' && !one.test)
  }

  #attempt({ hook: name, ordered, end, waitMs }: Extract<Happening, { kind: 'attempt' }>): void {
    const found = ordered ? this.#tables.head(name) : this.#tables.due(name, this.#nowMs, 1)[0]
    if (!found) return
    this.#settle(found.number, found.id, end, waitMs)
  }

  #settle(number: number, id: string, end: DeliveryStatus, waitMs: number): void {
    const atMs = this.#nowMs
    this.#in(() =>
      this.#tables.settle({
        delivery: number,
        status: end,
        reason: end === 'failed' ? 'status' : null,
        dueMs: atMs + waitMs,
        atMs,
        attempt: {
          at_ms: atMs,
          duration_ms: 1,
          result: 'retry',
          status: 500,
          reason: null,
          error: null,
          answer: 'no',
        },
      }),
    )
    const delivery = this.#model.find((one) => one.id === id)
    if (!delivery) throw new Error(`Cannot find ${id}`)
    Object.assign(delivery, { attempts: delivery.attempts + 1, status: end, dueMs: atMs + waitMs })
    if (end === 'pending') return
    delivery.finishedMs = atMs
    if (end === 'delivered') met.delivered += 1
    else met.failed += 1
  }

  #replay(name: string | undefined): void {
    const filter = name === undefined ? {} : { webhookId: name }
    this.#in(() => {
      for (const row of this.#tables.replayable(filter, hooks, 4)) {
        const { endpoint_id: endpointId, event, type } = row
        this.#tables.add({
          id: this.#newId((id) => this.#add(id, endpointId, row.event_id)),
          endpointId,
          event,
          type,
          atMs: this.#nowMs,
          replayOf: row.id,
        })
        const delivery = this.#model.find(({ id }) => id === row.id)
        expect(delivery).toMatchObject({ replayed: false, test: false })
        expect(['failed', 'dropped']).toContain(delivery?.status)
        Object.assign(delivery ?? {}, { replayed: true })
        met.replayed += 1
      }
    })
    // Those that are left were not among the first four.
    const left = this.#model.filter(
      ({ status, replayed, test: isTest, hook: of }) =>
        ['failed', 'dropped'].includes(status) && !replayed && !isTest && (name === undefined || of === name),
    )
    expect(this.#tables.replayable(filter, hooks, 1_000).map(({ id }) => id)).toEqual(
      left.map(({ id }) => id),
    )
  }

  #drop(name: string, count: number, isDone = false): void {
    const dropped = this.#pendingOf(name).slice(0, Math.max(0, count))
    if (!isDone) {
      this.#in(() => {
        const drop = { underWay: [], reason: 'disabled', atMs: this.#nowMs }
        expect(this.#tables.drop(name, drop)).toBe(dropped.length)
      })
    }
    for (const delivery of dropped) Object.assign(delivery, { status: 'dropped', finishedMs: this.#nowMs })
    met.dropped += dropped.length
  }

  #forget(name: string): void {
    this.#in(() => this.#tables.forget(name))
    const left = this.#model.filter((delivery) => delivery.hook !== name)
    met.forgotten += this.#model.length - left.length
    this.#model = left
  }

  #expire(most: number): void {
    this.#in(() => void trimFinished(this.#tables, most))
    const ended = this.#model.filter(({ status }) => status !== 'pending')
    const excess = Math.max(0, ended.length - most)
    const byAge = (a: Delivery, b: Delivery) => (a.finishedMs ?? 0) - (b.finishedMs ?? 0)
    const delivered = ended.filter(({ status }) => status === 'delivered').sort(byAge)
    const others = ended.filter(({ status }) => status !== 'delivered').sort(byAge)
    const kept = new Set(this.#tables.list({}, undefined, 1_000).map(({ id }) => id))
    const gone = ended.filter(({ id }) => !kept.has(id))
    // Delivered ones go before dead letters, and the oldest of either first; which of two that ended together is open.
    const expected = [...delivered, ...others].slice(0, excess).map(({ finishedMs }) => finishedMs)
    expect([...gone].sort(byAge).map(({ finishedMs }) => finishedMs)).toEqual(
      expected.sort((a, b) => (a ?? 0) - (b ?? 0)),
    )
    expect(gone.filter(({ status }) => status !== 'delivered').length).toBe(
      Math.max(0, excess - delivered.length),
    )
    met.expired += gone.length
    this.#model = this.#model.filter((delivery) => !gone.includes(delivery))
  }

  #reopen(): void {
    this.#database.close()
    this.#database = this.#open()
    this.#tables = new DeliveryTables(this.#database, this.#nowMs)
    met.reopened += 1
    for (const delivery of this.#model) {
      if (delivery.test && delivery.status === 'pending') {
        Object.assign(delivery, { status: 'failed', finishedMs: this.#nowMs })
      }
    }
  }

  #test(name: string): void {
    this.#in(() => {
      this.#ids += 1
      const event = this.#tables.addEvent(`event-${this.#ids}`, Buffer.from('{}'))
      const eventId = `event-${this.#ids}`
      const id = this.#newId((made) => this.#add(made, name, eventId, true))
      this.#tables.add({ id, endpointId: name, event, type: 'webhook.test', atMs: this.#nowMs, test: true })
    })
  }
}

test('whatever happens to deliveries, the tables say what a plain list says', () => {
  const property = fc.property(
    fc.array(happening, { minLength: 25, maxLength: 50, size: 'max' }),
    (happenings) => {
      const folder = mkdtempSync(join(scratch, 'gatepost-webhooks-'))
      const history = new History(folder)
      try {
        for (const one of happenings) {
          history.live(one)
          history.check()
        }
      } finally {
        history.close()
        rmSync(folder, { recursive: true, force: true })
      }
    },
  )

  fc.assert(property, { numRuns: runs })

  for (const [what, count] of Object.entries(met)) expect([what, count > 0]).toEqual([what, true])
})
