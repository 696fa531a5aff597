import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { CannotStart } from '../../../src/core/cannot-start.ts'
import type { EventType } from '../../../src/core/events.ts'
import { type Backoff, backoffMs } from '../../../src/events/spool/backoff.ts'
import type { Counts } from '../../../src/events/spool/counting.ts'
import { maxBufferedCharacters } from '../../../src/events/spool/hand-over.ts'
import type { FromThread, ToThread } from '../../../src/events/spool/messages.ts'
import { openSpool, type Spool, type SpoolParts, type SpoolThread } from '../../../src/events/spool/spool.ts'
import { systemClock } from '../../../src/surroundings.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { createLogLines, type LogLines } from '../../support/log-lines.ts'
import { RunningProcess } from '../../support/process.ts'
import { makeEvent } from '../../support/spool.ts'
import { deliveredIn, startSpoolThread } from '../../support/spool-thread.ts'
import { type TempFolder, tempFolder } from '../../support/temp.ts'
import { until } from '../../support/until.ts'

// Threads and processes are started, on machines that may be busy.
jest.setTimeout(60_000)

let folder: TempFolder
let lines: LogLines
let dropped: Partial<Record<EventType, number>>
let counts: Counts[]
let restarts: number
beforeEach(async () => {
  folder = await tempFolder('spool')
  lines = createLogLines()
  dropped = {}
  counts = []
  restarts = 0
})
afterEach(() => folder.remove())

function open(parts: Pick<SpoolParts, 'startThread'> & Partial<SpoolParts>): Promise<Spool> {
  return openSpool({
    clock: systemClock,
    random: Math.random,
    logger: lines.logger,
    onDrop: (sink, type) => {
      expect(sink).toBe('spool')
      dropped[type] = (dropped[type] ?? 0) + 1
    },
    onCounts: (told) => counts.push(told),
    onRestart: () => {
      restarts += 1
    },
    ...parts,
  })
}

const ids = (count: number, from = 0) => Array.from({ length: count }, (_, at) => `${from + at}`)
const tell = (name: string) => writeFileSync(join(folder.path, name), '')
const untell = (name: string) => rmSync(join(folder.path, name))
const delivered = () => deliveredIn(folder.path)

/** Each id once, in the order in which it came first. */
const firsts = () => [...new Set(delivered())]

function write(spool: Spool, wanted: readonly string[]): void {
  for (const id of wanted) spool.write([makeEvent('request.completed', id)])
}

describe('with a thread of its own', () => {
  let threads: Worker[]
  beforeEach(() => {
    threads = []
  })

  const openReal = (path = folder.path) =>
    open({
      startThread() {
        const thread = startSpoolThread({ folder: path })
        threads.push(thread)
        return thread
      },
    })

  test('delivers everything that was written, once and in order, before it is closed', async () => {
    const spool = await openReal()

    write(spool, ids(3_000))
    await spool.close(10_000)

    expect(delivered()).toEqual(ids(3_000))
    expect(dropped).toEqual({})
    expect(spool.bufferedCharacters).toBe(0)
    expect(counts.reduce((sum, { sinks }) => sum + (sinks.get('kafka')?.sent ?? 0), 0)).toBe(3_000)
    expect(spool.sinks['kafka']).toMatchObject({ queued: 0, sent: 3_000 })
  })

  test('keeps for the next time what the broker does not take within the limit', async () => {
    tell('fail')
    const spool = await openReal()
    write(spool, ids(10))
    await spool.close(50)
    const before = delivered()
    untell('fail')

    const next = await openReal()
    await next.close(10_000)

    expect(before).toEqual([])
    expect(delivered()).toEqual(ids(10))
    expect(lines.lines).toContainEqual(
      expect.objectContaining({ level: 'warn', message: 'events not delivered; tried again' }),
    )
  })

  test('a thread that is ended at any moment is followed by another, and nothing is lost', async () => {
    const spool = await openReal()

    for (let round = 0; round < 3; round++) {
      write(spool, ids(500, round * 1_000))
      const seen = delivered().length
      await until(() => delivered().length > seen)
      write(spool, ids(500, round * 1_000 + 500))
      await threads.at(-1)?.terminate()
      await until(() => restarts === round + 1)
    }
    write(spool, ids(100, 3_000))
    await until(() => firsts().length === 3_100)
    await spool.close(10_000)

    expect(firsts()).toEqual(ids(3_100))
    expect(dropped).toEqual({})
    expect(lines.lines.map(({ message }) => message)).toContain(
      'the thread of the spool has ended; it is started again',
    )
  })

  test('a broker that takes the thread down with it is met again by the next', async () => {
    tell('die')
    const spool = await openReal()
    write(spool, ids(10))
    await until(() => restarts >= 2)

    untell('die')
    await until(() => delivered().length === 10)
    await spool.close(10_000)

    expect(delivered()).toEqual(ids(10))
  })

  test('cannot be had where its folder cannot be used, and says which setting to look at', async () => {
    const opening = openReal(join(folder.path, 'missing'))

    await expect(opening).rejects.toThrow(CannotStart)
    await expect(opening).rejects.toThrow(/^GATEPOST_DATA_DIR: cannot keep events in it: .*directory/)
    expect(restarts).toBe(0)
  })

  test('loses nothing that has come to rest when its process is killed', async () => {
    tell('fail')
    await using writer = new RunningProcess({
      name: 'writer',
      command: process.execPath,
      args: [fileURLToPath(new URL('../../support/spool-process.ts', import.meta.url)), folder.path, 'a'],
    })
    await writer.line((line) => /^at rest \d{3,}$/.test(line))
    writer.signal('SIGKILL')
    await writer.ended
    const atRest = Math.max(...writer.lines.map((line) => Number(/^at rest (\d+)$/.exec(line)?.[1] ?? 0)))
    untell('fail')

    const spool = await openReal()
    await spool.close(10_000)

    const kept = delivered()
    expect(kept.length).toBeGreaterThanOrEqual(atRest)
    expect(kept).toEqual(kept.map((_id, at) => `a-${at}`))
  })
})

describe('with a thread that', () => {
  /** A thread that does what a test tells it. */
  class FakeThread implements SpoolThread {
    readonly heard: ToThread[] = []
    readonly #listeners = new Map<string, (value: never) => void>()
    terminated = false

    postMessage(message: ToThread): void {
      this.heard.push(message)
    }

    on(event: string, listener: (value: never) => void): void {
      this.#listeners.set(event, listener)
    }

    async terminate(): Promise<void> {
      this.terminated = true
    }

    say(message: FromThread): void {
      this.#listeners.get('message')?.(message as never)
    }

    exit(code: number): void {
      this.#listeners.get('exit')?.(code as never)
    }

    get batches() {
      return this.heard.filter((message) => message.kind === 'batch')
    }
  }

  let clock: FakeClock
  let threads: FakeThread[]
  beforeEach(() => {
    clock = new FakeClock()
    threads = []
  })

  function startThread(): FakeThread {
    const thread = new FakeThread()
    threads.push(thread)
    return thread
  }

  async function openFake(): Promise<Spool> {
    const opening = open({ startThread, clock, random: () => 1 })
    threads[0]?.say({ kind: 'ready' })
    return opening
  }

  test('never answers, memory is bounded, and what has no room is counted by type', async () => {
    const spool = await openFake()
    const large = makeEvent('request.completed', 'a', 15_000)
    const small = makeEvent('auth.failed', 'b')
    const room = Math.floor(maxBufferedCharacters / JSON.stringify(large).length)

    for (let left = room + 100; left > 0; left--) spool.write([large])
    while (!dropped['auth.failed']) spool.write([small])

    expect(dropped).toEqual({ 'request.completed': 100, 'auth.failed': 1 })
    expect(spool.bufferedCharacters).toBeLessThanOrEqual(maxBufferedCharacters)
    const sent = threads[0]?.batches.reduce((sum, { batch }) => sum + batch.events.length, 0)
    expect(sent).toBeLessThan(4.2 * 1024 * 1024)
  })

  test('does not end within its time and three seconds more is ended, and what it never committed is counted', async () => {
    const spool = await openFake()
    spool.write([makeEvent('auth.failed'), makeEvent(), makeEvent()])

    const closing = spool.close(10_000)
    await clock.advance(12_999)
    const early = threads[0]?.terminated
    await clock.advance(1)
    await closing

    expect([early, threads[0]?.terminated]).toEqual([false, true])
    expect(threads[0]?.heard.at(-1)).toEqual({ kind: 'stop', withinMs: 10_000 })
    expect(dropped).toEqual({ 'auth.failed': 1, 'request.completed': 2 })
    expect(lines.lines.at(-1)).toMatchObject({
      fields: { events: { 'auth.failed': 1, 'request.completed': 2 } },
    })
  })

  test('takes what is written before it is ready', async () => {
    const spool = await openFake()
    threads[0]?.exit(1)
    spool.write([makeEvent(undefined, 'a')])
    await clock.advance(100)
    const [, second] = threads
    const before = second?.batches.length

    second?.say({ kind: 'ready' })

    expect([before, second?.batches.length]).toEqual([0, 1])
  })

  test('cannot have the log any more is ended, and the next one is started', async () => {
    const spool = await openFake()
    threads[0]?.exit(1)
    await clock.advance(100)
    spool.write([makeEvent()])

    threads[1]?.say({ kind: 'unusable', why: 'too many files are open' })
    const isEnded = threads[1]?.terminated
    threads[1]?.exit(1)
    await clock.advance(200)
    threads[2]?.say({ kind: 'ready' })

    expect([isEnded, threads[2]?.batches.length]).toEqual([true, 1])
    expect(lines.lines).toContainEqual(
      expect.objectContaining({
        message: 'spool cannot be opened',
        fields: { why: 'too many files are open' },
      }),
    )
  })

  test('dies again and again is started ever more rarely, until a batch gets through', async () => {
    await openFake()
    const started: number[] = []

    for (const pauseMs of [100, 200, 400, 800]) {
      threads.at(-1)?.exit(1)
      await clock.advance(pauseMs - 1)
      started.push(threads.length)
      await clock.advance(1)
    }

    expect(started).toEqual([1, 2, 3, 4])
    expect(restarts).toBe(4)
  })

  test('dies at the end is started again at once for what is not committed, three times at the most', async () => {
    const spool = await openFake()
    spool.write([makeEvent()])

    const closing = spool.close(10_000)
    threads[0]?.exit(1)
    for (let deaths = 1; deaths < 4; deaths++) {
      threads[deaths]?.say({ kind: 'ready' })
      threads[deaths]?.exit(1)
    }
    await closing

    expect(threads.map(({ batches }) => batches.length)).toEqual([1, 1, 1, 1])
    expect(threads.slice(1).map(({ heard }) => heard.at(-1)?.kind)).toEqual(['stop', 'stop', 'stop'])
    expect(dropped).toEqual({ 'request.completed': 1 })
  })

  test('counts from its beginning: what is told on is what is new each time, across deaths', async () => {
    const spool = await openFake()
    const numbers = (sent: number, droppedEvents: number): FromThread => ({
      kind: 'numbers',
      numbers: {
        bytes: 1,
        damaged: 0,
        failures: 2,
        sinks: {
          kafka: {
            queued: 0,
            failing: false,
            sent,
            retried: 0,
            dropped: { 'auth.failed': droppedEvents },
            setAside: {},
          },
        },
      },
    })

    threads[0]?.say(numbers(5, 1))
    threads[0]?.say(numbers(7, 1))
    threads[0]?.exit(1)
    await clock.advance(100)
    threads[1]?.say(numbers(2, 3))

    const told = counts.map(({ failures, sinks }) => [
      failures,
      sinks.get('kafka')?.sent,
      sinks.get('kafka')?.dropped['auth.failed'],
    ])
    expect(told).toEqual([
      [2, 5, 1],
      [0, 2, 0],
      [2, 2, 3],
    ])
    expect(spool.bytes).toBe(1)
  })
})

test.each<[Backoff, number, number, number]>([
  [{ firstMs: 100, mostMs: 30_000 }, 1, 1, 100],
  [{ firstMs: 100, mostMs: 30_000 }, 3, 0.5, 200],
  [{ firstMs: 100, mostMs: 30_000 }, 3, 0, 0],
  [{ firstMs: 100, mostMs: 30_000 }, 10_000, 1, 30_000],
])('after %j, %d failures and a lot of %d the pause is %d ms', (backoff, failures, random, expected) => {
  expect(backoffMs(backoff, failures, random)).toBe(expected)
})
