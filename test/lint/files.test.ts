import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { parseFile } from '../../src/lint/document.ts'
import { readFiles } from '../../src/lint/files.ts'

const folder = mkdtempSync(join(tmpdir(), 'gatepost-lint-'))

beforeAll(() => {
  for (const sub of ['b/c', '.git', 'node_modules']) mkdirSync(join(folder, sub), { recursive: true })
  for (const name of ['z.yaml', 'b/a.yml', 'b/c/d.json', 'b/e.txt', '.git/f.yaml', 'node_modules/g.yaml'])
    writeFileSync(join(folder, name), name)
  symlinkSync(folder, join(folder, 'b/around'))
  writeFileSync(join(folder, 'large'), '')
  truncateSync(join(folder, 'large'), 64 * 1024 * 1024 * 1024)
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function named(...names: string[]): string[] {
  return names.map((name) => join(folder, name))
}

async function read(names: readonly string[], stdin = '') {
  return readFiles(names, Readable.from([Buffer.from(stdin)]))
}

test('a folder stands for the YAML and JSON files in and below it, sorted, hidden ones and links left out', async () => {
  const { files, problems } = await read([folder])

  expect(files.map(({ name }) => name)).toEqual(named('b/a.yml', 'b/c/d.json', 'z.yaml'))
  expect(files[0]?.text).toBe('b/a.yml')
  expect(problems).toEqual([])
})

test('a file that is named is read whatever it is called, and once', async () => {
  const { files } = await read([...named('b/e.txt', 'z.yaml', 'b/e.txt'), folder])

  expect(files.map(({ name }) => name)).toEqual(named('b/e.txt', 'z.yaml', 'b/a.yml', 'b/c/d.json'))
})

test('- is standard input', async () => {
  expect(await read(['-'], 'a: 1')).toEqual({ files: [{ name: '-', text: 'a: 1' }], problems: [] })
})

test('what cannot be read is a problem, and the others are read', async () => {
  const { files, problems } = await read(named('none.yaml', 'z.yaml', 'z.yaml/a'))

  expect(files).toHaveLength(1)
  expect(problems).toEqual([
    { file: join(folder, 'none.yaml'), message: 'cannot be read: there is no such file' },
    { file: join(folder, 'z.yaml/a'), message: 'cannot be read: there is no such file' },
  ])
})

test('of a file of 64 GiB no more is read than tells that it is too large', async () => {
  const [file] = (await read(named('large'))).files

  expect(parseFile('large', file?.text ?? '').problems).toMatchObject([{ message: 'is larger than 2 MiB' }])
})
