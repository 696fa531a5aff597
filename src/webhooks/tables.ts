import type Database from 'better-sqlite3'
import type { DeliveryFilter, DeliveryStatus } from '../core/webhook-admin.ts'

/** A new delivery. */
export interface NewDelivery {
  id: string
  endpointId: string
  /** The number that {@link DeliveryTables.addEvent} gave. */
  event: number
  type: string
  atMs: number
  replayOf?: string
  /** Made by hand to try an endpoint: it is no part of the queue. Default: false. */
  test?: boolean
}

/** A delivery that is to be attempted, with what it sends. */
export interface Waiting {
  number: number
  id: string
  eventId: string
  body: Buffer
  /** Attempts that have failed. */
  failures: number
}

/** What became of an attempt, and of its delivery by it. */
export interface Settlement {
  /** The delivery's number. */
  delivery: number
  status: DeliveryStatus
  reason: string | null
  /** When the next attempt is due; while the delivery is pending. */
  dueMs: number
  atMs: number
  attempt: Omit<AttemptRow, 'number'>
}

/** An attempt as it is kept. */
export interface AttemptRow {
  number: number
  at_ms: number
  duration_ms: number
  result: string
  status: number | null
  reason: string | null
  error: string | null
  answer: string
}

/** A delivery as it is kept. */
export interface DeliveryRow {
  number: number
  id: string
  endpoint_id: string
  event: number
  event_id: string
  type: string
  status: DeliveryStatus
  reason: string | null
  attempts: number
  due_ms: number
  created_ms: number
  finished_ms: number | null
  replay_of: string | null
  replayed_by: string | null
  test: number
}

/** Which deliveries are given up, and why. */
export interface Drop {
  /** How many at most. Default: all. */
  limit?: number
  /** Only those that were queued before. Default: all. */
  beforeMs?: number
  /** Numbers of those that stay. */
  underWay: readonly number[]
  reason: string
  atMs: number
}

/** How an endpoint's queue stands. */
export interface QueueState {
  pending: number
  /** When the oldest was queued; absent where there is none. */
  oldestMs?: number
}

/** How an endpoint has been doing, as far as it outlives a restart. */
export interface HealthRow {
  failing_since_ms: number | null
  in_row: number
  warnings: number
}

// What rows take beside their texts, indices included; measured, and rounded up.
const rowBytes = { event: 200, delivery: 600, attempt: 120 }

// Counts are kept by triggers: so they are part of whatever transaction changes what they count.
const schema = `
  CREATE TABLE IF NOT EXISTS webhook_events (
    number INTEGER PRIMARY KEY, event_id TEXT NOT NULL, body BLOB NOT NULL, uses INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE IF NOT EXISTS webhook_deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, endpoint_id TEXT NOT NULL,
    event INTEGER NOT NULL, type TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'pending', reason TEXT,
    attempts INTEGER NOT NULL DEFAULT 0, due_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL,
    finished_ms INTEGER, replay_of TEXT, replayed_by TEXT, test INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX IF NOT EXISTS webhook_due ON webhook_deliveries (endpoint_id, due_ms, number)
    WHERE status = 'pending' AND test = 0;
  CREATE INDEX IF NOT EXISTS webhook_queue ON webhook_deliveries (endpoint_id, number)
    WHERE status = 'pending' AND test = 0;
  CREATE INDEX IF NOT EXISTS webhook_by_endpoint ON webhook_deliveries (endpoint_id, number);
  CREATE INDEX IF NOT EXISTS webhook_finished ON webhook_deliveries (status = 'delivered', finished_ms)
    WHERE finished_ms IS NOT NULL;
  CREATE TABLE IF NOT EXISTS webhook_attempts (
    delivery INTEGER NOT NULL, number INTEGER NOT NULL, at_ms INTEGER NOT NULL, duration_ms INTEGER NOT NULL,
    result TEXT NOT NULL, status INTEGER, reason TEXT, error TEXT, answer TEXT NOT NULL,
    PRIMARY KEY (delivery, number)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS webhook_health (
    endpoint_id TEXT PRIMARY KEY, failing_since_ms INTEGER, in_row INTEGER NOT NULL, warnings INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS webhook_queues (
    endpoint_id TEXT PRIMARY KEY, pending INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS webhook_totals (
    one INTEGER PRIMARY KEY CHECK (one = 1), bytes INTEGER NOT NULL, finished INTEGER NOT NULL
  ) STRICT;
  INSERT OR IGNORE INTO webhook_totals VALUES (1, 0, 0);

  CREATE TRIGGER IF NOT EXISTS webhook_event_added AFTER INSERT ON webhook_events BEGIN
    UPDATE webhook_totals SET bytes = bytes + length(new.body) + ${rowBytes.event};
  END;
  CREATE TRIGGER IF NOT EXISTS webhook_event_gone AFTER DELETE ON webhook_events BEGIN
    UPDATE webhook_totals SET bytes = bytes - length(old.body) - ${rowBytes.event};
  END;
  CREATE TRIGGER IF NOT EXISTS webhook_attempt_added AFTER INSERT ON webhook_attempts BEGIN
    UPDATE webhook_totals SET bytes = bytes + length(new.answer) + ${rowBytes.attempt};
  END;
  CREATE TRIGGER IF NOT EXISTS webhook_attempt_gone AFTER DELETE ON webhook_attempts BEGIN
    UPDATE webhook_totals SET bytes = bytes - length(old.answer) - ${rowBytes.attempt};
  END;
  CREATE TRIGGER IF NOT EXISTS webhook_delivery_added AFTER INSERT ON webhook_deliveries BEGIN
    UPDATE webhook_events SET uses = uses + 1 WHERE number = new.event;
    UPDATE webhook_totals SET bytes = bytes + ${rowBytes.delivery};
    INSERT INTO webhook_queues SELECT new.endpoint_id, 1 WHERE new.test = 0
      ON CONFLICT DO UPDATE SET pending = pending + 1;
  END;
  CREATE TRIGGER IF NOT EXISTS webhook_delivery_finished AFTER UPDATE OF status ON webhook_deliveries
    WHEN old.status = 'pending' AND new.status <> 'pending' BEGIN
    UPDATE webhook_totals SET finished = finished + 1;
    UPDATE webhook_queues SET pending = pending - 1 WHERE endpoint_id = new.endpoint_id AND new.test = 0;
  END;
  CREATE TRIGGER IF NOT EXISTS webhook_delivery_gone AFTER DELETE ON webhook_deliveries BEGIN
    DELETE FROM webhook_attempts WHERE delivery = old.number;
    UPDATE webhook_totals SET bytes = bytes - ${rowBytes.delivery}, finished = finished - (old.status <> 'pending');
    UPDATE webhook_queues SET pending = pending - 1
      WHERE endpoint_id = old.endpoint_id AND old.test = 0 AND old.status = 'pending';
    UPDATE webhook_events SET uses = uses - 1 WHERE number = old.event;
    DELETE FROM webhook_events WHERE number = old.event AND uses = 0;
  END;`

const delivery = `d.number, d.id, d.endpoint_id, d.event, e.event_id, d.type, d.status, d.reason, d.attempts, d.due_ms,
  d.created_ms, d.finished_ms, d.replay_of, d.replayed_by, d.test`
const withEvent = 'webhook_deliveries d JOIN webhook_events e ON e.number = d.event'
const queued = "status = 'pending' AND test = 0"
const waiting = 'd.number, d.id, e.event_id AS eventId, e.body, d.attempts AS failures'

/**
 * Deliveries and their attempts, in tables of the file in which the log of events is: what is queued and how far the log
 * is read changes in one transaction. Every method works within the transaction of whoever calls it.
 */
export class DeliveryTables {
  readonly #database: Database.Database
  readonly #statements: ReturnType<typeof prepare>

  /** Makes the tables where they are not there yet; tests that a dead process has left behind have failed. */
  constructor(database: Database.Database, nowMs: number) {
    database.exec(schema)
    this.#database = database
    this.#statements = prepare(database)
    this.#statements.interrupt.run(nowMs)
  }

  /** Bytes on disk, about. */
  get bytes(): number {
    return this.#statements.totals.get()?.bytes ?? 0
  }

  /** Deliveries that have ended. */
  get finished(): number {
    return this.#statements.totals.get()?.finished ?? 0
  }

  /** Keeps an event's body until nothing refers to it any more. @returns its number. */
  addEvent(eventId: string, body: Buffer): number {
    return Number(this.#statements.addEvent.run(eventId, body).lastInsertRowid)
  }

  /** Queues a delivery. @returns its number. */
  add({ id, endpointId, event, type, atMs, replayOf = null, test = false }: WithNull<NewDelivery>): number {
    const row = [id, endpointId, event, type, atMs, atMs, replayOf, test ? 1 : 0] as const
    const { lastInsertRowid } = this.#statements.add.run(...row)
    if (replayOf !== null) this.#statements.replayed.run(id, replayOf)
    return Number(lastInsertRowid)
  }

  /** What may be attempted at a moment, the longest due first. */
  due(endpointId: string, nowMs: number, limit: number): Waiting[] {
    return this.#statements.due.all(endpointId, nowMs, limit)
  }

  /** The oldest that is queued, due or not. */
  head(endpointId: string): (Waiting & { dueMs: number }) | undefined {
    return this.#statements.head.get(endpointId)
  }

  /** When the next one falls due after a moment. */
  nextDueMs(endpointId: string, nowMs: number): number | undefined {
    return this.#statements.nextDue.get(endpointId, nowMs)?.due_ms ?? undefined
  }

  /** One that was made to try an endpoint, or any other, with what it sends. */
  waiting(number: number): Waiting | undefined {
    return this.#statements.waiting.get(number)
  }

  /** Writes down an attempt, and what has become of its delivery; one that has ended, or is gone, stays as it is. */
  settle({ delivery: number, status, reason, dueMs, atMs, attempt }: Settlement): void {
    const finishedMs = status === 'pending' ? null : atMs
    const { at_ms, duration_ms, result, status: code, error, answer } = attempt
    this.#statements.addAttempt.run(
      ...[number, at_ms, duration_ms, result, code, attempt.reason, error, answer, number],
    )
    this.#statements.settle.run(status, reason, dueMs, finishedMs, number)
  }

  /** How the queue of each endpoint stands that has any delivery queued. */
  queues(): Map<string, QueueState> {
    return new Map(this.#statements.queues.all().map(({ endpoint_id: id }) => [id, this.queue(id)]))
  }

  /** How an endpoint's queue stands. */
  queue(endpointId: string): QueueState {
    const { pending = 0 } = this.#statements.pending.get(endpointId) ?? {}
    const oldest = pending > 0 ? this.#statements.oldest.get(endpointId) : undefined
    return { pending, ...(oldest && { oldestMs: oldest.created_ms }) }
  }

  /** Gives up the oldest of an endpoint's queue that are not under way; they are kept to be replayed. @returns how many. */
  drop(endpointId: string, { limit = -1, beforeMs, underWay, reason, atMs }: Drop): number {
    const before = beforeMs ?? Number.MAX_SAFE_INTEGER
    return this.#statements.drop.run(reason, atMs, endpointId, before, JSON.stringify(underWay), limit)
      .changes
  }

  /** Forgets an endpoint with all of its deliveries. */
  forget(endpointId: string): void {
    this.#statements.forget.run(endpointId)
    this.#statements.forgetHealth.run(endpointId)
    this.#statements.forgetQueue.run(endpointId)
  }

  /** Deletes some that have ended: delivered ones, or the others, up to a time. @returns how many. */
  expire(which: 'delivered' | 'others', untilMs: number, limit: number): number {
    return this.#statements.expire.run(which === 'delivered' ? 1 : 0, untilMs, limit).changes
  }

  /** Deletes the oldest in the queues that are not under way. @returns of which endpoints. */
  deleteOldest(limit: number, underWay: readonly number[]): string[] {
    return this.#statements.deleteOldest.all(JSON.stringify(underWay), limit)
  }

  /** The newest first, those before `before` if given. */
  list(filter: DeliveryFilter, before: number | undefined, limit: number): DeliveryRow[] {
    const { text, values } = conditions(filter, ['d.test IN (0, 1)'])
    const place = before === undefined ? '' : ' AND d.number < ?'
    const more = before === undefined ? [] : [before]
    return this.#database
      .prepare<unknown[], DeliveryRow>(
        `SELECT ${delivery} FROM ${withEvent} WHERE ${text}${place} ORDER BY d.number DESC LIMIT ?`,
      )
      .all(...values, ...more, limit)
  }

  get(id: string): DeliveryRow | undefined {
    return this.#statements.get.get(id)
  }

  /** What a delivery sends, as text. */
  body(event: number): string {
    return this.#statements.body.get(event)?.body.toString('utf8') ?? ''
  }

  /** Its attempts, the oldest first. */
  attempts(number: number): AttemptRow[] {
    return this.#statements.attempts.all(number)
  }

  /** Those of some endpoints that can be replayed and have not been, the oldest first. */
  replayable(filter: DeliveryFilter, endpointIds: readonly string[], limit: number): DeliveryRow[] {
    const ended = filter.status === undefined ? "d.status IN ('failed', 'dropped')" : "d.status <> 'pending'"
    const { text, values } = conditions(filter, [
      ended,
      'd.test = 0',
      'd.replayed_by IS NULL',
      'd.endpoint_id IN (SELECT value FROM json_each(?))',
    ])
    return this.#database
      .prepare<unknown[], DeliveryRow>(
        `SELECT ${delivery} FROM ${withEvent} WHERE ${text} ORDER BY d.number LIMIT ?`,
      )
      .all(JSON.stringify(endpointIds), ...values, limit)
  }

  health(endpointId: string): HealthRow | undefined {
    return this.#statements.health.get(endpointId)
  }

  saveHealth(endpointId: string, { failing_since_ms, in_row, warnings }: HealthRow): void {
    this.#statements.saveHealth.run(endpointId, failing_since_ms, in_row, warnings)
  }
}

type WithNull<T> = { [Name in keyof T]: undefined extends T[Name] ? T[Name] | null : T[Name] }

function conditions(
  { status, webhookId, eventType, sinceMs, untilMs }: DeliveryFilter,
  always: readonly string[],
): { text: string; values: unknown[] } {
  const asked = [
    ['d.endpoint_id = ?', webhookId],
    ['d.status = ?', status],
    ['d.type = ?', eventType],
    ['d.created_ms >= ?', sinceMs],
    ['d.created_ms < ?', untilMs],
  ].filter(([, value]) => value !== undefined)
  return {
    text: [...always, ...asked.map(([condition]) => condition)].join(' AND '),
    values: asked.map(([, value]) => value),
  }
}

function prepare(database: Database.Database) {
  return {
    totals: database.prepare<[], { bytes: number; finished: number }>(
      'SELECT bytes, finished FROM webhook_totals',
    ),
    addEvent: database.prepare<[string, Buffer]>('INSERT INTO webhook_events (event_id, body) VALUES (?, ?)'),
    add: database.prepare<[string, string, number, string, number, number, string | null, number]>(
      `INSERT INTO webhook_deliveries (id, endpoint_id, event, type, due_ms, created_ms, replay_of, test)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    replayed: database.prepare<[string, string]>(
      'UPDATE webhook_deliveries SET replayed_by = ? WHERE id = ?',
    ),
    due: database.prepare<[string, number, number], Waiting>(
      `SELECT ${waiting} FROM ${withEvent} WHERE d.endpoint_id = ? AND d.status = 'pending' AND d.test = 0
       AND d.due_ms <= ? ORDER BY d.due_ms, d.number LIMIT ?`,
    ),
    head: database.prepare<[string], Waiting & { dueMs: number }>(
      `SELECT ${waiting}, d.due_ms AS dueMs FROM ${withEvent}
       WHERE d.endpoint_id = ? AND d.status = 'pending' AND d.test = 0 ORDER BY d.number LIMIT 1`,
    ),
    nextDue: database.prepare<[string, number], { due_ms: number | null }>(
      `SELECT min(due_ms) AS due_ms FROM webhook_deliveries WHERE endpoint_id = ? AND ${queued} AND due_ms > ?`,
    ),
    waiting: database.prepare<[number], Waiting>(`SELECT ${waiting} FROM ${withEvent} WHERE d.number = ?`),
    addAttempt: database.prepare<
      [number, number, number, string, number | null, string | null, string | null, string, number]
    >(
      `INSERT INTO webhook_attempts (delivery, number, at_ms, duration_ms, result, status, reason, error, answer)
       SELECT ?, attempts + 1, ?, ?, ?, ?, ?, ?, ? FROM webhook_deliveries WHERE number = ?`,
    ),
    settle: database.prepare<[string, string | null, number, number | null, number]>(
      `UPDATE webhook_deliveries SET attempts = attempts + 1,
         status = iif(status = 'pending', ?, status), reason = iif(status = 'pending', ?, reason),
         due_ms = ?, finished_ms = coalesce(finished_ms, ?)
       WHERE number = ?`,
    ),
    queues: database.prepare<[], { endpoint_id: string }>(
      'SELECT endpoint_id FROM webhook_queues WHERE pending > 0',
    ),
    pending: database.prepare<[string], { pending: number }>(
      'SELECT pending FROM webhook_queues WHERE endpoint_id = ?',
    ),
    oldest: database.prepare<[string], { created_ms: number }>(
      `SELECT created_ms FROM webhook_deliveries WHERE endpoint_id = ? AND ${queued} ORDER BY number LIMIT 1`,
    ),
    drop: database.prepare<[string, number, string, number, string, number]>(
      `UPDATE webhook_deliveries SET status = 'dropped', reason = ?, finished_ms = ? WHERE number IN (
         SELECT number FROM webhook_deliveries WHERE endpoint_id = ? AND ${queued}
         AND created_ms < ? AND number NOT IN (SELECT value FROM json_each(?)) ORDER BY number LIMIT ?)`,
    ),
    forget: database.prepare<[string]>('DELETE FROM webhook_deliveries WHERE endpoint_id = ?'),
    forgetHealth: database.prepare<[string]>('DELETE FROM webhook_health WHERE endpoint_id = ?'),
    forgetQueue: database.prepare<[string]>('DELETE FROM webhook_queues WHERE endpoint_id = ?'),
    expire: database.prepare<[number, number, number]>(
      `DELETE FROM webhook_deliveries WHERE number IN (
         SELECT number FROM webhook_deliveries
         WHERE finished_ms IS NOT NULL AND (status = 'delivered') = ? AND finished_ms < ?
         ORDER BY finished_ms LIMIT ?)`,
    ),
    deleteOldest: database
      .prepare<[string, number], string>(
        `DELETE FROM webhook_deliveries WHERE number IN (
           SELECT number FROM webhook_deliveries WHERE ${queued}
           AND number NOT IN (SELECT value FROM json_each(?)) ORDER BY number LIMIT ?)
         RETURNING endpoint_id`,
      )
      .pluck(),
    get: database.prepare<[string], DeliveryRow>(`SELECT ${delivery} FROM ${withEvent} WHERE d.id = ?`),
    body: database.prepare<[number], { body: Buffer }>('SELECT body FROM webhook_events WHERE number = ?'),
    attempts: database.prepare<[number], AttemptRow>(
      `SELECT number, at_ms, duration_ms, result, status, reason, error, answer FROM webhook_attempts
       WHERE delivery = ? ORDER BY number`,
    ),
    health: database.prepare<[string], HealthRow>(
      'SELECT failing_since_ms, in_row, warnings FROM webhook_health WHERE endpoint_id = ?',
    ),
    saveHealth: database.prepare<[string, number | null, number, number]>(
      `INSERT INTO webhook_health VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET
         failing_since_ms = excluded.failing_since_ms, in_row = excluded.in_row, warnings = excluded.warnings`,
    ),
    interrupt: database.prepare<[number]>(
      `UPDATE webhook_deliveries SET status = 'failed', reason = 'interrupted', finished_ms = ?
       WHERE status = 'pending' AND test = 1`,
    ),
  }
}
