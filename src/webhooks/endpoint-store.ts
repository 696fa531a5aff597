import { closeSync, existsSync, openSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import type { WebhookOptions } from '../core/webhook-admin.ts'

/** An endpoint of this replica as it is on disk. */
export interface StoredWebhook {
  id: string
  options: Omit<WebhookOptions, 'headers'>
  /** JSON of names and values, sealed where there is a key. */
  headers: string
  /** The current one first. */
  secrets: readonly StoredSecret[]
}

/** A secret as it is on disk. */
export interface StoredSecret {
  /** Sealed where there is a key. */
  stored: string
  /** Milliseconds since the epoch from which on nothing is signed by it; absent for the current one. */
  untilMs?: number
}

/** What has been ordered or has befallen an endpoint, of this replica or of the file. */
export interface Control {
  paused: boolean
  disabled?: Disabling
}

/** Why nothing is delivered to an endpoint any more. */
export interface Disabling {
  reason: DisablingReason
  atMs: number
  /** Attempts that failed since the last that did not. */
  failures: number
  /** Hash of the URL that it had: with another one it is tried again. */
  urlHash: string
}

/** It answered 410, or failed for long. */
export type DisablingReason = 'gone' | 'failing'

const fileName = 'webhooks.db'
const schemaVersion = 1

const schema = `
  CREATE TABLE endpoints (id TEXT PRIMARY KEY, options TEXT NOT NULL, headers TEXT NOT NULL, secrets TEXT NOT NULL) STRICT;
  CREATE TABLE controls (endpoint_id TEXT PRIMARY KEY, paused INTEGER NOT NULL, disabled TEXT) STRICT;
  PRAGMA user_version = ${schemaVersion};`

/**
 * Keeps the endpoints of this replica in a file of their own, `webhooks.db`: they survive whatever befalls the deliveries.
 * Every change is on the disk before its method returns.
 */
export class EndpointStore {
  readonly #database: Database.Database

  /** @throws where the file cannot be read or written, or another version wrote it. */
  constructor(folder: string) {
    const path = join(folder, fileName)
    closeSync(openSync(path, 'a', 0o600))
    this.#database = new Database(path, { timeout: 0 })
    try {
      open(this.#database)
    } catch (error) {
      this.#database.close()
      throw new Error(`${fileName} cannot be used: ${(error as Error).message}`, { cause: error })
    }
  }

  all(): StoredWebhook[] {
    const rows = this.#database
      .prepare<[], Record<keyof StoredWebhook, string>>('SELECT id, options, headers, secrets FROM endpoints')
      .all()
    return rows.map(({ id, options, headers, secrets }) => ({
      id,
      options: JSON.parse(options),
      headers,
      secrets: JSON.parse(secrets),
    }))
  }

  save({ id, options, headers, secrets }: StoredWebhook): void {
    this.#database
      .prepare('INSERT OR REPLACE INTO endpoints VALUES (?, ?, ?, ?)')
      .run(id, JSON.stringify(options), headers, JSON.stringify(secrets))
  }

  remove(id: string): void {
    this.#database.transaction(() => {
      this.#database.prepare('DELETE FROM endpoints WHERE id = ?').run(id)
      this.#database.prepare('DELETE FROM controls WHERE endpoint_id = ?').run(id)
    })()
  }

  controls(): Map<string, Control> {
    const rows = this.#database
      .prepare<[], { endpoint_id: string; paused: number; disabled: string | null }>('SELECT * FROM controls')
      .all()
    return new Map(
      rows.map(({ endpoint_id: id, paused, disabled }) => [
        id,
        { paused: paused === 1, ...(disabled !== null && { disabled: JSON.parse(disabled) }) },
      ]),
    )
  }

  saveControl(id: string, { paused, disabled }: Control): void {
    if (!paused && !disabled) {
      this.#database.prepare('DELETE FROM controls WHERE endpoint_id = ?').run(id)
      return
    }
    this.#database
      .prepare('INSERT OR REPLACE INTO controls VALUES (?, ?, ?)')
      .run(id, paused ? 1 : 0, disabled ? JSON.stringify(disabled) : null)
  }

  close(): void {
    this.#database.close()
  }
}

/**
 * Whether an endpoint may have been added to the replica that keeps its things in a folder: where that cannot be read,
 * whoever opens it in earnest says why.
 */
export function hasStoredWebhooks(folder: string): boolean {
  const path = join(folder, fileName)
  if (!existsSync(path)) return false
  try {
    const database = new Database(path, { readonly: true })
    try {
      return database.prepare('SELECT 1 FROM endpoints LIMIT 1').get() !== undefined
    } finally {
      database.close()
    }
  } catch {
    return true
  }
}

function open(database: Database.Database): void {
  database.pragma('synchronous = full')
  // A crash within a transaction leaves a journal, which the next one to open the file rolls back.
  database.pragma('journal_mode = DELETE')
  const version = database.pragma('user_version', { simple: true })
  if (version === 0) database.transaction(() => database.exec(schema)).immediate()
  else if (version !== schemaVersion) throw new Error(`a Gatepost of another version wrote it (${version})`)
}
