import { readFileSync, statSync } from 'node:fs'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/log.ts'
import { type DocumentResult, maxDocumentBytes } from './document.ts'

/** A file whose content is used as it changes. */
export interface FollowedFile<T> {
  /** The last content that was good. */
  readonly current: T
  /**
   * Looks now, whether or not the file seems changed; while it is being read, once more after that.
   * @returns the problems that kept the old content; empty if none. A promise where the file's reader gives one.
   */
  reload(): readonly string[] | Promise<readonly string[]>
  close(): void
}

/** Between two looks at a file, in milliseconds. Polled, because mounted Kubernetes files are swapped by symlinks. */
const lookEveryMs = 1_000

/** What following needs beside the file. */
export interface FollowParts<T> {
  read: (name: string, text: string) => DocumentResult<T> | Promise<DocumentResult<T>>
  clock: Clock
  logger: Logger
  /** Told of each new good content. */
  onChange?: (content: T) => void
}

type Problems = Extract<DocumentResult<never>, { kind: 'problems' }>

/** Reads a whole file. @returns its problems where it cannot be read, is too large, or does not fit. */
export function readFile<R>(path: string, read: (name: string, text: string) => R): R | Problems {
  try {
    const { size } = statSync(path)
    if (size > maxDocumentBytes) return problem(`${path}: ${size} bytes are more than ${maxDocumentBytes}`)
    return read(path, readFileSync(path, 'utf8'))
  } catch (error) {
    return unreadable(path, error)
  }
}

function unreadable(path: string, error: unknown): Problems {
  return problem(`${path}: cannot read it: ${(error as { code?: string }).code ?? (error as Error).message}`)
}

function problem(text: string): Problems {
  return { kind: 'problems', problems: [text] }
}

/** Follows a file from a first good content on. A bad new one is logged, once, and the old stays. */
export function followFile<T>(
  path: string,
  first: T,
  { read, clock, logger, onChange }: FollowParts<T>,
): FollowedFile<T> {
  let current = first
  let seen = stamp(path)
  let cancel = clock.after(lookEveryMs, look)
  let reading: Promise<readonly string[]> | undefined
  let rereading: Promise<readonly string[]> | undefined
  let closed = false

  function look(): void {
    const now = stamp(path)
    if (now !== seen) void reload()
    cancel = clock.after(lookEveryMs, look)
  }

  /** At most one reading is under way, and one more is to follow it. */
  function reload(): readonly string[] | Promise<readonly string[]> {
    if (reading) {
      rereading ??= reading.then(() => {
        rereading = undefined
        return reload()
      })
      return rereading
    }
    seen = stamp(path)
    const result = readFile(path, read)
    if (!(result instanceof Promise)) return take(result)
    reading = result
      .catch((error: unknown) => unreadable(path, error))
      .then(take)
      .finally(() => {
        reading = undefined
      })
    return reading
  }

  function take(result: DocumentResult<T>): readonly string[] {
    if (closed) return []
    if (result.kind === 'problems') {
      logger.error({ path, problems: result.problems }, 'file not reloaded, its last good content stays')
      return result.problems
    }
    current = result.value
    logger.info({ path }, 'file reloaded')
    onChange?.(current)
    return []
  }

  return {
    get current() {
      return current
    },
    reload,
    close() {
      closed = true
      cancel()
    },
  }
}

function stamp(path: string): string {
  try {
    const { mtimeMs, ino, size } = statSync(path)
    return `${mtimeMs} ${ino} ${size}`
  } catch {
    return 'missing'
  }
}
