import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { writeAdminToken } from '../../src/admin/token.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'

let folder: TempFolder
beforeEach(async () => {
  folder = await tempFolder('token')
})
afterEach(() => folder.remove())

test('is 256 random bits, in a file that its owner alone can read', () => {
  const token = writeAdminToken(folder.path)

  const path = join(folder.path, 'admin-token')
  expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/)
  expect(readFileSync(path, 'utf8')).toBe(`${token}\n`)
  expect(statSync(path).mode & 0o777).toBe(0o600)
})

test('is another one at each start', () => {
  expect(writeAdminToken(folder.path)).not.toBe(writeAdminToken(folder.path))
})

test('takes away rights that an earlier file gave to others', () => {
  const path = join(folder.path, 'admin-token')
  writeFileSync(path, 'older', { mode: 0o644 })

  writeAdminToken(folder.path)

  expect(statSync(path).mode & 0o777).toBe(0o600)
})
