import { readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '../../core/log.ts'
import { DamagedLog, isDamage, isPassing, isStrange } from './faults.ts'
import { Log, type LogOptions, type Losses } from './log.ts'

/** What a store is made of. */
export interface StoreParts extends LogOptions {
  /** The data folder. */
  folder: string
  /** Milliseconds since the epoch. */
  now: () => number
  logger: Logger
  /** Told of each log that has just been opened, before anybody reads it. */
  onOpen: (log: Log) => void
  /** Told that a damaged log has been set aside, and what readers miss of it; unknown where it was damaged from the start. */
  onDamaged: (losses: Losses | undefined) => void
  /** Told each time that the log cannot be written or read. */
  onFailure: () => void
}

/** What became of an attempt. */
export type Attempt<T> = { ok: true; value: T } | { ok: false }

/** How many damaged logs are kept; older ones go. */
const maxDamagedKept = 2

const fileName = 'spool.db'
const damagedPrefix = 'spool-corrupt-'
const suffixes = ['', '-wal', '-shm'] as const

/**
 * Keeps a log at hand, whatever happens to its file: a damaged one is renamed and a fresh one begun; where the disk is
 * full or gone, work fails and is to be tried again later.
 */
export class Store {
  readonly #parts: StoreParts
  #log: Log | undefined
  #failing = false

  constructor(parts: StoreParts) {
    this.#parts = parts
  }

  /**
   * Opens the log for the first time. A full disk is no reason not to start: events are held in memory until there is room.
   * @throws where the folder can never be used as it is: rights, a read-only file system, somebody else's lock.
   */
  start(): void {
    try {
      this.#open()
    } catch (error) {
      if (!isPassing(error)) throw error
      this.#failed(error)
    }
  }

  /** Works with the log; never throws for what the disk does. */
  attempt<T>(work: (log: Log) => T): Attempt<T> {
    try {
      const value = this.#attempt(work)
      if (this.#failing) this.#parts.logger.info({}, 'spool works again')
      this.#failing = false
      return { ok: true, value }
    } catch (error) {
      this.#failed(error)
      return { ok: false }
    }
  }

  /** Looks at the log, where it is open and can be looked at. */
  peek<T>(look: (log: Log) => T): T | undefined {
    try {
      return this.#log && look(this.#log)
    } catch {
      // The next attempt to work with it says what is wrong.
      return undefined
    }
  }

  close(): void {
    this.#log?.close()
    this.#log = undefined
  }

  #attempt<T>(work: (log: Log) => T): T {
    const log = this.#log ?? this.#open()
    try {
      return work(log)
    } catch (error) {
      if (!isDamage(error)) throw error
      const { unread } = log
      this.close()
      this.#setAside(error, unread)
      return work(this.#open())
    }
  }

  #open(): Log {
    try {
      return this.#adopt(this.#create())
    } catch (error) {
      if (!isDamage(error)) throw error
      this.#setAside(error, undefined)
      return this.#adopt(this.#create())
    }
  }

  #create(): Log {
    try {
      return new Log(join(this.#parts.folder, fileName), this.#parts)
    } catch (error) {
      throw isStrange(error)
        ? new DamagedLog('its tables are not what they should be', { cause: error })
        : error
    }
  }

  #adopt(log: Log): Log {
    try {
      this.#parts.onOpen(log)
    } catch (error) {
      // Open, it would keep the next attempt out.
      log.close()
      throw error
    }
    this.#log = log
    return log
  }

  #setAside(error: unknown, losses: Losses | undefined): void {
    const { folder, logger, now, onDamaged } = this.#parts
    const name = `${damagedPrefix}${new Date(now()).toISOString().replaceAll(/[-:.]/g, '')}.db`
    for (const suffix of suffixes) {
      renameIfThere(join(folder, `${fileName}${suffix}`), join(folder, `${name}${suffix}`))
    }
    forgetOldest(folder)
    onDamaged(losses)
    logger.error(
      { exception: error, kept_as: join(folder, name) },
      'spool damaged: it was set aside, what it held is not delivered, and a fresh one is begun',
    )
  }

  #failed(error: unknown): void {
    const { logger, onFailure } = this.#parts
    onFailure()
    if (!this.#failing) logger.error({ exception: error }, 'spool cannot be written or read; tried again')
    this.#failing = true
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error
  }
}

function forgetOldest(folder: string): void {
  const kept = readdirSync(folder)
    .filter((name) => name.startsWith(damagedPrefix) && name.endsWith('.db'))
    .sort()
  for (const name of kept.slice(0, -maxDamagedKept)) {
    for (const suffix of suffixes) rmSync(join(folder, `${name}${suffix}`), { force: true })
  }
}
