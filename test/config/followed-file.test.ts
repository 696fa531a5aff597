import { rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { type DocumentResult, maxDocumentBytes } from '../../src/config/document.ts'
import { followFile, readFile } from '../../src/config/followed-file.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { createLogLines } from '../support/log-lines.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'

let folder: TempFolder
let path: string
beforeEach(async () => {
  folder = await tempFolder('followed')
  path = join(folder.path, 'file')
})
afterEach(() => folder.remove())

/** Reads any text but one that is bad. */
function read(name: string, text: string): DocumentResult<string> {
  return text.startsWith('bad')
    ? { kind: 'problems', problems: [`${name}:1:1: ${text}`] }
    : { kind: 'document', value: text }
}

function follow(first: string) {
  const clock = new FakeClock()
  const { logger, lines } = createLogLines()
  const changes: string[] = []
  const file = followFile(path, first, { read, clock, logger, onChange: (text) => changes.push(text) })
  return {
    file,
    clock,
    changes,
    told: () => lines.map(({ level, message }) => `${level}: ${message}`),
    lines,
  }
}

/** Follows with a reader that answers when it is told to. */
function followSlowly() {
  const { logger, lines } = createLogLines()
  const answers: ((answer: string | Error) => void)[] = []
  const readSlowly = () => {
    const { promise, resolve, reject } = Promise.withResolvers<DocumentResult<string>>()
    answers.push((answer) =>
      answer instanceof Error ? reject(answer) : resolve({ kind: 'document', value: answer }),
    )
    return promise
  }
  const file = followFile(path, 'first', { read: readSlowly, clock: new FakeClock(), logger })
  return { file, answers, told: () => lines.map(({ level, message }) => `${level}: ${message}`) }
}

/** Puts another file in its place, as editors and Kubernetes do. */
async function replace(text: string): Promise<void> {
  await writeFile(`${path}.new`, text)
  await rename(`${path}.new`, path)
}

describe('a file that is followed', () => {
  test('is taken up within a second of its change', async () => {
    await writeFile(path, 'one')
    const { file, clock, changes, told } = follow('one')
    await replace('two')

    await clock.advance(999)
    const before = file.current
    await clock.advance(1)

    expect([before, file.current]).toEqual(['one', 'two'])
    expect(changes).toEqual(['two'])
    expect(told()).toEqual(['info: file reloaded'])
  })

  test('is read only when it has changed', async () => {
    await writeFile(path, 'one')
    const { clock, changes, told } = follow('one')

    await clock.advance(60_000)

    expect(changes).toEqual([])
    expect(told()).toEqual([])
  })

  test('is told from another one of the same size in its place', async () => {
    await writeFile(path, 'one')
    const { file, clock } = follow('one')

    await replace('two')
    await clock.advance(1_000)

    expect(file.current).toBe('two')
  })

  test('is followed through the symlinks that Kubernetes swaps', async () => {
    await writeFile(join(folder.path, 'v1'), 'one')
    await writeFile(join(folder.path, 'v2'), 'two')
    await symlink('v1', path)
    const { file, clock } = follow('one')

    await symlink('v2', `${path}.new`)
    await rename(`${path}.new`, path)
    await clock.advance(1_000)

    expect(file.current).toBe('two')
  })

  test.each([
    ['is bad', () => replace('bad colour'), (name: string) => `${name}:1:1: bad colour`],
    ['is gone', () => rm(path), (name: string) => `${name}: cannot read it: ENOENT`],
    ['is too large', () => truncate(path, maxDocumentBytes + 1), () => 'are more than'],
  ])('keeps its last good content where it %s, and says so once', async (_what, change, problem) => {
    await writeFile(path, 'one')
    const { file, clock, changes, told, lines } = follow('one')

    await change()
    await clock.advance(10_000)

    expect(file.current).toBe('one')
    expect(changes).toEqual([])
    expect(told()).toEqual(['error: file not reloaded, its last good content stays'])
    expect(lines[0]?.fields).toEqual({ path, problems: [expect.stringContaining(problem(path))] })
  })

  test('is taken up again once it is mended', async () => {
    await writeFile(path, 'one')
    const { file, clock, changes } = follow('one')
    await replace('bad')
    await clock.advance(1_000)

    await replace('three')
    await clock.advance(1_000)

    expect(file.current).toBe('three')
    expect(changes).toEqual(['three'])
  })

  test('is taken up once it comes back', async () => {
    const { file, clock } = follow('one')

    await writeFile(path, 'two')
    await clock.advance(1_000)

    expect(file.current).toBe('two')
  })

  test('is looked at when asked, changed or not, and tells its problems', async () => {
    await writeFile(path, 'bad')
    const { file } = follow('one')

    const problems = file.reload()
    await replace('two')
    const none = file.reload()

    expect(problems).toEqual([`${path}:1:1: bad`])
    expect([none, file.current]).toEqual([[], 'two'])
  })

  test('whose reader takes its time is read by one at a time, and once more for all who asked meanwhile', async () => {
    await writeFile(path, 'one')
    const { file, answers, told } = followSlowly()

    const first = file.reload()
    const others = [file.reload(), file.reload()]
    const askedAtOnce = answers.length
    answers[0]?.('two')
    await first
    answers[1]?.('three')
    await Promise.all(others)

    expect([askedAtOnce, answers.length, file.current]).toEqual([1, 2, 'three'])
    expect(told()).toEqual(['info: file reloaded', 'info: file reloaded'])
  })

  test('whose reader fails keeps its last good content', async () => {
    await writeFile(path, 'one')
    const { file, answers } = followSlowly()

    const problems = file.reload()
    answers[0]?.(new Error('the thread is gone'))

    expect(await problems).toEqual([`${path}: cannot read it: the thread is gone`])
    expect(file.current).toBe('first')
  })

  test('whose reader answers after the end is left as it was', async () => {
    await writeFile(path, 'one')
    const { file, answers, told } = followSlowly()

    const reading = file.reload()
    file.close()
    answers[0]?.('two')

    expect([await reading, file.current, told()]).toEqual([[], 'first', []])
  })

  test('is left alone after the end', async () => {
    await writeFile(path, 'one')
    const { file, clock } = follow('one')

    file.close()
    await replace('two')
    await clock.advance(10_000)

    expect(file.current).toBe('one')
    expect(clock.pending).toEqual([])
  })
})

describe('reading a file once', () => {
  test('gives what it holds', async () => {
    await writeFile(path, 'one')

    expect(readFile(path, read)).toEqual({ kind: 'document', value: 'one' })
  })

  test.each([
    ['that is not there', 'none', 'ENOENT'],
    ['that is a folder', '.', 'EISDIR'],
  ])('says what is wrong with one %s', (_what, name, code) => {
    const wrong = join(folder.path, name)

    expect(readFile(wrong, read)).toEqual({
      kind: 'problems',
      problems: [`${wrong}: cannot read it: ${code}`],
    })
  })
})
