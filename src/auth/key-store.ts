import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '../core/log.ts'
import type { KeyStore, StoredKeys } from './key-set.ts'

/**
 * Keeps the last good JWKS of one issuer as a file in the data folder, so that a restart during the issuer's outage
 * still knows its keys. A file that cannot be read or written is a warning.
 * @param issuer the exact name of the issuer; its hash is the file's name.
 */
export function fileKeyStore(dataDir: string, issuer: string, logger: Logger): KeyStore {
  const folder = join(dataDir, 'jwks')
  const path = join(folder, `${createHash('sha256').update(issuer).digest('hex').slice(0, 32)}.json`)
  return {
    load() {
      try {
        return readStored(JSON.parse(readFileSync(path, 'utf8')), issuer)
      } catch (error) {
        if ((error as { code?: string }).code !== 'ENOENT')
          logger.warn({ exception: error }, 'kept issuer keys unreadable')
        return undefined
      }
    },
    save(keys) {
      try {
        mkdirSync(folder, { recursive: true, mode: 0o700 })
        writeFileSync(`${path}.new`, JSON.stringify({ issuer, ...keys }), { mode: 0o600 })
        renameSync(`${path}.new`, path)
      } catch (error) {
        logger.warn({ exception: error }, 'issuer keys not kept')
      }
    },
  }
}

function readStored(document: unknown, issuer: string): StoredKeys {
  const { issuer: named, fetchedAtMs, jwks } = document as Partial<StoredKeys> & { issuer?: unknown }
  if (named !== issuer || typeof fetchedAtMs !== 'number') {
    throw new Error(`Cannot use the kept keys of ${issuer}: the file is not its own`)
  }
  return { fetchedAtMs, jwks }
}
