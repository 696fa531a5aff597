import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { CannotStart } from '../core/cannot-start.ts'

/** The folder that Gatepost keeps things in, held by this process alone until it is closed. */
export interface DataDir {
  path: string
  close(): void
}

/** A data folder that cannot be had; its message says what to do. */
export class DataDirUnavailable extends CannotStart {
  constructor(path: string, why: string, cause: unknown) {
    super(`GATEPOST_DATA_DIR: cannot use ${JSON.stringify(path)}: ${why}`, cause)
    this.name = 'DataDirUnavailable'
  }
}

const sqliteBusy = 5

/**
 * Makes the folder (mode 0700) and locks it. The lock is the kernel's, on a file that SQLite opens: it ends with its
 * owner, however that died, and holds across the PID namespaces of containers that share the folder.
 * @throws DataDirUnavailable
 */
export function openDataDir(path: string): DataDir {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    const lock = new DatabaseSync(join(path, 'lock'), { timeout: 0 })
    lock.exec('BEGIN EXCLUSIVE')
    return { path, close: () => lock.close() }
  } catch (error) {
    const { errcode, code, message } = error as { errcode?: number; code?: string; message: string }
    if (errcode === sqliteBusy)
      throw new DataDirUnavailable(path, 'another process of Gatepost uses it', error)
    throw new DataDirUnavailable(path, code === 'ERR_SQLITE_ERROR' ? message : (code ?? message), error)
  }
}
