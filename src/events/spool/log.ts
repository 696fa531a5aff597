import { closeSync, openSync, statfsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import Database from 'better-sqlite3'
import type { EventType } from '../../core/events.ts'
import { maxEventBytes } from '../catalogue.ts'
import type { LoggedEvent, Refusal } from '../sinks/broker.ts'
import { addCounts, type Batch, readBatch, readTypes, type TypeCounts, totalOf } from './batch.ts'
import { DamagedLog, isPassing } from './faults.ts'

/** How a log is kept. */
export interface LogOptions {
  /** The most bytes on disk: pages in use and write-ahead log. Past it the oldest events go. */
  maxBytes: number
  /** SQLite's `synchronous`: with `normal` a power loss may cost the last commits, with `full` it does not. */
  sync: 'normal' | 'full'
  /** Who reads it. A new one begins at the tail; what others had kept of their place goes. */
  readers: readonly string[]
}

/** How much is read at once: whole batches, and at least one. */
export interface ReadLimits {
  maxEvents: number
  /** Characters of JSON. */
  maxCharacters: number
}

/** What a reader has in hand. It is not dropped meanwhile, and stays in the log until it is settled. */
export interface Taken {
  /** Places of the first and the last batch. */
  from: number
  to: number
  /** Events in them, the damaged ones too. */
  types: TypeCounts
  events: readonly LoggedEvent[]
  /** Events in batches whose text is damaged: nobody can have them. */
  damaged: TypeCounts
}

/** How a reader stands. */
export interface ReaderState {
  /** Events that it has not yet settled. */
  queued: number
  /** When the oldest of them was appended, in milliseconds since the epoch; absent if there is none. */
  oldestAtMs?: number
}

/** What one step has cost, by reader. */
export type Losses = ReadonlyMap<string, TypeCounts>

/** Whether a reader wants any of these types. */
export type Wants = (types: TypeCounts) => boolean

/** Works on its own tables in the transaction that moves its reader's place. */
export type Step = (events: readonly LoggedEvent[], database: Database.Database) => void

/** The most events set aside, with a log of 128 MiB or more; the oldest go. In a smaller one it is an eighth of the room. */
const maxSetAside = 1_000

const pageBytes = 4_096
const schemaVersion = 1

const schema = `
  CREATE TABLE log (
    position INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL,
    types TEXT NOT NULL, events TEXT NOT NULL
  ) STRICT;
  CREATE TABLE readers (name TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT;
  CREATE TABLE set_aside (
    number INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, reader TEXT NOT NULL,
    id TEXT NOT NULL, type TEXT NOT NULL, reason TEXT NOT NULL, event TEXT NOT NULL
  ) STRICT;
  PRAGMA user_version = ${schemaVersion};`

interface Row {
  position: number
  types: string
  events: string
}

interface Place {
  /** Every batch up to here is settled. */
  position: number
  /** Events after it. */
  queued: Partial<Record<EventType, number>>
  /** What is in hand. */
  taken?: Taken
}

/**
 * An append-only log in one SQLite file, with a place in it for each reader. A batch is one row; it goes once the slowest
 * reader has passed it. Every method is one transaction, and one that throws has changed nothing.
 */
export class Log {
  readonly #path: string
  readonly #database: Database.Database
  readonly #maxBytes: number
  readonly #walBytes: number
  readonly #maxSetAside: number
  readonly #places: Map<string, Place>
  readonly #statements: ReturnType<typeof prepare>
  #next: number
  #isShortOfRoom = false

  /**
   * Opens the file, or makes it.
   * @throws DamagedLog where it can never be used, and SQLite's error where it cannot at the moment.
   */
  constructor(path: string, { maxBytes, sync, readers }: LogOptions) {
    this.#path = path
    this.#maxBytes = maxBytes
    this.#maxSetAside = Math.min(maxSetAside, Math.floor(maxBytes / 8 / maxEventBytes))
    // Events tell of people: nobody else reads them, whatever the folder allows.
    closeSync(openSync(path, 'a', 0o600))
    this.#database = new Database(path, { timeout: 0 })
    try {
      this.#walBytes = walBytesFor(Math.min(maxBytes, this.#room()))
      configure(this.#database, sync, this.#walBytes)
      const last = migrate(this.#database, readers)
      this.#next = last + 1
      this.#statements = prepare(this.#database)
      this.#places = new Map(readers.map((name) => [name, this.#placeOf(name)]))
      this.#transaction(() => this.#trim())
    } catch (error) {
      this.#database.close()
      throw error
    }
  }

  /** Bytes on disk that are in use. */
  get bytes(): number {
    return this.#bytesInUse() + sizeOf(`${this.#path}-wal`)
  }

  /** Whether, at the last append, more than half of what may be in use was: what waits may soon have to go unread. */
  get isShortOfRoom(): boolean {
    return this.#isShortOfRoom
  }

  /** Lets a reader prepare tables of its own. */
  prepare(work: (database: Database.Database) => void): void {
    this.#transaction(() => work(this.#database))
  }

  /** Lets a reader work with its own tables in one transaction. */
  work<T>(work: () => T): T {
    return this.#transaction(work)
  }

  /** Appends a batch; the oldest ones go where there is no room. @returns what readers miss of them. */
  append({ types, events }: Batch, atMs: number): Losses {
    const position = this.#next
    const dropped = this.#transaction(() => {
      const rows = this.#makeRoom(Buffer.byteLength(events) + 2 * pageBytes)
      this.#statements.insert.run(position, atMs, JSON.stringify(types), events)
      return rows
    })
    this.#next = position + 1
    for (const place of this.#places.values()) addCounts(place.queued, types)
    return this.#lose(dropped)
  }

  /** Takes what comes next, whole batches up to the limits; undefined where there is nothing. */
  take(reader: string, limits: ReadLimits): Taken | undefined {
    const place = this.#place(reader)
    const taken = this.#read(place.position, limits)
    if (taken) place.taken = taken
    return taken
  }

  /**
   * Moves a reader past what it took, and keeps what was refused. Where that cannot be written, the reader goes on
   * from there all the same, and the place is written with the next: what was delivered is not delivered again.
   */
  settle(reader: string, refusals: readonly Refusal[], atMs: number): void {
    const place = this.#place(reader)
    const { taken } = place
    if (!taken) return
    this.#pass(place, taken)
    this.#transaction(() => {
      this.#keep(reader, taken, refusals, atMs)
      this.#statements.move.run(place.position, reader)
      this.#trim()
    })
  }

  /**
   * Hands the next events to `work` inside of a transaction that also moves the reader past them: both happen, or
   * neither. Batches of nothing that it wants are passed over without being read.
   * @returns what was taken; undefined where there was nothing.
   */
  step(reader: string, limits: ReadLimits, work: Step, wants: Wants = always): Taken | undefined {
    const place = this.#place(reader)
    const taken = this.#transaction(() => {
      const next = this.#read(place.position, limits, wants)
      if (!next) return undefined
      work(next.events, this.#database)
      this.#statements.move.run(next.to, reader)
      this.#trim({ place, position: next.to })
      return next
    })
    if (taken) this.#pass(place, taken)
    return taken
  }

  /** How a reader stands. */
  state(reader: string): ReaderState {
    const { position, queued } = this.#place(reader)
    const count = totalOf(queued)
    const oldest = count > 0 ? this.#statements.ageAfter.get(position) : undefined
    return { queued: count, ...(oldest && { oldestAtMs: oldest.at_ms }) }
  }

  /** What each reader loses if nobody reads this log any more, without what it has in hand. */
  get unread(): Losses {
    const places = [...this.#places]
    return new Map(places.map(([name, { queued, taken }]) => [name, without(queued, taken?.types ?? {})]))
  }

  /** Moves what is in the write-ahead log into the file, which makes room in the former. */
  checkpoint(): void {
    this.#database.pragma('wal_checkpoint(PASSIVE)')
  }

  close(): void {
    this.#database.close()
  }

  #place(reader: string): Place {
    const place = this.#places.get(reader)
    if (!place) throw new Error(`Cannot find the reader ${reader} in the log`)
    return place
  }

  #placeOf(name: string): Place {
    const { position = 0 } = this.#statements.placeOf.get(name) ?? {}
    const queued: Place['queued'] = {}
    for (const { types } of this.#statements.typesAfter.iterate(position)) addCounts(queued, readTypes(types))
    return { position, queued }
  }

  #transaction<T>(work: () => T): T {
    return this.#database.transaction(work).immediate()
  }

  #read(position: number, limits: ReadLimits, wants: Wants = always): Taken | undefined {
    const rows = this.#rows(position, limits)
    const [first] = rows
    const last = rows.at(-1)
    if (!first || !last) return undefined
    const events: LoggedEvent[] = []
    const all: Partial<TypeCounts> = {}
    const damaged: Partial<TypeCounts> = {}
    for (const row of rows) {
      const batch = { types: readTypes(row.types), events: row.events }
      addCounts(all, batch.types)
      if (!wants(batch.types)) continue
      const read = readBatch(batch)
      if (read) events.push(...read)
      else addCounts(damaged, batch.types)
    }
    return { from: first.position, to: last.position, types: all, events, damaged }
  }

  #rows(position: number, { maxEvents, maxCharacters }: ReadLimits): Row[] {
    const rows: Row[] = []
    let count = 0
    let characters = 0
    for (const row of this.#statements.after.iterate(position)) {
      count += totalOf(readTypes(row.types))
      characters += row.events.length
      if (rows.length > 0 && (count > maxEvents || characters > maxCharacters)) break
      rows.push(row)
    }
    return rows
  }

  #pass(place: Place, { to, types }: Taken): void {
    place.position = to
    place.queued = without(place.queued, types)
    delete place.taken
  }

  #keep(reader: string, { events }: Taken, refusals: readonly Refusal[], atMs: number): void {
    for (const { index, reason } of refusals) {
      const event = events[index]
      if (event) this.#statements.setAside.run(atMs, reader, event.id, event.type, reason, event.json)
    }
    if (refusals.length > 0) this.#statements.forgetSetAside.run(this.#maxSetAside)
  }

  /** @param moving a place that is about to move. */
  #trim(moving?: { place: Place; position: number }): void {
    const positions = [...this.#places.values()].map((place) =>
      place === moving?.place ? moving.position : place.position,
    )
    this.#statements.trim.run(Math.min(...positions))
  }

  /** Drops batches from the oldest on, except what a reader has in hand, until so many bytes fit in. */
  #makeRoom(bytes: number): Row[] {
    const dropped: Row[] = []
    const most = this.#mostBytes() - bytes
    this.#isShortOfRoom = this.#bytesInUse() > most / 2
    let position = -1
    while (this.#bytesInUse() > most) {
      const row = this.#statements.next.get(position)
      if (!row) break
      position = row.position
      if (this.#isInHand(position)) continue
      this.#statements.drop.run(position)
      dropped.push(row)
    }
    return dropped
  }

  #isInHand(position: number): boolean {
    for (const { taken } of this.#places.values()) {
      if (taken && position >= taken.from && position <= taken.to) return true
    }
    return false
  }

  #lose(dropped: readonly Row[]): Losses {
    const losses = new Map<string, TypeCounts>()
    for (const [name, place] of this.#places) {
      const missed: Partial<TypeCounts> = {}
      for (const { position, types } of dropped) {
        if (position > place.position) addCounts(missed, readTypes(types))
      }
      place.queued = without(place.queued, missed)
      if (totalOf(missed) > 0) losses.set(name, missed)
    }
    return losses
  }

  #bytesInUse(): number {
    const { pages = 0, free = 0 } = this.#statements.pages.get() ?? {}
    return (pages - free) * pageBytes
  }

  /** What pages may take: never so much that the disk is full, for then nothing could be written that makes room. */
  #mostBytes(): number {
    return Math.min(this.#maxBytes, this.#room() - this.#walBytes) - this.#walBytes
  }

  /** Bytes that the file has or could have. */
  #room(): number {
    const { blocks, bavail, bsize } = statfsSync(dirname(this.#path))
    // Some file systems do not say.
    return blocks === 0 ? Number.POSITIVE_INFINITY : sizeOf(this.#path) + bavail * bsize
  }
}

function always(): boolean {
  return true
}

function without(counts: TypeCounts, fewer: TypeCounts): Partial<Record<EventType, number>> {
  const rest = Object.entries(counts).map(([type, count]) => [type, count - (fewer[type as EventType] ?? 0)])
  return Object.fromEntries(rest)
}

/** The write-ahead log's share of what there may be. */
function walBytesFor(bytes: number): number {
  return Math.min(4 * 1024 * 1024, Math.max(256 * 1024, Math.floor(bytes / 8)))
}

function configure(database: Database.Database, sync: LogOptions['sync'], walBytes: number): void {
  // No other process has any business here, and without shared memory a full disk cannot end this one by SIGBUS.
  database.pragma('locking_mode = EXCLUSIVE')
  database.pragma(`page_size = ${pageBytes}`)
  database.pragma('auto_vacuum = INCREMENTAL')
  const mode = database.pragma('journal_mode = WAL', { simple: true })
  if (mode !== 'wal') throw new DamagedLog(`SQLite keeps no write-ahead log here, but "${mode}"`)
  database.pragma(`synchronous = ${sync}`)
  database.pragma(`wal_autocheckpoint = ${Math.floor(walBytes / 2 / pageBytes)}`)
  // What one large transaction took beyond that is given back after it.
  database.pragma(`journal_size_limit = ${walBytes}`)
}

/** Makes sure that the tables are there and sound, and the readers those that are wanted. @returns the last position. */
function migrate(database: Database.Database, readers: readonly string[]): number {
  const finding = database.pragma('quick_check(1)', { simple: true })
  if (finding !== 'ok') throw new DamagedLog(String(finding))
  const version = database.pragma('user_version', { simple: true })
  if (version !== 0 && version !== schemaVersion)
    throw new DamagedLog(`a Gatepost of another version wrote it (${version})`)
  giveBack(database)
  return database
    .transaction(() => {
      if (version === 0) database.exec(schema)
      const last = lastPosition(database)
      const names = JSON.stringify(readers)
      database.prepare('DELETE FROM readers WHERE name NOT IN (SELECT value FROM json_each(?))').run(names)
      database.prepare('INSERT OR IGNORE INTO readers SELECT value, ? FROM json_each(?)').run(last, names)
      return last
    })
    .immediate()
}

/** In pages: half of the least that the write-ahead log may take. */
const giveBackStep = 32

/**
 * Gives unused room back to the file system, where that is more than half of the file. In steps, for each page that goes
 * passes through the write-ahead log, which would become as large as the file was.
 */
function giveBack(database: Database.Database): void {
  const count = (of: 'page_count' | 'freelist_count') => Number(database.pragma(of, { simple: true }))
  let free = count('freelist_count')
  if (free * 2 < count('page_count')) return
  try {
    for (let before = free + 1; free > 0 && free < before; free = count('freelist_count')) {
      before = free
      database.pragma(`incremental_vacuum(${giveBackStep})`)
    }
  } catch (error) {
    // It takes some room to make room; where there is none, the pages serve for what comes.
    if (!isPassing(error)) throw error
  }
}

function lastPosition(database: Database.Database): number {
  const last = database
    .prepare(
      'SELECT max(coalesce((SELECT max(position) FROM log), 0), coalesce((SELECT max(position) FROM readers), 0)) AS last',
    )
    .pluck()
    .get()
  if (!Number.isSafeInteger(last) || Number(last) < 0) throw new DamagedLog(`no position can be ${last}`)
  return Number(last)
}

function prepare(database: Database.Database) {
  return {
    insert: database.prepare<[number, number, string, string]>(
      'INSERT INTO log (position, at_ms, types, events) VALUES (?, ?, ?, ?)',
    ),
    after: database.prepare<[number], Row>(
      'SELECT position, types, events FROM log WHERE position > ? ORDER BY position',
    ),
    next: database.prepare<[number], Row>(
      "SELECT position, types, '' AS events FROM log WHERE position > ? ORDER BY position LIMIT 1",
    ),
    ageAfter: database.prepare<[number], { at_ms: number }>(
      'SELECT at_ms FROM log WHERE position > ? ORDER BY position LIMIT 1',
    ),
    typesAfter: database.prepare<[number], { types: string }>('SELECT types FROM log WHERE position > ?'),
    placeOf: database.prepare<[string], { position: number }>('SELECT position FROM readers WHERE name = ?'),
    move: database.prepare<[number, string]>('UPDATE readers SET position = ? WHERE name = ?'),
    trim: database.prepare<[number]>('DELETE FROM log WHERE position <= ?'),
    drop: database.prepare<[number]>('DELETE FROM log WHERE position = ?'),
    setAside: database.prepare<[number, string, string, string, string, string]>(
      'INSERT INTO set_aside (at_ms, reader, id, type, reason, event) VALUES (?, ?, ?, ?, ?, ?)',
    ),
    forgetSetAside: database.prepare<[number]>(
      'DELETE FROM set_aside WHERE number <= (SELECT max(number) FROM set_aside) - ?',
    ),
    pages: database.prepare<[], { pages: number; free: number }>(
      'SELECT page_count AS pages, freelist_count AS free FROM pragma_page_count, pragma_freelist_count',
    ),
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}
