import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { fileKeyStore } from '../../src/auth/key-store.ts'
import { createLogLines, type LogLines } from '../support/log-lines.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'

const issuer = 'https://login.example.com/'
const kept = { fetchedAtMs: 1_900_000_000_000, jwks: { keys: [{ kty: 'RSA', n: 'AQ', e: 'AQAB' }] } }

let folder: TempFolder
let log: LogLines

beforeEach(async () => {
  folder = await tempFolder('key-store')
  log = createLogLines()
})

afterEach(() => folder.remove())

const storeOf = (name: string) => fileKeyStore(folder.path, name, log.logger)

async function onlyFile(): Promise<string> {
  const [name = ''] = await readdir(join(folder.path, 'jwks'))
  return join(folder.path, 'jwks', name)
}

test('what is saved can be loaded by a later process', () => {
  storeOf(issuer).save(kept)

  expect(storeOf(issuer).load()).toEqual(kept)
  expect(log.lines).toEqual([])
})

test('nothing kept yet is nothing to load, and no warning', () => {
  expect(storeOf(issuer).load()).toBeUndefined()
  expect(log.lines).toEqual([])
})

test('each issuer has a file of its own, whose name tells nothing of the issuer', async () => {
  storeOf(issuer).save(kept)
  storeOf('https://login.example.com').save({ ...kept, fetchedAtMs: 1 })

  const files = await readdir(join(folder.path, 'jwks'))

  expect(files).toHaveLength(2)
  expect(files.filter((name) => !/^[0-9a-f]{32}\.json$/.test(name))).toEqual([])
  expect(storeOf(issuer).load()).toEqual(kept)
})

test('only its owner can read the file', async () => {
  storeOf(issuer).save(kept)

  const { mode } = await stat(await onlyFile())

  expect((mode & 0o777).toString(8)).toBe('600')
})

test('saving again replaces the file in one step and leaves nothing half-written', async () => {
  storeOf(issuer).save(kept)
  storeOf(issuer).save({ ...kept, fetchedAtMs: 2 })

  expect(await readdir(join(folder.path, 'jwks'))).toHaveLength(1)
  expect(storeOf(issuer).load()?.fetchedAtMs).toBe(2)
})

test.each([
  ['cut off', (text: string) => text.slice(0, 20)],
  ['empty', () => ''],
  ['null', () => 'null'],
  ['a list', () => '[]'],
  ['of another issuer', (text: string) => text.replace(issuer, 'https://evil.example/')],
  ['without a time', (text: string) => text.replace('fetchedAtMs', 'fetched')],
  ['with a time in words', (text: string) => text.replace('1900000000000', '"now"')],
])('a file that is %s is a warning and nothing else', async (_what, spoil) => {
  storeOf(issuer).save(kept)
  const path = await onlyFile()
  await writeFile(path, spoil(await readFile(path, 'utf8')))

  const loaded = storeOf(issuer).load()

  expect(loaded).toBeUndefined()
  expect(log.lines.map(({ level, message }) => [level, message])).toEqual([
    ['warn', 'kept issuer keys unreadable'],
  ])
})

test('a place that cannot be written is a warning and nothing else', async () => {
  await writeFile(join(folder.path, 'jwks'), 'in the way')

  storeOf(issuer).save(kept)

  expect(log.lines.map(({ level, message }) => [level, message])).toEqual([['warn', 'issuer keys not kept']])
})

test('a file that cannot be read is a warning and nothing else', async () => {
  storeOf(issuer).save(kept)
  const elsewhere = join(folder.path, 'elsewhere')
  await mkdir(join(elsewhere, 'jwks', basename(await onlyFile())), { recursive: true })

  const loaded = fileKeyStore(elsewhere, issuer, log.logger).load()

  expect(loaded).toBeUndefined()
  expect(log.lines).toMatchObject([{ level: 'warn', fields: { exception: { code: 'EISDIR' } } }])
})
