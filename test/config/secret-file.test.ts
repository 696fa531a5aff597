import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { longSecret } from '../../src/config/parsers.ts'
import { secretFile } from '../../src/config/secret-file.ts'
import { tempFolder } from '../support/temp.ts'

const first = 'first-secret-0001'
const second = 'second-secret-002'

test('gives a new value as soon as another file is put in its place, as Kubernetes does', async () => {
  await using folder = await tempFolder('secret')
  const path = join(folder.path, 'token')
  await writeFile(path, first)
  const secret = secretFile(path, first, longSecret)

  // The same size and within the same tick of the clock: only the file's identity tells.
  await writeFile(`${path}.new`, second)
  await rename(`${path}.new`, path)

  expect(secret()).toBe(second)
})

test.each([
  ['is gone', (path: string) => rm(path)],
  ['has become empty', (path: string) => writeFile(path, ' \n')],
  ['holds less than a secret', (path: string) => writeFile(path, 'short')],
])('keeps the last good value when the file %s', async (_what, change) => {
  await using folder = await tempFolder('secret')
  const path = join(folder.path, 'token')
  await writeFile(path, first)
  const secret = secretFile(path, first, longSecret)

  await change(path)

  expect(secret()).toBe(first)
})

test('takes up a file that comes back', async () => {
  await using folder = await tempFolder('secret')
  const path = join(folder.path, 'token')
  const secret = secretFile(path, first, longSecret)

  await writeFile(path, `${second}\n`)

  expect(secret()).toBe(second)
})
