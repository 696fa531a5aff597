import { readFileSync, statSync } from 'node:fs'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/log.ts'
import { type DocumentResult, maxDocumentBytes } from './document.ts'

/** A file whose content is used as it changes. */
export interface FollowedFile<T> {
  /** The last content that was good. */
  readonly current: T
  /** Looks now, whether or not the file seems changed. @returns the problems that kept the old content; empty if none. */
  reload(): readonly string[]
  close(): void
}

/** Between two looks at a file, in milliseconds. Polled, because mounted Kubernetes files are swapped by symlinks. */
const lookEveryMs = 1_000

/** What following needs beside the file. */
export interface FollowParts<T> {
  read: (name: string, text: string) => DocumentResult<T>
  clock: Clock
  logger: Logger
  /** Told of each new good content. */
  onChange?: (content: T) => void
}

/** Reads a whole file. @returns its problems where it cannot be read, is too large, or does not fit. */
export function readFile<T>(path: string, read: FollowParts<T>['read']): DocumentResult<T> {
  try {
    const { size } = statSync(path)
    if (size > maxDocumentBytes) return problem(`${path}: ${size} bytes are more than ${maxDocumentBytes}`)
    return read(path, readFileSync(path, 'utf8'))
  } catch (error) {
    return problem(
      `${path}: cannot read it: ${(error as { code?: string }).code ?? (error as Error).message}`,
    )
  }
}

function problem(text: string): { kind: 'problems'; problems: string[] } {
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

  function look(): void {
    const now = stamp(path)
    if (now !== seen) reload()
    cancel = clock.after(lookEveryMs, look)
  }

  function reload(): readonly string[] {
    seen = stamp(path)
    const result = readFile(path, read)
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
    close: () => cancel(),
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
