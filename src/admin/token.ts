import { randomBytes } from 'node:crypto'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Makes a random admin token (256 bits) and writes it to `admin-token` in the data folder, readable by the owner alone,
 * where the CLI finds it. Each start makes a new one.
 */
export function writeAdminToken(dataDir: string): string {
  const token = randomBytes(32).toString('base64url')
  const path = join(dataDir, tokenFile)
  writeFileSync(path, `${token}\n`, { mode: 0o600 })
  chmodSync(path, 0o600)
  return token
}

/** Reads the token that `serve` has written. @returns undefined where there is none. */
export function readAdminToken(dataDir: string): string | undefined {
  try {
    return readFileSync(join(dataDir, tokenFile), 'utf8').trim() || undefined
  } catch {
    return undefined
  }
}

const tokenFile = 'admin-token'
