import type { Expand, LoggedEvent } from './expansion.ts'
import type { DeliveryTables } from './tables.ts'

/** Deliveries that wait for one endpoint at most; the oldest go. */
export const maxPending = 10_000

/** How many are deleted at once where there is no room. */
const slice = 50

/** What queueing needs. */
export interface QueueingParts {
  /** The most bytes that deliveries take on disk, about. */
  maxBytes: number
  /** Default: {@link maxPending}. */
  maxPending?: number
  /** Deliveries that are being attempted: they stay. */
  underWay: () => readonly number[]
  now: () => number
  /** A unique id. */
  newId: () => string
}

/** What queueing has done. */
export interface Queued {
  /** Endpoints that have got something to do. */
  endpoints: ReadonlySet<string>
  /** How many deliveries were dropped, by endpoint. */
  dropped: ReadonlyMap<string, number>
}

/** Queues events for whoever wants them, in the transaction that moves the reader of events past them. */
export function queueEvents(
  events: readonly LoggedEvent[],
  { expand }: Pick<Expand, 'expand'>,
  tables: DeliveryTables,
  { maxBytes, maxPending: most = maxPending, underWay, now, newId }: QueueingParts,
): Queued {
  const wanted = events.map(expand).filter((expanded) => expanded !== undefined)
  const dropped = new Map<string, number>()
  if (wanted.length === 0) return { endpoints: new Set(), dropped }
  const drop = (id: string, count: number) => dropped.set(id, (dropped.get(id) ?? 0) + count)
  const busy = underWay()
  const atMs = now()

  for (const id of makeRoom(tables, maxBytes, busy)) drop(id, 1)
  for (const { event, endpoints, body } of wanted) {
    const number = tables.addEvent(event.id, body)
    for (const { id } of endpoints)
      tables.add({ id: newId(), endpointId: id, event: number, type: event.type, atMs })
  }
  const endpoints = new Set(wanted.flatMap((expanded) => expanded.endpoints.map(({ id }) => id)))
  for (const id of endpoints) {
    const excess = tables.queue(id).pending - most
    if (excess > 0) drop(id, tables.drop(id, { limit: excess, underWay: busy, reason: 'backlog', atMs }))
  }
  return { endpoints, dropped }
}

/** Deletes what has ended, and then what waits, each from the oldest on. @returns the endpoints of what waited. */
function makeRoom(tables: DeliveryTables, maxBytes: number, underWay: readonly number[]): string[] {
  const lost: string[] = []
  while (tables.bytes > maxBytes) {
    if (tables.expire('delivered', Number.MAX_SAFE_INTEGER, slice) > 0) continue
    if (tables.expire('others', Number.MAX_SAFE_INTEGER, slice) > 0) continue
    const deleted = tables.deleteOldest(slice, underWay)
    if (deleted.length === 0) break
    lost.push(...deleted)
  }
  return lost
}
