import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import Database from 'better-sqlite3'
import type { Log, Losses } from '../../../src/events/spool/log.ts'
import { Store } from '../../../src/events/spool/store.ts'
import { createLogLines, type LogLines } from '../../support/log-lines.ts'
import { mountSmallDisk } from '../../support/small-disk.ts'
import { batchOf, batchOfIds, idsOf, makeEvent } from '../../support/spool.ts'
import { type TempFolder, tempFolder } from '../../support/temp.ts'

const limits = { maxEvents: 500, maxCharacters: 512 * 1024 }

let folder: TempFolder
let lines: LogLines
let nowMs: number
let damaged: (Losses | undefined)[]
let failures: number
let opened: Log[]
/** What somebody does to each log that was opened. */
let prepare: (log: Log) => void
let store: Store
beforeEach(async () => {
  folder = await tempFolder('store')
  lines = createLogLines()
  nowMs = Date.UTC(2030, 0, 1)
  damaged = []
  failures = 0
  opened = []
  prepare = () => undefined
  store = create()
})
afterEach(async () => {
  store.close()
  await folder.remove()
})

function create(path = folder.path): Store {
  return new Store({
    folder: path,
    maxBytes: 64 * 1024 * 1024,
    sync: 'normal',
    readers: ['kafka'],
    now: () => nowMs,
    logger: lines.logger,
    onOpen(log) {
      opened.push(log)
      prepare(log)
    },
    onDamaged: (losses) => damaged.push(losses),
    onFailure: () => {
      failures += 1
    },
  })
}

function append(...ids: string[]): boolean {
  return store.attempt((log) => log.append(batchOfIds(...ids), nowMs)).ok
}

function take(): string[] | undefined {
  const taken = store.attempt((log) => log.take('kafka', limits))
  return taken.ok ? idsOf(taken.value?.events) : undefined
}

function file(): string {
  return join(folder.path, 'spool.db')
}

/** Writes nonsense into the file while it is closed. */
function scribble(fromByte: number, bytes: number): void {
  const handle = openSync(file(), 'r+')
  writeSync(handle, Buffer.alloc(bytes, 0xa5), 0, bytes, fromByte)
  closeSync(handle)
}

function damagedFiles(): string[] {
  return readdirSync(folder.path).filter((name) => name.startsWith('spool-corrupt-') && name.endsWith('.db'))
}

describe('a damaged file', () => {
  test.each([
    [
      'no database at all',
      () => writeFileSync(file(), 'no database, and long enough to be looked at'.repeat(50)),
    ],
    ['nonsense in its first page', () => scribble(100, 2_000)],
    ['nonsense in its tables', () => scribble(4_096, statSync(file()).size - 4_096)],
    ['an end that is missing', () => truncateSync(file(), statSync(file()).size - 3 * 4_096)],
    ['other tables', () => exec('DROP TABLE log; CREATE TABLE log (x)')],
    ['a table less', () => exec('DROP TABLE readers')],
    ['the version of another Gatepost', () => exec('PRAGMA user_version = 9')],
  ])('is set aside at the start and a fresh one begun: %s', (_what, damage) => {
    store.start()
    for (let at = 0; at < 50; at++) append(`${at}`)
    store.close()
    damage()
    store = create()

    store.start()

    expect(append('new')).toBe(true)
    expect(take()).toEqual(['new'])
    expect(damagedFiles()).toEqual(['spool-corrupt-20300101T000000000Z.db'])
    expect(damaged).toEqual([undefined])
    expect(lines.lines).toContainEqual(
      expect.objectContaining({
        level: 'error',
        fields: expect.objectContaining({
          kept_as: join(folder.path, 'spool-corrupt-20300101T000000000Z.db'),
        }),
      }),
    )
  })

  test('that is found out at work costs what nobody has read, and that is told by type', () => {
    store.start()
    for (let at = 0; at < 200; at++)
      store.attempt((log) =>
        log.append(batchOf(makeEvent('auth.failed'), makeEvent(undefined, undefined, 9_000)), nowMs),
      )
    store.attempt((log) => log.checkpoint())
    const before = take()?.length ?? 0
    store.close()
    store = create()
    store.start()
    scribble(4_096 * 4, statSync(file()).size - 4_096 * 4)

    const found = take()
    append('new')

    expect(before).toBeGreaterThan(0)
    expect(found).toEqual([])
    expect(take()).toEqual(['new'])
    expect(damaged).toEqual([new Map([['kafka', { 'auth.failed': 200, 'request.completed': 200 }]])])
  })

  test('is kept for whoever wants to look at it, but not more than two of them', () => {
    for (let at = 0; at < 4; at++) {
      writeFileSync(file(), `${at} is no database, and long enough to be looked at`.repeat(50))
      store.start()
      store.close()
      nowMs += 1_000
    }

    expect(damagedFiles()).toEqual([
      'spool-corrupt-20300101T000002000Z.db',
      'spool-corrupt-20300101T000003000Z.db',
    ])
    expect(readFileSync(join(folder.path, damagedFiles()[1] ?? ''), 'utf8')).toMatch(/^3 is no database/)
  })

  test('goes with what belongs to it', () => {
    const earlier = ['1', '2'].map((day) => `spool-corrupt-2029010${day}T000000000Z.db`)
    for (const name of earlier.flatMap((name) => [name, `${name}-wal`]))
      writeFileSync(join(folder.path, name), '')
    writeFileSync(file(), 'no database, and long enough to be looked at'.repeat(50))

    store.start()

    const [oldest = '', newer] = earlier
    expect(damagedFiles()).toEqual([newer, 'spool-corrupt-20300101T000000000Z.db'])
    expect(readdirSync(folder.path).filter((name) => name.startsWith(oldest))).toEqual([])
  })

  test('each fresh log is told of before anybody works with it', () => {
    writeFileSync(file(), 'no database, and long enough to be looked at'.repeat(50))

    store.start()

    expect(opened).toHaveLength(1)
  })

  function exec(sql: string): void {
    const database = new Database(file())
    database.exec(sql)
    database.close()
  }
})

test('a mistake of somebody who prepares tables costs no log, and keeps nobody out', () => {
  store.start()
  append('a')
  store.close()
  prepare = (log) => log.prepare((database) => database.exec('CREATE NONSENSE'))
  store = create()

  expect(() => store.start()).toThrow('syntax error')
  prepare = () => undefined
  store.start()

  expect(take()).toEqual(['a'])
  expect(damagedFiles()).toEqual([])
})

describe('a folder that cannot be used', () => {
  test.each([
    ['does not exist', () => join(folder.path, 'missing'), /^ENOENT: no such file or directory/],
    ['has a folder in place of the file', () => folderInPlace(), /^EISDIR/],
  ])('is an error at the start: it %s', (_what, prepare, message) => {
    store = create(prepare())

    expect(() => store.start()).toThrow(message)
  })

  test('is an error at the start: it is read-only', async () => {
    await using disk = await mountSmallDisk('4m')
    disk.remount('ro')
    store = create(disk.path)

    expect(() => store.start()).toThrow(/^EROFS: read-only file system/)
  })

  test('is an error at the start: somebody else has the file open', () => {
    const other = new Database(file())
    other.exec('BEGIN EXCLUSIVE')

    expect(() => store.start()).toThrow('locked')
    other.close()
  })

  function folderInPlace(): string {
    mkdirSync(file())
    return folder.path
  }
})

describe('a full disk', () => {
  test('fails what is tried, once told, and works again by itself when there is room', async () => {
    await using disk = await mountSmallDisk('4m')
    store = create(disk.path)
    store.start()
    append('before')
    disk.fill()

    const meanwhile = Array.from({ length: 200 }, (_, at) => append(`${at}`))
    disk.free()
    const after = append('after')

    expect(meanwhile.at(-1)).toBe(false)
    expect(after).toBe(true)
    expect(failures).toBe(meanwhile.filter((ok) => !ok).length)
    expect(lines.lines.map(({ level }) => level)).toEqual(['error', 'info'])
    const kept = meanwhile.flatMap((ok, at) => (ok ? [`${at}`] : []))
    expect(take()).toEqual(['before', ...kept, 'after'])
  })

  test('is no reason not to start', async () => {
    await using disk = await mountSmallDisk('4m')
    disk.fill()
    store = create(disk.path)

    store.start()

    expect(append('a')).toBe(false)
    disk.free()
    expect(append('b')).toBe(true)
    expect(take()).toEqual(['b'])
  })

  test('is not filled by the log itself: what does not fit drops the oldest, exactly counted', async () => {
    await using disk = await mountSmallDisk('2m')
    store = create(disk.path)
    store.start()
    let lost = 0

    for (let at = 0; at < 500; at++) {
      const appended = store.attempt((log) =>
        log.append(batchOf(makeEvent(undefined, `${at}`, 9_000)), nowMs),
      )
      if (!appended.ok) throw new Error(`Cannot go on: number ${at} was not appended`)
      lost += appended.value.get('kafka')?.['request.completed'] ?? 0
    }

    expect(failures).toBe(0)
    const queued = store.attempt((log) => log.state('kafka').queued)
    expect(queued.ok && queued.value + lost).toBe(500)
    expect(lost).toBeGreaterThan(100)
    expect(take()?.[0]).toBe(`${lost}`)
  })

  test('lets readers go on: what they read is not read again, and makes room', async () => {
    await using disk = await mountSmallDisk('4m')
    store = create(disk.path)
    store.start()
    append('a')
    append('b')
    disk.fill()
    while (append('more'));
    const first = take()

    const settled = store.attempt((log) => log.settle('kafka', [], nowMs))
    const then = take()

    expect(first?.slice(0, 2)).toEqual(['a', 'b'])
    expect(settled.ok).toBe(false)
    expect(then).toEqual([])
  })
})
