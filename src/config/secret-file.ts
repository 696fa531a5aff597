import { readFileSync, statSync } from 'node:fs'
import { type Parser, Unfit } from './parsers.ts'

/** Gives a secret's current value. */
export type Secret = () => string

/**
 * Follows a secret in a file: reread when the file changes, as mounted Kubernetes secrets do. Where it cannot be read
 * or no longer does, the last good value stays.
 */
export function secretFile(path: string, first: string, parse: Parser<string>): Secret {
  let value = first
  let seen = stamp(path)
  return () => {
    const now = stamp(path)
    if (now !== undefined && now !== seen) {
      seen = now
      value = read(path, parse) ?? value
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

function read(path: string, parse: Parser<string>): string | undefined {
  try {
    return parse(readFileSync(path, 'utf8').trim())
  } catch (error) {
    if (error instanceof Unfit || (error as { code?: string }).code !== undefined) return undefined
    throw error
  }
}

/** Reads a secret once. @returns undefined where the file cannot be read or is empty. */
export function readSecretFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim() || undefined
  } catch {
    return undefined
  }
}
