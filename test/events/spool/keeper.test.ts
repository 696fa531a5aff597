import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals'
import type { Batch } from '../../../src/events/spool/batch.ts'
import { type Keeper, type KeeperParts, startKeeper } from '../../../src/events/spool/keeper.ts'
import type { SpoolNumbers } from '../../../src/events/spool/numbers.ts'
import type { StepReader } from '../../../src/events/spool/turns.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { createLogLines, type LogLines } from '../../support/log-lines.ts'
import { mountSmallDisk } from '../../support/small-disk.ts'
import { batchOf, batchOfIds, createFakeBroker, type FakeBroker, makeEvent } from '../../support/spool.ts'
import { type TempFolder, tempFolder } from '../../support/temp.ts'
import { until } from '../../support/until.ts'

// Every commit is a real one, on disks that may be busy.
jest.setTimeout(30_000)

let folder: TempFolder
let clock: FakeClock
let lines: LogLines
let kafka: FakeBroker
let rabbitmq: FakeBroker
let committed: number[]
let numbers: SpoolNumbers | undefined
let keeper: Keeper
let lastNumber: number
beforeEach(async () => {
  folder = await tempFolder('keeper')
  clock = new FakeClock()
  lines = createLogLines()
  kafka = createFakeBroker('kafka')
  rabbitmq = createFakeBroker('rabbitmq')
  committed = []
  numbers = undefined
  lastNumber = 0
})
afterEach(() => folder.remove())

function start(parts: Partial<KeeperParts> = {}): void {
  keeper = startKeeper({
    folder: folder.path,
    maxBytes: 64 * 1024 * 1024,
    sync: 'normal',
    readers: [
      { kind: 'broker', broker: kafka },
      { kind: 'broker', broker: rabbitmq },
    ],
    clock,
    random: () => 1,
    logger: lines.logger,
    onCommitted: (number) => committed.push(number),
    onNumbers: (told) => {
      numbers = told
    },
    ...parts,
  })
}

function commit(batch: Batch): number {
  lastNumber += 1
  keeper.commit(lastNumber, batch)
  return lastNumber
}

/** How long a reader waits for company to a few events. */
const gatherMs = 250

const commitIds = (...ids: string[]) => commit(batchOfIds(...ids))
const refused = new Error('connection refused')
const messages = () => lines.lines.map(({ level, message }) => `${level} ${message}`)

async function end(): Promise<void> {
  const stopping = keeper.stop(0)
  await clock.advance(0)
  await stopping
}

async function restart(): Promise<void> {
  await end()
  start()
  await clock.advance(0)
}

describe('delivering', () => {
  test('every broker gets every event in order, each at its own pace', async () => {
    const held = Promise.withResolvers<void>()
    rabbitmq.answer = async () => {
      await held.promise
      return []
    }
    start()

    commitIds('a')
    await clock.advance(0)
    commitIds('b', 'c')
    await clock.advance(gatherMs)
    const ahead = [...kafka.delivered]
    const behind = [...rabbitmq.delivered]
    held.resolve()
    await clock.advance(gatherMs)

    expect(committed).toEqual([1, 2])
    expect([ahead, behind]).toEqual([['a', 'b', 'c'], []])
    expect(rabbitmq.handed).toEqual([['a'], ['b', 'c']])
    await end()
  })

  test('a few events go at once after a silence, and then together with those of the next moment', async () => {
    start()

    for (let at = 0; at < 10; at++) {
      commitIds(`${at}`)
      await clock.advance(gatherMs / 5)
    }
    await clock.advance(gatherMs)

    expect(kafka.handed).toEqual([['0'], ['1', '2', '3', '4'], ['5', '6', '7', '8', '9']])
    await end()
  })

  test('many events do not wait for company, be it by their number or by their size', async () => {
    start()
    commit(batchOf(...Array.from({ length: 300 }, (_, at) => makeEvent('auth.failed', `a${at}`, 100))))
    await clock.advance(0)
    commit(batchOf(...Array.from({ length: 30 }, (_, at) => makeEvent('auth.failed', `b${at}`, 15_000))))
    await clock.advance(0)
    commitIds('c')
    await clock.advance(0)

    expect(kafka.delivered).toHaveLength(331)
    await end()
  })

  test('the end does not wait for company', async () => {
    start()
    commitIds('a')
    await clock.advance(0)
    commitIds('b')

    await keeper.stop(0)

    expect(kafka.delivered).toEqual(['a', 'b'])
  })

  test('a broker is never asked for a second hand-over before it has settled the first', async () => {
    let under = 0
    let most = 0
    kafka.answer = async () => {
      under += 1
      most = Math.max(most, under)
      await Promise.resolve()
      under -= 1
      return []
    }
    start()

    for (let at = 0; at < 20; at++) commitIds(`${at}`)
    await clock.advance(0)

    expect(most).toBe(1)
    expect(kafka.delivered).toEqual(Array.from({ length: 20 }, (_, at) => `${at}`))
    await end()
  })

  test('the same events are handed over again until they are taken, ever more rarely, and nothing overtakes them', async () => {
    kafka.answer = () => Promise.reject(refused)
    start()
    commitIds('a')
    await clock.advance(0)
    commitIds('b')

    const attempts: number[] = []
    for (const pauseMs of [100, 200, 400, 800, 1_600]) {
      await clock.advance(pauseMs - 1)
      attempts.push(kafka.handed.length)
      await clock.advance(1)
    }
    kafka.answer = async () => []
    await clock.advance(3_200 + gatherMs)

    expect(attempts).toEqual([1, 2, 3, 4, 5])
    expect(kafka.handed.slice(0, -1)).toEqual(Array(7).fill(['a']))
    expect(kafka.delivered).toEqual(['a', 'b'])
    expect(rabbitmq.delivered).toEqual(['a', 'b'])
    expect(messages()).toEqual(['warn events not delivered; tried again', 'info events delivered again'])
    await end()
  })

  test('a pause never grows beyond 30 s, and is drawn by lot', async () => {
    kafka.answer = () => Promise.reject(refused)
    start({ random: () => 0.5 })
    commitIds('a')
    await clock.advance(10 * 60_000)

    const before = kafka.handed.length
    await clock.advance(15_000)

    expect(kafka.handed.length).toBe(before + 1)
    await end()
  })

  test('a broker that never answers is given up after five minutes and asked again', async () => {
    const signals: AbortSignal[] = []
    kafka.answer = (_events, signal) => {
      signals.push(signal)
      const { promise, reject } = Promise.withResolvers<never>()
      signal.addEventListener('abort', () => reject(signal.reason))
      return promise
    }
    start()
    commitIds('a')

    await clock.advance(5 * 60_000)
    await clock.advance(100)

    expect(signals.map(({ aborted }) => aborted)).toEqual([true, false])
    await end()
  })

  test('an event that is refused for good is set aside, counted and told, and the others go on', async () => {
    kafka.answer = async (events) =>
      events.flatMap(({ id }, index) => (id.startsWith('bad') ? [{ index, reason: 'too large' }] : []))
    start()

    commit(
      batchOf(
        makeEvent('request.completed', 'a'),
        makeEvent('auth.failed', 'bad'),
        makeEvent(undefined, 'b'),
      ),
    )
    await clock.advance(0)
    commitIds('bad 2', 'bad 3')
    await clock.advance(60_000)

    expect(kafka.delivered).toEqual(['a', 'b'])
    expect(numbers?.sinks['kafka']).toMatchObject({
      sent: 2,
      queued: 0,
      setAside: { 'auth.failed': 1, 'request.completed': 2 },
      dropped: {},
    })
    expect(lines.lines.map(({ fields }) => fields)).toEqual([
      { sink: 'kafka', events: { 'auth.failed': 1 }, reason: 'too large' },
      { sink: 'kafka', events: { 'request.completed': 2 }, reason: 'too large' },
    ])
    await end()
  })

  test('a refusal of an event that was never handed over is passed over', async () => {
    kafka.answer = async () => [
      { index: 7, reason: 'no' },
      { index: -1, reason: 'no' },
    ]
    start()

    commitIds('a')
    await clock.advance(100)

    expect(numbers?.sinks['kafka']).toMatchObject({ sent: 1, setAside: {} })
    await end()
  })
})

describe('after a restart', () => {
  test('what was not delivered is, and what was is not delivered again', async () => {
    kafka.answer = () => Promise.reject(refused)
    start()
    commitIds('a')
    commitIds('b')
    await clock.advance(0)
    kafka.answer = async () => []

    await restart()
    commitIds('c')
    await clock.advance(0)

    expect(kafka.delivered).toEqual(['a', 'b', 'c'])
    expect(rabbitmq.delivered).toEqual(['a', 'b', 'c'])
    await end()
  })
})

describe('the numbers', () => {
  test('say what was sent, what waits and since when, and how often it was tried again', async () => {
    const startedMs = clock.now()
    kafka.answer = () => Promise.reject(refused)
    start()
    commitIds('a', 'b')
    await clock.advance(100)
    commitIds('c')

    await clock.advance(300)

    expect(numbers).toMatchObject({ damaged: 0, failures: 0, bytes: expect.any(Number) })
    expect(numbers?.sinks).toEqual({
      kafka: {
        queued: 3,
        oldestAtMs: startedMs,
        sent: 0,
        retried: 2,
        failing: true,
        dropped: {},
        setAside: {},
      },
      rabbitmq: { queued: 0, sent: 3, retried: 0, failing: false, dropped: {}, setAside: {} },
    })
    await end()
  })

  test('tell what an earlier process has left, though no broker answers and nothing comes', async () => {
    kafka.answer = () => Promise.reject(refused)
    start()
    commitIds('a', 'b')
    await end()
    numbers = undefined
    const { promise: never } = Promise.withResolvers<never>()
    kafka.answer = () => never

    start({ readers: [{ kind: 'broker', broker: kafka }] })
    await clock.advance(100)

    expect(numbers).toMatchObject({ sinks: { kafka: { queued: 2, oldestAtMs: expect.any(Number) } } })
  })

  test('come at most ten times a second', async () => {
    let told = 0
    start({
      onNumbers: () => {
        told += 1
      },
    })

    for (let at = 0; at < 100; at++) {
      commitIds(`${at}`)
      await clock.advance(10)
    }

    expect(told).toBeLessThanOrEqual(11)
    await end()
  })

  test('count exactly what a reader that lags too far misses, and not what it has in hand', async () => {
    kafka.answer = () => Promise.reject(refused)
    start({ maxBytes: 4 * 1024 * 1024 })
    for (let at = 0; at < 500; at++) {
      commit(
        batchOf(makeEvent('auth.failed', `a${at}`, 9_000), makeEvent('request.completed', `r${at}`, 9_000)),
      )
      await clock.advance(gatherMs)
    }
    kafka.answer = async () => []

    await clock.advance(60_000)

    const sinks = numbers?.sinks
    const dropped = sinks?.['kafka']?.dropped
    expect(sinks?.['rabbitmq']).toMatchObject({ sent: 1_000, dropped: {} })
    expect(dropped?.['auth.failed']).toBeGreaterThan(100)
    expect(dropped?.['auth.failed']).toBe(dropped?.['request.completed'])
    expect(kafka.delivered.slice(0, 2)).toEqual(['a0', 'r0'])
    expect(new Set(kafka.delivered).size + 2 * (dropped?.['auth.failed'] ?? 0)).toBe(1_000)
    expect(kafka.delivered.at(-1)).toBe('r499')
    await end()
  })
})

describe('a full disk', () => {
  test('holds commits back, in order, until there is room', async () => {
    await using disk = await mountSmallDisk('4m')
    start({ folder: disk.path })
    disk.fill()
    const sentIds = Array.from({ length: 100 }, (_, at) => `${at}`)
    for (const id of sentIds) commit(batchOf(makeEvent(undefined, id, 9_000)))
    await clock.advance(5_000)
    const before = committed.length

    disk.free()
    await clock.advance(1_000)

    expect(before).toBeLessThan(100)
    expect(committed).toEqual(sentIds.map((id) => Number(id) + 1))
    expect(kafka.delivered).toEqual(sentIds)
    await end()
  })

  test('is no end while the file itself has room: what the write-ahead log holds moves there', async () => {
    await using disk = await mountSmallDisk('4m')
    const parts: Partial<KeeperParts> = { folder: disk.path, readers: [{ kind: 'broker', broker: kafka }] }
    kafka.answer = () => Promise.reject(refused)
    start(parts)
    for (let at = 0; at < 240; at++) commit(batchOf(makeEvent(undefined, `${at}`, 9_000)))
    let handOversLeft = 2
    kafka.answer = async () => {
      handOversLeft -= 1
      if (handOversLeft < 0) throw refused
      return []
    }
    await clock.advance(30_000)
    await end()
    start(parts)
    for (let at = 0; at < 3; at++) commit(batchOf(makeEvent(undefined, `before ${at}`, 9_000)))
    disk.fill()

    for (let at = 0; at < 5; at++) commit(batchOf(makeEvent(undefined, `late ${at}`, 9_000)))
    await clock.advance(10_000)

    expect(handOversLeft).toBeLessThan(0)
    expect(numbers?.failures).toBeGreaterThan(0)
    expect(committed.length).toBe(lastNumber)
    await end()
  })

  test('costs nothing that brokers take at once: then no event waits for company', async () => {
    await using disk = await mountSmallDisk('16m')
    start({ folder: disk.path })
    // The file and its write-ahead log have room of their own from then on.
    for (let at = 0; at < 300; at++) commit(batchOf(makeEvent(undefined, `early ${at}`, 9_000)))
    await clock.advance(10 * gatherMs)
    const early = kafka.delivered.length
    disk.fill()

    const late = Array.from({ length: 20 }, (_, at) => `late ${at}`)
    for (const id of late) {
      commitIds(id)
      await clock.advance(20)
    }

    expect(early).toBe(300)
    expect(kafka.delivered.slice(early)).toEqual(late)
    expect(rabbitmq.delivered.slice(early)).toEqual(late)
    expect(numbers).toMatchObject({
      failures: 0,
      sinks: { kafka: { dropped: {} }, rabbitmq: { dropped: {} } },
    })
    await end()
  })

  test('is tried at its own pace, however much comes', async () => {
    await using disk = await mountSmallDisk('4m')
    disk.fill()
    start({ folder: disk.path })

    for (let at = 0; at < 100; at++) commitIds(`${at}`)
    await clock.advance(100)

    expect(numbers?.failures).toBeLessThan(8)
    await end()
  })

  test('from the start on keeps no reader from what comes once there is room', async () => {
    await using disk = await mountSmallDisk('4m')
    disk.fill()
    start({ folder: disk.path })
    await clock.advance(1_000)
    disk.free()
    await clock.advance(60_000)

    commitIds('a')
    await clock.advance(1_000)

    expect(kafka.delivered).toEqual(['a'])
    await end()
  })

  test('that gets room again at the end is used: what waited is committed and delivered', async () => {
    await using disk = await mountSmallDisk('4m')
    disk.fill()
    start({ folder: disk.path })
    commitIds('a')

    const stopping = keeper.stop(10_000)
    await clock.advance(1_000)
    disk.free()
    await clock.advance(2_000)
    await stopping

    expect(committed).toEqual([1])
    expect(kafka.delivered).toEqual(['a'])
  })

  test('does not keep the end waiting beyond the limit', async () => {
    await using disk = await mountSmallDisk('4m')
    disk.fill()
    start({ folder: disk.path })
    commitIds('a')

    const stopping = keeper.stop(5_000)
    await clock.advance(5_000)
    await stopping

    expect(committed).toEqual([])
  })
})

describe('the end', () => {
  test('comes when everything is delivered, and brokers are closed', async () => {
    kafka.answer = () => Promise.reject(refused)
    start()
    commitIds('a')
    await clock.advance(20_000)
    kafka.answer = async () => []

    const stopping = keeper.stop(10_000)
    await clock.advance(0)
    await stopping

    expect(kafka.delivered).toEqual(['a'])
    expect([kafka.closed, rabbitmq.closed]).toEqual([true, true])
  })

  test('comes when the time is up, with the hand-over under way cut short, and the last numbers told', async () => {
    let signal: AbortSignal | undefined
    kafka.answer = (_events, given) => {
      signal = given
      const { promise, reject } = Promise.withResolvers<never>()
      given.addEventListener('abort', () => reject(given.reason))
      return promise
    }
    start()
    commitIds('a')

    const stopping = keeper.stop(10_000)
    await clock.advance(9_999)
    const early = signal?.aborted
    await clock.advance(1)
    await stopping

    expect([early, signal?.aborted]).toEqual([false, true])
    expect(numbers?.sinks['kafka']).toMatchObject({ queued: 1, sent: 0 })
    expect(numbers?.sinks['rabbitmq']).toMatchObject({ queued: 0, sent: 1 })
  })

  test('a broker that fails is tried a few times more before it', async () => {
    kafka.answer = () => Promise.reject(refused)
    start()
    commitIds('a')
    await clock.advance(60_000)
    const before = kafka.handed.length

    const stopping = keeper.stop(5_000)
    await clock.advance(5_000)
    await stopping

    expect(kafka.handed.length).toBeGreaterThan(before + 8)
  })
})

describe('a reader that works in the transaction', () => {
  const seen: string[] = []
  let fails = false
  const webhooks: StepReader = {
    kind: 'step',
    name: 'webhooks',
    prepare: (database) => database.exec('CREATE TABLE IF NOT EXISTS seen (id TEXT) STRICT'),
    step(events, database) {
      for (const { id } of events) database.prepare('INSERT INTO seen VALUES (?)').run(id)
      if (fails) throw new Error('no')
      seen.push(...database.prepare<[], string>('SELECT id FROM seen').pluck().all())
    },
    onStepped: () => undefined,
  }
  beforeEach(() => {
    seen.length = 0
    fails = false
  })

  test('takes what comes beside the brokers, once', async () => {
    start({ readers: [webhooks, { kind: 'broker', broker: kafka }] })

    commitIds('a')
    await until(() => seen.length === 1)
    commitIds('b')
    await until(() => seen.length === 3)
    await clock.advance(gatherMs)

    expect(seen).toEqual(['a', 'a', 'b'])
    expect(kafka.delivered).toEqual(['a', 'b'])
    await end()
  })

  test('passes over batches of nothing that it wants', async () => {
    start({ readers: [{ ...webhooks, wants: (types) => 'auth.failed' in types }] })

    commit(batchOf(makeEvent('request.completed', 'a')))
    commit(batchOf(makeEvent('auth.failed', 'b')))
    await until(() => seen.length === 1)
    await clock.advance(100)

    expect(seen).toEqual(['b'])
    expect(numbers?.sinks['webhooks']).toMatchObject({ queued: 0 })
    await end()
  })

  test('gets the same events again after a failure of its own, which is none of the spool', async () => {
    fails = true
    start({ readers: [webhooks] })
    commitIds('a')
    await clock.advance(0)
    fails = false

    await clock.advance(100)
    await until(() => seen.length > 0)
    await clock.advance(100)

    expect(seen).toEqual(['a'])
    expect(numbers).toMatchObject({ failures: 0, sinks: { webhooks: { sent: 1, retried: 1 } } })
    expect(messages()).toEqual(['warn events not delivered; tried again', 'info events delivered again'])
    await end()
  })
})
