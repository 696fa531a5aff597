import { readFileSync, statSync } from 'node:fs'

/** Gives a secret's current value. */
export type Secret = () => string

/**
 * Follows a secret in a file: reread when the file changes, as mounted Kubernetes secrets do. Where it cannot be read
 * or has become empty, the last good value stays.
 */
export function secretFile(path: string, first: string): Secret {
  let value = first
  let seen = stamp(path)
  return () => {
    const now = stamp(path)
    if (now !== undefined && now !== seen) {
      seen = now
      value = read(path) || value
    }
    return value
  }
}

function stamp(path: string): string | undefined {
  try {
    const { mtimeMs, ino, size } = statSync(path)
    return `${mtimeMs} ${ino} ${size}`
  } catch {
    return undefined
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}
