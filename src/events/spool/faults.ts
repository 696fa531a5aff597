/** A file that cannot be used as a log, and never will. */
export class DamagedLog extends Error {}

/** Whether the file is broken. */
export function isDamage(error: unknown): boolean {
  return error instanceof DamagedLog || /^SQLITE_(CORRUPT|NOTADB)/.test(codeOf(error))
}

/** Whether the tables are not what they should be: SQLite then finds our statements wrong. */
export function isStrange(error: unknown): boolean {
  return codeOf(error) === 'SQLITE_ERROR'
}

/** Whether it may go by itself: a full disk, a bad sector. */
export function isPassing(error: unknown): boolean {
  return /^(SQLITE_(FULL|IOERR)|ENOSPC$|EIO$)/.test(codeOf(error))
}

/** Whether the disk or the file is at fault, and not what was asked of it. */
export function isOfTheDisk(error: unknown): boolean {
  return isDamage(error) || isPassing(error) || /^SQLITE_(READONLY|CANTOPEN|BUSY)/.test(codeOf(error))
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown }).code)
}
