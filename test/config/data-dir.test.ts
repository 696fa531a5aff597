import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { DataDirUnavailable, openDataDir } from '../../src/config/data-dir.ts'
import { RunningProcess } from '../support/process.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'

const source = fileURLToPath(new URL('../../src/config/data-dir.ts', import.meta.url))

let folder: TempFolder
beforeEach(async () => {
  folder = await tempFolder('data-dir')
})
afterEach(() => folder.remove())

/** Another process that holds the data folder until it is ended. */
async function holder(path: string): Promise<RunningProcess> {
  const script = `
    import { openDataDir } from ${JSON.stringify(source)}
    globalThis.held = openDataDir(${JSON.stringify(path)})
    console.log('held')
    setInterval(() => {}, 1000)`
  const other = new RunningProcess({
    name: 'holder',
    command: process.execPath,
    args: ['--input-type=module-typescript', '-e', script],
  })
  await other.line((line) => line === 'held')
  return other
}

test('is made where it is missing, for its owner alone', () => {
  const path = join(folder.path, 'deep', 'data')

  const dataDir = openDataDir(path)

  dataDir.close()
  expect(dataDir.path).toBe(path)
  expect(statSync(path).mode & 0o777).toBe(0o700)
})

test('can be had again once it was closed', () => {
  openDataDir(folder.path).close()

  expect(() => openDataDir(folder.path).close()).not.toThrow()
})

test('is refused while another process holds it, and the refusal says so', async () => {
  await using _other = await holder(folder.path)

  expect(() => openDataDir(folder.path)).toThrow(
    `GATEPOST_DATA_DIR: cannot use "${folder.path}": another process of Gatepost uses it`,
  )
})

test('is taken over from a process that was killed', async () => {
  await using other = await holder(folder.path)
  other.signal('SIGKILL')
  await other.ended

  const dataDir = openDataDir(folder.path)

  dataDir.close()
  expect(existsSync(join(folder.path, 'lock'))).toBe(true)
})

test.each([
  ['its place is taken by a file', (path: string) => writeFileSync(path, ''), 'EEXIST'],
  ['a parent is a file', (path: string) => writeFileSync(join(path, '..', 'parent'), ''), 'ENOTDIR'],
  [
    'its lock is a folder',
    (path: string) => mkdirSync(join(path, 'lock'), { recursive: true }),
    'unable to open',
  ],
  ['its lock is no such file', (path: string) => strangeLock(path), 'file is not a database'],
])('is refused where %s, with the reason', (what, prepare, reason) => {
  const path = join(folder.path, what === 'a parent is a file' ? 'parent/data' : 'data')
  prepare(join(folder.path, 'data'))

  const open = () => openDataDir(path)

  expect(open).toThrow(DataDirUnavailable)
  expect(open).toThrow(reason)
})

function strangeLock(path: string): void {
  mkdirSync(path)
  writeFileSync(
    join(path, 'lock'),
    'not a database, and long enough to be looked at as if it were one'.repeat(20),
  )
}
