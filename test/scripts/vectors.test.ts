import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { bearerErrors } from '../../scripts/vectors/bearer-errors.ts'
import { outcomeOf, type Report, unless, type VectorSet } from '../../scripts/vectors/report.ts'
import { runVectors } from '../../scripts/vectors/run.ts'
import { runCommand } from '../support/command.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'

const script = fileURLToPath(new URL('../../scripts/vectors.ts', import.meta.url))

let folder: TempFolder

beforeEach(async () => {
  folder = await tempFolder('vectors')
})

afterEach(() => folder.remove())

const keep = (name: string, text = '{}') => writeFile(join(folder.path, name), text)

/** Runs the sets and returns what was printed. */
async function linesOf(...sets: VectorSet[]): Promise<string[]> {
  const lines: string[] = []
  await runVectors(folder.path, sets, (line) => lines.push(line))
  return lines
}

function setOf(entry: string, report: Report): VectorSet {
  return { entry, run: () => Promise.resolve(report) }
}

test('tells each file with its failures, and the sum last', async () => {
  await Promise.all(['a.json', 'b.json'].map((name) => keep(name)))

  const lines = await linesOf(
    setOf('a.json', { outcomes: [{ name: 'one' }, { name: 'two', problem: 'got 1, expected 2' }] }),
    setOf('b.json', { outcomes: [{ name: 'three' }] }),
  )

  expect(lines).toEqual([
    'a.json: 1 passed, 1 failed',
    '  failed: two: got 1, expected 2',
    'b.json: 1 passed, 0 failed',
    '2 passed, 1 failed',
  ])
})

test('names what was left out, and what nothing reads yet', async () => {
  await Promise.all(['a.json', 'z.json', 'b.json'].map((name) => keep(name)))

  const lines = await linesOf(
    setOf('a.json', {
      outcomes: [{ name: 'one' }],
      leftOut: [{ name: 'two', why: 'DPoP' }],
      unused: ['deep/c.json'],
    }),
  )

  expect(lines).toEqual([
    'a.json: 1 passed, 0 failed, 1 left out',
    '  left out: two (DPoP)',
    'not used yet: a.json/deep/c.json',
    'not used yet: b.json',
    'not used yet: z.json',
    '1 passed, 0 failed',
  ])
})

describe('counts as a failure', () => {
  test('a file that is not there', async () => {
    const lines = await linesOf(setOf('a.json', { outcomes: [] }))

    expect(lines).toEqual([
      `a.json: Cannot run these vectors: ${folder.path} has no a.json`,
      '0 passed, 1 failed',
    ])
  })

  test('a file without vectors, which has proven nothing', async () => {
    await keep('a.json')

    const lines = await linesOf(setOf('a.json', { outcomes: [] }))

    expect(lines.at(-1)).toBe('0 passed, 1 failed')
  })

  test('a file that cannot be read', async () => {
    await keep(bearerErrors.entry, '{"cases":[')

    const lines = await linesOf(bearerErrors)

    expect(lines[0]).toMatch(/^auth0-bearer-errors\.json: Cannot run these vectors: SyntaxError/)
    expect(lines.at(-1)).toBe('0 passed, 1 failed')
  })

  test('a vector that says otherwise than we do, and one that nothing is known of', async () => {
    const cases = [
      {
        name: 'should raise an Unauthorized error',
        status: 401,
        wwwAuthenticate: 'Bearer realm="other"',
      },
      { name: 'should be new', status: 401, wwwAuthenticate: 'Bearer realm="api"' },
    ]
    await keep(bearerErrors.entry, JSON.stringify({ cases }))

    const lines = await linesOf(bearerErrors)

    expect(lines.slice(1)).toEqual([
      String.raw`  failed: should raise an Unauthorized error: got "Bearer realm=\"api\"", expected "Bearer realm=\"other\""`,
      '  failed: should be new: nothing is known of this row',
      '0 passed, 2 failed',
    ])
  })
})

test('a check that throws has failed, with what it threw', async () => {
  const outcome = await outcomeOf('one', () => Promise.reject(new Error('no key')))

  expect(outcome).toEqual({ name: 'one', problem: 'threw Error: no key' })
})

test('what is as expected is no problem', () => {
  expect(unless('a', 'a')).toBeUndefined()
  expect(unless('a', undefined)).toBe('got "a", expected undefined')
})

describe('the command', () => {
  test.each([
    ['without a folder', []],
    ['with two', ['a', 'b']],
    ['with one that is not there', ['not-there']],
    ['with a file', [script]],
  ])('%s ends with 64 and a word on stderr', async (_what, args) => {
    const { code, stdout, stderr } = await runCommand([script, ...args])

    expect({ code, stdout }).toEqual({ code: 64, stdout: '' })
    expect(stderr).toMatch(/^(Usage: npm run test:vectors -- DIR|Cannot run the vectors: ".*" is no folder)/)
  })

  test('with a folder that lacks vectors names each, and ends with 1', async () => {
    const { code, stdout } = await runCommand([script, folder.path])

    expect(code).toBe(1)
    expect(stdout).toContain(`jose-cookbook: Cannot run these vectors: ${folder.path} has no jose-cookbook\n`)
    expect(stdout.trimEnd().split('\n').at(-1)).toMatch(/^0 passed, \d+ failed$/)
  })
})
