import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import type { EventType } from '../../../src/core/events.ts'
import { addCounts, type TypeCounts, totalOf } from '../../../src/events/spool/batch.ts'
import { Log, type ReadLimits, type Taken } from '../../../src/events/spool/log.ts'
import { batchOf, makeEvent } from '../../support/spool.ts'

/** What histories met, so that a test can see that they were no idle noise. */
export interface Tally {
  delivered: number
  refused: number
  lost: number
  repeated: number
  crashes: number
}

/** A tally of nothing yet. */
export function newTally(): Tally {
  return { delivered: 0, refused: 0, lost: 0, repeated: 0, crashes: 0 }
}

/** In memory where there is such a place: thousands of logs are opened, and nothing here hangs on what a disk flushes. */
const scratch = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

const readers = ['kafka', 'rabbitmq', 'webhooks'] as const
type ReaderName = (typeof readers)[number]

const reader = fc.constantFrom(...readers)
const limits = fc.record({
  maxEvents: fc.integer({ min: 1, max: 60 }),
  maxCharacters: fc.constantFrom(1, 60_000, 1e6),
})

/** What can happen to a log. */
const happening = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      types: fc.array(fc.constantFrom<EventType>('auth.failed', 'request.completed'), {
        minLength: 1,
        maxLength: 25,
      }),
      length: fc.constantFrom(0, 400, 12_000),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('take' as const), reader, limits }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('settle' as const),
      reader,
      refuseEach: fc.integer({ min: 0, max: 4 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('step' as const), reader, limits, fails: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('reopen' as const, 'crash' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('without' as const), reader }) },
)

type Happening = typeof happening extends fc.Arbitrary<infer T> ? T : never

/** What must hold of one reader, kept as plainly as can be. */
interface Expected {
  /** Events appended since it began, by type. */
  appended: Partial<Record<EventType, number>>
  lost: Partial<Record<EventType, number>>
  settled: Partial<Record<EventType, number>>
  /** The number of the last event that it has settled. */
  last: number
  inHand: Taken | undefined
}

const newExpected = (last: number): Expected => ({
  appended: {},
  lost: {},
  settled: {},
  last,
  inHand: undefined,
})

/**
 * Whatever happens, each reader gets every event that was appended since it began, in order, except those that it was
 * told to have lost, exactly as many of each type; what it has settled never comes again, across crashes too.
 */
export function keepsEveryEvent(tally: Tally, runs: { maxLength: number }) {
  return fc.property(
    fc.array(happening, { minLength: runs.maxLength / 2, maxLength: runs.maxLength, size: 'max' }),
    (history) => {
      const books = new History(tally)
      try {
        for (const each of history) books.happen(each)
        books.readAll()
      } finally {
        books.close()
      }
    },
  )
}

class History {
  readonly #tally: Tally
  readonly #root = mkdtempSync(join(scratch, 'gatepost-history-'))
  readonly #expected = new Map<ReaderName, Expected>()
  #folder: string
  #log: Log
  #folders = 0
  #lastEvent = 0

  constructor(tally: Tally) {
    this.#tally = tally
    this.#folder = this.#newFolder()
    for (const name of readers) this.#expected.set(name, newExpected(0))
    this.#log = this.#open()
  }

  happen(each: Happening): void {
    switch (each.kind) {
      case 'append':
        this.#append(each.types, each.length)
        break
      case 'take':
        this.#take(each.reader, each.limits)
        break
      case 'settle':
        this.#settle(each.reader, each.refuseEach)
        break
      case 'step':
        this.#step(each.reader, each.limits, each.fails)
        break
      case 'reopen':
        this.#reopen(this.#folder)
        break
      case 'crash':
        this.#crash()
        break
      case 'without':
        this.#without(each.reader)
        break
    }
  }

  /** Reads what is left, and holds the books against each other. */
  readAll(): void {
    for (const [name, expected] of this.#expected) {
      do {
        this.#take(name, { maxEvents: 100, maxCharacters: 1e6 })
        this.#settle(name, 0)
      } while (this.#log.state(name).queued > 0)
      const sum: Partial<Record<EventType, number>> = {}
      addCounts(sum, expected.settled)
      addCounts(sum, expected.lost)
      equal(name, sum, expected.appended)
    }
  }

  close(): void {
    this.#log.close()
    rmSync(this.#root, { recursive: true, force: true })
  }

  #newFolder(): string {
    this.#folders += 1
    const path = join(this.#root, `${this.#folders}`)
    mkdirSync(path)
    return path
  }

  #open(): Log {
    const path = join(this.#folder, 'spool.db')
    return new Log(path, { maxBytes: 1024 * 1024, sync: 'normal', readers: [...this.#expected.keys()] })
  }

  #append(types: readonly EventType[], length: number): void {
    const events = types.map((type) => {
      this.#lastEvent += 1
      return makeEvent(type, `${this.#lastEvent}`, length)
    })
    const batch = batchOf(...events)
    const losses = this.#log.append(batch, 0)
    for (const [name, expected] of this.#expected) {
      addCounts(expected.appended, batch.types)
      const lost = losses.get(name) ?? {}
      addCounts(expected.lost, lost)
      this.#tally.lost += totalOf(lost)
      this.#checkQueued(name, expected)
    }
  }

  #take(name: ReaderName, limits: ReadLimits): void {
    const expected = this.#expected.get(name)
    if (!expected) return
    const taken = this.#log.take(name, limits)
    if (expected.inHand) {
      this.#tally.repeated += 1
      equal(`${name} again`, taken?.from, expected.inHand.from)
    }
    this.#checkOrder(name, expected, taken)
    expected.inHand = taken
  }

  #settle(name: ReaderName, refuseEach: number): void {
    const expected = this.#expected.get(name)
    if (!expected) return
    const events = expected.inHand?.events ?? []
    const refusals = events.flatMap((_event, index) =>
      refuseEach > 0 && index % refuseEach === 0 ? [{ index, reason: 'no' }] : [],
    )
    this.#log.settle(name, refusals, 0)
    this.#tally.refused += refusals.length
    this.#settled(name, expected, expected.inHand)
  }

  #step(name: ReaderName, limits: ReadLimits, fails: boolean): void {
    const expected = this.#expected.get(name)
    // Nobody is both: what is in hand belongs to a broker.
    if (!expected || expected.inHand) return
    let seen = 0
    try {
      const taken = this.#log.step(name, limits, (events) => {
        seen = events.length
        if (fails) throw new Error('told to')
      })
      this.#checkOrder(name, expected, taken)
      this.#settled(name, expected, taken)
      equal(`${name} steps over what it saw`, taken?.events.length ?? 0, seen)
    } catch (error) {
      if ((error as Error).message !== 'told to') throw error
      this.#checkQueued(name, expected)
    }
  }

  #settled(name: ReaderName, expected: Expected, taken: Taken | undefined): void {
    if (taken) {
      addCounts(expected.settled, taken.types)
      expected.last = Number(taken.events.at(-1)?.id)
      this.#tally.delivered += taken.events.length
    }
    expected.inHand = undefined
    this.#checkQueued(name, expected)
  }

  #reopen(folder: string): void {
    this.#log.close()
    this.#folder = folder
    this.#log = this.#open()
    for (const [name, expected] of this.#expected) {
      expected.inHand = undefined
      this.#checkQueued(name, expected)
    }
  }

  /** What a kill -9 leaves: the files as they are, nothing closed. */
  #crash(): void {
    this.#tally.crashes += 1
    const left = this.#newFolder()
    for (const name of ['spool.db', 'spool.db-wal']) {
      if (existsSync(join(this.#folder, name))) copyFileSync(join(this.#folder, name), join(left, name))
    }
    this.#reopen(left)
  }

  /** A sink is removed, or one that was comes back as a new one. */
  #without(name: ReaderName): void {
    if (this.#expected.has(name) && this.#expected.size === 1) return
    if (!this.#expected.delete(name)) this.#expected.set(name, newExpected(this.#lastEvent))
    this.#reopen(this.#folder)
  }

  #checkOrder(name: ReaderName, { last }: Expected, taken: Taken | undefined): void {
    let before = last
    for (const { id } of taken?.events ?? []) {
      if (Number(id) <= before) throw new Error(`${name} got ${id} after ${before}`)
      before = Number(id)
    }
  }

  #checkQueued(name: ReaderName, { appended, lost, settled }: Expected): void {
    equal(
      `${name} queued`,
      this.#log.state(name).queued,
      totalOf(appended) - totalOf(lost) - totalOf(settled),
    )
  }
}

function equal(
  what: string,
  is: TypeCounts | number | undefined,
  wanted: TypeCounts | number | undefined,
): void {
  const [one, other] = [is, wanted].map(text)
  if (one !== other) throw new Error(`${what}: ${one}, not ${other}`)
}

function text(value: TypeCounts | number | undefined): string {
  if (typeof value !== 'object') return String(value)
  const counted = Object.entries(value).filter(([, count]) => count > 0)
  return JSON.stringify(counted.sort(([a], [b]) => a.localeCompare(b)))
}
