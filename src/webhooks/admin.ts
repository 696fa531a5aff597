import {
  webhookAdminBounds as bounds,
  type DeliveryDetail,
  type DeliveryFilter,
  type DeliveryPage,
  type DeliveryQuery,
  type DeliveryView,
  deliveryStatuses,
  type Replayed,
  type WebhookAdmin,
  type WebhookAnswer,
  type WebhookRefusal,
  type WebhookView,
} from '../core/webhook-admin.ts'
import { closedCircuit } from './circuit.ts'
import type { Deliverer, Transact } from './deliverer.ts'
import { goodHealth } from './health.ts'
import { maxPending as standardMaxPending } from './queueing.ts'
import type { Registry } from './registry.ts'
import type { DeliveryRow, DeliveryTables } from './tables.ts'
import { showAttempt, showDelivery, showWebhook } from './views.ts'

/** What managing is made of. */
export interface AdminParts {
  registry: Registry
  deliverer: Pick<Deliverer, 'state' | 'test' | 'wake' | 'absolve'>
  transact: Transact
  now: () => number
  /** A unique id. */
  newId: () => string
  /** Deliveries that wait for one endpoint at most. Default: 10,000. */
  maxPending?: number | undefined
}

const notFound: WebhookRefusal = { kind: 'not_found' }

/** Makes what the admin API talks to, over what delivers. */
export function createWebhookAdmin(parts: AdminParts): WebhookAdmin {
  const { registry, deliverer, transact, now, newId, maxPending = standardMaxPending } = parts

  /** Looks into the tables, or works with them. */
  function inTables<T>(work: (tables: DeliveryTables) => WebhookAnswer<T>): WebhookAnswer<T> {
    const worked = transact(work)
    return worked.ok ? worked.value : unavailable('The disk does not allow it at the moment.')
  }

  function show(id: string): WebhookAnswer<WebhookView> {
    const target = registry.targets.get(id)
    if (!target) return notFound
    const lane = deliverer.state(id) ?? { circuit: closedCircuit, health: goodHealth }
    return inTables((tables) => done(showWebhook(target, tables.queue(id), lane, now())))
  }

  function withSecret(id: string, secret: string) {
    const shown = show(id)
    return shown.kind === 'done' ? done({ webhook: shown.value, secret }) : shown
  }

  function replayIn(tables: DeliveryTables, row: DeliveryRow): string {
    const id = newId()
    const { endpoint_id: endpointId, event, type } = row
    tables.add({ id, endpointId, event, type, atMs: now(), replayOf: row.id })
    return id
  }

  /** Why nothing can be delivered to an endpoint at all. */
  function obstacle(id: string): WebhookRefusal | undefined {
    const target = registry.targets.get(id)
    if (!target) return conflict(`There is no webhook ${JSON.stringify(id)} any more.`)
    const { condition } = target
    if (condition === 'inactive' || condition === 'disabled') {
      return conflict(`The webhook ${JSON.stringify(id)} is ${condition}: nothing is delivered to it.`)
    }
    return undefined
  }

  return guarded({
    async list() {
      return inTables((tables) => {
        const lane = { circuit: closedCircuit, health: goodHealth }
        const views = [...registry.targets].map(([id, target]) =>
          showWebhook(target, tables.queue(id), deliverer.state(id) ?? lane, now()),
        )
        return done(views)
      })
    },

    async get(id) {
      return show(id)
    },

    async create(draft) {
      const made = registry.create(draft)
      return made.kind === 'done' ? withSecret(made.value.id, made.value.secret) : made
    },

    async update(id, change) {
      return registry.update(id, change) ?? show(id)
    },

    async remove(id) {
      const refused = registry.remove(id)
      if (refused) return refused
      return inTables((tables) => {
        tables.forget(id)
        return done(undefined)
      })
    },

    async rotate(id, rotation) {
      const rotated = registry.rotate(id, rotation)
      return rotated.kind === 'done' ? withSecret(id, rotated.value) : rotated
    },

    async pause(id) {
      return registry.setPaused(id, true) ? show(id) : notFound
    },

    async resume(id) {
      return registry.setPaused(id, false) ? show(id) : notFound
    },

    async enable(id) {
      if (!registry.enable(id)) return notFound
      deliverer.absolve(id)
      return show(id)
    },

    async test(id) {
      const target = registry.targets.get(id)
      if (!target) return notFound
      if (target.condition === 'unusable') return conflict(target.why ?? 'It cannot be used.')
      const delivery = await deliverer.test(id)
      if (delivery === undefined) return unavailable('The test could not be written down, or Gatepost ends.')
      return inTables((tables) => detailOf(tables, delivery))
    },

    async deliveries(query) {
      const problems = problemsOf(query)
      if (problems.length > 0) return { kind: 'invalid', problems }
      return inTables((tables) => done(pageOf(tables, query)))
    },

    async delivery(id) {
      return inTables((tables) => detailOf(tables, id))
    },

    async replay(id) {
      const replayed = inTables<DeliveryView>((tables) => {
        const row = tables.get(id)
        if (!row) return notFound
        const refused = whyNotAgain(row) ?? obstacle(row.endpoint_id)
        if (refused) return refused
        const again = tables.get(replayIn(tables, row))
        return again ? done(showDelivery(again)) : notFound
      })
      if (replayed.kind === 'done') deliverer.wake(replayed.value.webhookId)
      return replayed
    },

    async replayAll(filter) {
      const problems = problemsOf(filter)
      if (filter.status === 'pending') problems.push('status: pending deliveries cannot be replayed')
      if (problems.length > 0) return { kind: 'invalid', problems }
      const refused = filter.webhookId === undefined ? undefined : obstacle(filter.webhookId)
      if (refused) return refused
      const woken = new Set<string>()
      const answer = inTables<Replayed>((tables) => {
        const open = [...registry.targets.keys()].filter((id) => !obstacle(id))
        const rows = tables.replayable(filter, open, bounds.replay + 1)
        const fits = createRoom((id) => maxPending - tables.queue(id).pending)
        const some = rows.slice(0, bounds.replay).filter(({ endpoint_id }) => fits(endpoint_id))
        for (const row of some) {
          replayIn(tables, row)
          woken.add(row.endpoint_id)
        }
        return done({ replayed: some.length, more: rows.length > some.length })
      })
      for (const id of woken) deliverer.wake(id)
      return answer
    },
  })
}

/** Whatever the disk of endpoints throws is an answer, too. */
function guarded(admin: WebhookAdmin): WebhookAdmin {
  const calls = Object.entries(admin).map(([name, call]) => [
    name,
    async (...args: unknown[]) => {
      try {
        return await (call as (...args: unknown[]) => Promise<WebhookAnswer<unknown>>)(...args)
      } catch (error) {
        return unavailable(`It cannot be written: ${(error as Error).message}.`)
      }
    },
  ])
  return Object.fromEntries(calls) as WebhookAdmin
}

/** Says of each further one whether there is still room. @param room how much there is at first. */
function createRoom(room: (id: string) => number): (id: string) => boolean {
  const left = new Map<string, number>()
  return (id) => {
    const now = left.get(id) ?? room(id)
    left.set(id, now - 1)
    return now > 0
  }
}

function whyNotAgain({ test, status }: DeliveryRow): WebhookRefusal | undefined {
  if (test === 1) return conflict('It was a test: test the endpoint again instead.')
  return status === 'pending' ? conflict('It has not ended yet.') : undefined
}

function detailOf(tables: DeliveryTables, id: string): WebhookAnswer<DeliveryDetail> {
  const row = tables.get(id)
  if (!row) return notFound
  const attemptLog = tables.attempts(row.number).map(showAttempt)
  return done({ ...showDelivery(row), body: tables.body(row.event), attemptLog })
}

function pageOf(tables: DeliveryTables, { limit = bounds.defaultPage, cursor, ...filter }: DeliveryQuery) {
  const before = cursor === undefined ? undefined : placeOf(cursor)
  const rows = tables.list(filter, before, limit + 1)
  const last = rows[limit - 1]
  const page: DeliveryPage = {
    deliveries: rows.slice(0, limit).map(showDelivery),
    ...(rows.length > limit && last && { next: String(last.number) }),
  }
  return page
}

function placeOf(cursor: string): number {
  return /^\d{1,15}$/.test(cursor) ? Number(cursor) : Number.NaN
}

function problemsOf({ limit, cursor, status, sinceMs, untilMs }: DeliveryQuery & DeliveryFilter): string[] {
  const isPage = limit === undefined || (Number.isInteger(limit) && limit >= 1 && limit <= bounds.page)
  const problems = [
    !isPage && `limit: it must be a whole number from 1 to ${bounds.page}`,
    cursor !== undefined && Number.isNaN(placeOf(cursor)) && 'cursor: it must be the next of another page',
    status !== undefined &&
      !deliveryStatuses.includes(status) &&
      `status: it must be one of ${deliveryStatuses.join(', ')}`,
    sinceMs !== undefined && untilMs !== undefined && sinceMs > untilMs && 'since: it must be before until',
  ]
  return problems.filter((problem) => problem !== false)
}

function done<T>(value: T): WebhookAnswer<T> {
  return { kind: 'done', value }
}

function conflict(why: string): WebhookRefusal {
  return { kind: 'conflict', why }
}

function unavailable(why: string): WebhookRefusal {
  return { kind: 'unavailable', why }
}
