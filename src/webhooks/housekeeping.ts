import type { DeliveryTables } from './tables.ts'

/** How long what has ended is kept, and how long something waits. */
const retention = {
  /** Delivered ones with their attempts, in milliseconds. */
  deliveredMs: 24 * 3_600_000,
  /** Dead letters with theirs, in milliseconds. */
  othersMs: 14 * 24 * 3_600_000,
  /** Of both together at most. */
  finished: 100_000,
  /** What has waited for longer is given up, in milliseconds: its endpoint was paused, inactive or unusable. */
  pendingMs: 7 * 24 * 3_600_000,
} as const

/** Rows that one round deletes at most, so that deliveries need not wait long for it. */
const slice = 500

/**
 * Deletes some of what is kept for too long or is too much, the oldest first; what has waited for too long is dropped.
 * @returns how many were dropped, by endpoint, and whether there is more to do.
 */
export function tidy(
  tables: DeliveryTables,
  underWay: readonly number[],
  nowMs: number,
): { dropped: Map<string, number>; more: boolean } {
  const dropped = new Map<string, number>()
  const beforeMs = nowMs - retention.pendingMs
  for (const [id, { oldestMs = nowMs }] of tables.queues()) {
    if (oldestMs >= beforeMs) continue
    const drop = { limit: slice, beforeMs, underWay, reason: 'expired', atMs: nowMs }
    dropped.set(id, tables.drop(id, drop))
  }
  const deleted =
    tables.expire('delivered', nowMs - retention.deliveredMs, slice) +
    tables.expire('others', nowMs - retention.othersMs, slice) +
    trimFinished(tables)
  return { dropped, more: deleted >= slice || [...dropped.values()].some((count) => count >= slice) }
}

/** Keeps the number of what has ended within its bound: delivered ones go first. @returns how many were deleted. */
export function trimFinished(tables: DeliveryTables, most: number = retention.finished): number {
  const excess = Math.min(slice, tables.finished - most)
  if (excess <= 0) return 0
  const delivered = tables.expire('delivered', Number.MAX_SAFE_INTEGER, excess)
  return delivered + tables.expire('others', Number.MAX_SAFE_INTEGER, excess - delivered)
}
