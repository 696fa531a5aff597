import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import Database from 'better-sqlite3'
import { totalOf } from '../../../src/events/spool/batch.ts'
import { Log, type LogOptions, type ReadLimits } from '../../../src/events/spool/log.ts'
import { batchOf, batchOfIds, idsOf, makeEvent } from '../../support/spool.ts'
import { type TempFolder, tempFolder } from '../../support/temp.ts'

const all: ReadLimits = { maxEvents: 500, maxCharacters: 512 * 1024 }
const atMs = Date.UTC(2030, 0, 1)

let folder: TempFolder
let path: string
let log: Log
/** How it was opened the last time. */
let opened: Partial<LogOptions>
beforeEach(async () => {
  folder = await tempFolder('log')
  path = join(folder.path, 'spool.db')
  log = open()
})
afterEach(async () => {
  log.close()
  await folder.remove()
})

function open(options: Partial<LogOptions> = {}): Log {
  opened = options
  return new Log(path, { maxBytes: 64 * 1024 * 1024, sync: 'normal', readers: ['kafka'], ...options })
}

function reopen(options: Partial<LogOptions> = {}): void {
  log.close()
  log = open(options)
}

/** Takes what comes next, and settles it. */
function read(reader = 'kafka', limits = all): string[] {
  const taken = log.take(reader, limits)
  log.settle(reader, [], atMs)
  return idsOf(taken?.events)
}

/** Rows of a table, looked at between two openings. */
function rowsOf(table: string): unknown[] {
  log.close()
  const database = new Database(path)
  const rows = database.prepare(`SELECT * FROM ${table}`).all()
  database.close()
  log = open(opened)
  return rows
}

describe('reading', () => {
  test('gives events in the order in which they were appended, exactly as they were', () => {
    const event = makeEvent('request.completed', 'a')

    log.append(batchOf(event, makeEvent('auth.failed', 'b')), atMs)
    log.append(batchOfIds('c'), atMs)

    expect(log.take('kafka', all)?.events).toEqual([
      {
        id: 'a',
        type: 'request.completed',
        timestamp: '2030-01-01T00:00:00.000Z',
        requestId: 'request-a',
        clientId: 'c',
        json: JSON.stringify(event),
      },
      expect.objectContaining({ id: 'b', type: 'auth.failed', requestId: undefined, clientId: undefined }),
      expect.objectContaining({ id: 'c' }),
    ])
  })

  test('gives the same again until it is settled, and what follows from then on', () => {
    log.append(batchOfIds('a'), atMs)

    const first = idsOf(log.take('kafka', all)?.events)
    log.append(batchOfIds('b'), atMs)
    const again = read()

    expect([first, again, read()]).toEqual([['a'], ['a', 'b'], []])
  })

  test('moves past what was settled, and not past what came meanwhile', () => {
    log.append(batchOfIds('a'), atMs)
    log.take('kafka', all)
    log.append(batchOfIds('b'), atMs)

    log.settle('kafka', [], atMs)

    expect(read()).toEqual(['b'])
  })

  test.each<[string, ReadLimits, string[]]>([
    ['so many events', { maxEvents: 3, maxCharacters: 1e6 }, ['a', 'b', 'c']],
    ['so many characters', { maxEvents: 100, maxCharacters: 500 }, ['a', 'b']],
    ['one batch at least, however large', { maxEvents: 1, maxCharacters: 1 }, ['a', 'b']],
  ])('takes whole batches: %s', (_what, limits, expected) => {
    log.append(batchOfIds('a', 'b'), atMs)
    log.append(batchOfIds('c'), atMs)
    log.append(batchOfIds('d'), atMs)

    expect(idsOf(log.take('kafka', limits)?.events)).toEqual(expected)
  })

  test('keeps events of 16 KiB, of any script, and of the same id as they are', () => {
    const large = { ...makeEvent('request.completed', 'same', 15_000), request_id: 'Ω 日本 \u2028 "\n' }

    log.append(batchOf(large, makeEvent('auth.failed', 'same')), atMs)
    reopen()

    const events = log.take('kafka', all)?.events
    expect(events?.map(({ json }) => json)).toEqual([JSON.stringify(large), expect.any(String)])
    expect(events?.[0]?.requestId).toBe('Ω 日本 \u2028 "\n')
  })
})

describe('readers', () => {
  test('have a place each, and what all have passed is gone', () => {
    reopen({ readers: ['kafka', 'rabbitmq'] })
    log.append(batchOfIds('a'), atMs)
    log.append(batchOfIds('b'), atMs)

    const byKafka = read('kafka')
    const kept = rowsOf('log')
    const byRabbit = read('rabbitmq')

    expect([byKafka, byRabbit]).toEqual([
      ['a', 'b'],
      ['a', 'b'],
    ])
    expect(kept).toHaveLength(2)
    expect(rowsOf('log')).toEqual([])
  })

  test('go on where they were after a restart', () => {
    log.append(batchOfIds('a'), atMs)
    read()
    log.append(batchOfIds('b'), atMs)

    reopen()

    expect(read()).toEqual(['b'])
  })

  test('a new one begins at the tail', () => {
    log.append(batchOfIds('a'), atMs)

    reopen({ readers: ['kafka', 'rabbitmq'] })
    log.append(batchOfIds('b'), atMs)

    expect(read('rabbitmq')).toEqual(['b'])
    expect(read('kafka')).toEqual(['a', 'b'])
  })

  test('the place of one that was removed goes, and with it what was kept for it alone', () => {
    reopen({ readers: ['kafka', 'rabbitmq'] })
    log.append(batchOfIds('a'), atMs)
    read('kafka')

    reopen({ readers: ['kafka'] })

    expect(rowsOf('log')).toEqual([])
    expect(rowsOf('readers')).toEqual([{ name: 'kafka', position: 1 }])
  })

  test('positions never come again, even when the log has been empty', () => {
    log.append(batchOfIds('a'), atMs)
    read()
    reopen()

    log.append(batchOfIds('b'), atMs)

    expect(rowsOf('log')).toEqual([expect.objectContaining({ position: 2 })])
  })

  test('tell how much is queued and since when, across restarts and clocks that were set back', () => {
    log.append(batchOfIds('a', 'b'), atMs)
    log.append(batchOfIds('c'), atMs - 60_000)
    const before = log.state('kafka')
    log.take('kafka', { maxEvents: 2, maxCharacters: 1e6 })
    const inHand = log.state('kafka')
    log.settle('kafka', [], atMs)

    const after = log.state('kafka')
    reopen()

    expect([before, inHand, after]).toEqual([
      { queued: 3, oldestAtMs: atMs },
      { queued: 3, oldestAtMs: atMs },
      { queued: 1, oldestAtMs: atMs - 60_000 },
    ])
    expect(log.state('kafka')).toEqual(after)
  })
})

describe('the bound', () => {
  const maxBytes = 2 * 1024 * 1024
  const large = () =>
    batchOf(...Array.from({ length: 10 }, () => makeEvent('request.completed', undefined, 9_000)))
  const mixed = () =>
    batchOf(makeEvent('auth.failed', undefined, 9_000), makeEvent('request.completed', undefined, 9_000))

  beforeEach(() => reopen({ maxBytes, readers: ['kafka', 'rabbitmq'] }))

  function bytesOnDisk(): number {
    return ['', '-wal'].reduce((sum, suffix) => sum + statSync(`${path}${suffix}`).size, 0)
  }

  test('holds for what is on disk, file and write-ahead log together, however much comes', () => {
    let most = 0

    for (let at = 0; at < 200; at++) {
      log.append(large(), atMs)
      most = Math.max(most, bytesOnDisk())
    }

    expect(most).toBeLessThanOrEqual(maxBytes)
    expect(log.bytes).toBeLessThanOrEqual(maxBytes)
    expect(log.state('kafka').queued).toBeGreaterThan(100)
  })

  test('drops the oldest and counts exactly, by type, what each reader misses', () => {
    const lost = { kafka: 0, rabbitmq: 0 }
    let delivered = 0
    for (let at = 0; at < 400; at++) {
      const losses = log.append(mixed(), atMs)
      for (const [name, types] of losses) {
        expect(types['auth.failed']).toBe(types['request.completed'])
        lost[name as keyof typeof lost] += totalOf(types)
      }
      if (at < 100) delivered += read('kafka').length
    }

    const queued = { kafka: log.state('kafka').queued, rabbitmq: log.state('rabbitmq').queued }
    expect(delivered + lost.kafka + queued.kafka).toBe(800)
    expect(lost.rabbitmq + queued.rabbitmq).toBe(800)
    expect(queued.kafka).toBe(queued.rabbitmq)
    expect(lost.rabbitmq).toBeGreaterThan(lost.kafka)
    let left = 0
    for (let count = read('rabbitmq').length; count > 0; count = read('rabbitmq').length) left += count
    expect(left).toBe(queued.rabbitmq)
  })

  test('leaves what a reader has in hand', () => {
    const first = large()
    log.append(first, atMs)
    log.take('kafka', { maxEvents: 10, maxCharacters: 1e6 })

    let lost = 0
    for (let at = 0; at < 100; at++) lost += totalOf(log.append(large(), atMs).get('kafka') ?? {})
    log.settle('kafka', [], atMs)

    expect(log.state('kafka').queued).toBe(1_000 - lost)
    expect(idsOf(log.take('rabbitmq', { maxEvents: 10, maxCharacters: 1e6 })?.events)).toEqual(
      first.events.split('\n').map((line) => (JSON.parse(line) as { id: string }).id),
    )
  })

  test('gives room back to the file system when the log is opened and mostly empty', () => {
    for (let at = 0; at < 12; at++) log.append(large(), atMs)
    log.checkpoint()
    const full = statSync(path).size
    for (const reader of ['kafka', 'rabbitmq']) while (read(reader).length > 0);

    reopen({ maxBytes, readers: ['kafka', 'rabbitmq'] })
    log.checkpoint()

    expect(statSync(path).size).toBeLessThan(full / 4)
  })

  test('holds while room is given back, which passes through the write-ahead log', () => {
    const much = 64 * 1024 * 1024
    reopen({ maxBytes: much, readers: ['kafka'] })
    for (let at = 0; at < 300; at++) log.append(large(), atMs)
    while (read().length > 0);

    reopen({ maxBytes: much, readers: ['kafka'] })

    expect(statSync(`${path}-wal`).size).toBeLessThan(much / 8)
    expect(log.bytes).toBeLessThan(much / 8)
  })

  test('holds again after a transaction that was larger than the write-ahead log is to be', () => {
    log.prepare((database) => {
      database.exec('CREATE TABLE mine (text TEXT) STRICT')
      database.prepare('INSERT INTO mine VALUES (?)').run('x'.repeat(8 * 1024 * 1024))
      database.exec('DROP TABLE mine')
    })
    const before = statSync(`${path}-wal`).size

    for (let at = 0; at < 20; at++) log.append(large(), atMs)

    expect(before).toBeGreaterThan(maxBytes)
    expect(bytesOnDisk() - statSync(path).size).toBeLessThanOrEqual(maxBytes / 2)
  })
})

describe('events that were refused', () => {
  test('are set aside with the reason, and never come again', () => {
    log.append(batchOfIds('a', 'b', 'c'), atMs)
    log.take('kafka', all)

    log.settle('kafka', [{ index: 1, reason: 'too large' }], atMs + 5)

    expect(read()).toEqual([])
    expect(rowsOf('set_aside')).toEqual([
      {
        number: 1,
        at_ms: atMs + 5,
        reader: 'kafka',
        id: 'b',
        type: 'request.completed',
        reason: 'too large',
        event: JSON.stringify(makeEvent('request.completed', 'b')),
      },
    ])
  })

  test('are bounded: the oldest go', () => {
    const maxBytes = 16 * 16 * 1024 * 8
    reopen({ maxBytes })
    for (let at = 0; at < 20; at++) {
      log.append(batchOfIds(`${at}`), atMs)
      log.take('kafka', all)
      log.settle('kafka', [{ index: 0, reason: 'no' }], atMs)
    }

    const kept = rowsOf('set_aside') as { id: string }[]

    expect(idsOf(kept)).toEqual(Array.from({ length: 16 }, (_, at) => `${at + 4}`))
  })
})

describe('a step', () => {
  const steps = { readers: ['webhooks', 'kafka'] }
  beforeEach(() => {
    reopen(steps)
    log.prepare((database) => database.exec('CREATE TABLE IF NOT EXISTS seen (id TEXT) STRICT'))
    log.append(batchOfIds('a', 'b'), atMs)
    log.append(batchOfIds('c'), atMs)
  })

  test('writes its own rows and moves its place in one transaction', () => {
    const taken = log.step('webhooks', { maxEvents: 2, maxCharacters: 1e6 }, (events, database) => {
      for (const { id } of events) database.prepare('INSERT INTO seen VALUES (?)').run(id)
    })
    reopen(steps)

    expect(idsOf(taken?.events)).toEqual(['a', 'b'])
    expect(log.state('webhooks').queued).toBe(1)
    expect(rowsOf('seen')).toEqual([{ id: 'a' }, { id: 'b' }])
  })

  test('that throws has done nothing, and the same events come again', () => {
    const failing = () =>
      log.step('webhooks', all, (_events, database) => {
        database.prepare('INSERT INTO seen VALUES (?)').run('a')
        throw new Error('no')
      })

    expect(failing).toThrow('no')
    expect(log.state('webhooks').queued).toBe(3)
    expect(idsOf(log.step('webhooks', all, () => undefined)?.events)).toEqual(['a', 'b', 'c'])
    expect(log.step('webhooks', all, () => undefined)).toBeUndefined()
    reopen(steps)
    expect(rowsOf('seen')).toEqual([])
  })
})

test.each([
  ['normal', 1],
  ['full', 2],
] as const)('a commit is synchronous as is asked for: %s', (sync, level) => {
  reopen({ sync })

  let found: unknown
  log.prepare((database) => {
    found = database.pragma('synchronous', { simple: true })
  })

  expect(found).toBe(level)
})

test('no memory is shared by way of a file: a full disk could take its pages away', () => {
  log.append(batchOfIds('a'), atMs)

  expect([existsSync(`${path}-wal`), existsSync(`${path}-shm`)]).toEqual([true, false])
})

test('what would be lost with the log is what waits, without what a reader has in hand', () => {
  for (const id of ['a', 'b', 'c']) log.append(batchOfIds(id), atMs)

  log.take('kafka', { maxEvents: 1, maxCharacters: 1e6 })

  expect(log.unread).toEqual(new Map([['kafka', { 'request.completed': 2 }]]))
})

test('nobody else may read the file', () => {
  expect(['', '-wal'].map((suffix) => statSync(`${path}${suffix}`).mode & 0o777)).toEqual([0o600, 0o600])
})

describe('a file that cannot be a log', () => {
  function tamper(sql: string): void {
    log.close()
    const database = new Database(path)
    database.exec(sql)
    database.close()
  }

  test.each([
    ['of another version', 'PRAGMA user_version = 7', 'another version'],
    [
      'whose positions are no numbers to count with',
      "INSERT INTO log VALUES (9007199254740993, 0, '{}', '')",
      'no position can be',
    ],
  ])('is refused: one %s', (_what, sql, message) => {
    tamper(sql)

    expect(() => open()).toThrow(message)
  })

  test('text that is damaged costs its batch alone, which is told', () => {
    log.append(batchOfIds('a'), atMs)
    log.append(batchOfIds('b', 'c'), atMs)
    log.append(batchOfIds('d'), atMs)
    tamper('UPDATE log SET events = replace(events, \'"id":"b"\', \'"id":"b\') WHERE position = 2')
    log = open()

    const taken = log.take('kafka', all)

    expect(idsOf(taken?.events)).toEqual(['a', 'd'])
    expect(taken?.damaged).toEqual({ 'request.completed': 2 })
    log.settle('kafka', [], atMs)
    expect(log.state('kafka')).toEqual({ queued: 0 })
  })
})
