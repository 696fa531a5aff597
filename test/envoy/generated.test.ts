import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from '@jest/globals'
import { generate } from '../../scripts/generate.ts'

const committed = fileURLToPath(new URL('../../src/envoy/gen', import.meta.url))
const fresh = mkdtempSync(join(tmpdir(), 'gatepost-gen-'))

afterAll(() => rmSync(fresh, { recursive: true, force: true }))

test('the committed types are what `npm run generate` writes now', () => {
  const files = generate(fresh)

  expect(files.length).toBeGreaterThan(10)
  expect(
    globSync('**/*', { cwd: committed, withFileTypes: true }).filter((entry) => entry.isFile()),
  ).toHaveLength(files.length)
  for (const file of files) {
    expect({ file, text: readFileSync(join(committed, file), 'utf8') }).toEqual({
      file,
      text: readFileSync(join(fresh, file), 'utf8'),
    })
  }
})
