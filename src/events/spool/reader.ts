import type { Clock } from '../../core/clock.ts'
import type { EventType } from '../../core/events.ts'
import type { Logger } from '../../core/log.ts'
import { type Backoff, backoffMs } from './backoff.ts'
import { addCounts, type TypeCounts, totalOf } from './batch.ts'
import type { SinkNumbers } from './numbers.ts'
import type { Store } from './store.ts'
import { type Account, brokerTurn, nameOf, type ReaderSpec, stepTurn, type Turn } from './turns.ts'

/** What a reader needs beside. */
export interface ReaderParts {
  store: Pick<Store, 'attempt'>
  clock: Clock
  /** From 0 to 1. */
  random: () => number
  logger: Logger
  /** Told that its numbers have changed. */
  onChange: () => void
  /** Whether events are still to be committed; asked at the end. */
  expectsMore: () => boolean
  /** Whether there is so little room that what waits may have to go unread: then nothing waits for company. */
  isShortOfRoom: () => boolean
  /** Ends it, whatever it is doing. */
  signal: AbortSignal
}

/** A reader at work. */
export interface Reader {
  readonly name: string
  /** What it has done; how it stands is the log's to say. */
  readonly numbers: Omit<SinkNumbers, 'queued' | 'oldestAtMs'>
  /** Counts what it misses, and tells of it now and then. */
  lose(types: TypeCounts, reason: string): void
  /** Tells it that there is something to read. */
  wake(): void
  /** Lets it end once it has read everything; a pause after a failure is over at once. */
  finish(): void
  /** Settles when it has ended. Never rejects. */
  readonly ended: Promise<void>
}

/** Between attempts. A broker that was restarted is found again within half a minute. */
const pauses: Backoff = { firstMs: 100, mostMs: 30_000 }

/** Between attempts at the end, when little time is left. */
const lastPauses: Backoff = { firstMs: 100, mostMs: 500 }

/** Between two hand-overs of a few events, for each costs, here and at the broker. The first after a silence goes at once. */
const gatherMs = 250

/** Between two lines about events that are lost or refused. */
const reportEveryMs = 60_000

/** Starts a reader. It goes on until it is aborted, or has finished. */
export function startReader(spec: ReaderSpec, parts: ReaderParts): Reader {
  const { clock, random, logger, onChange, expectsMore, isShortOfRoom, signal } = parts
  const name = nameOf(spec)
  const counts = {
    sent: 0,
    retried: 0,
    dropped: {} as Partial<Record<EventType, number>>,
    setAside: {} as Partial<Record<EventType, number>>,
  }
  const reportLoss = createReport(clock, (types, reason) =>
    logger.error({ sink: name, events: types, reason }, 'events lost'),
  )
  const reportRefusal = createReport(clock, (types, reason) =>
    logger.error({ sink: name, events: types, reason }, 'events refused for good; they are set aside'),
  )
  const lose = (types: TypeCounts, reason: string) => {
    if (totalOf(types) === 0) return
    addCounts(counts.dropped, types)
    reportLoss(types, reason)
  }
  const account: Account = {
    sent(events) {
      counts.sent += events
    },
    damaged: (types) => lose(types, 'they cannot be read in the spool any more'),
    refused(types, reason) {
      addCounts(counts.setAside, types)
      reportRefusal(types, reason)
    },
  }
  const turn =
    spec.kind === 'broker' ? brokerTurn(spec.broker, parts, account) : stepTurn(spec, parts, account)
  const bell = createBell(clock)
  let failures = 0
  let gathering = false
  let finishing = false

  function took(result: Turn, error?: unknown): void {
    if (result === 'failed') {
      failures += 1
      if (failures === 1) logger.warn({ sink: name, exception: error }, 'events not delivered; tried again')
    } else if (failures > 0) {
      logger.info({ sink: name, attempts: failures + 1 }, 'events delivered again')
      failures = 0
    }
    onChange()
  }

  async function next(): Promise<Turn> {
    if (failures > 0) counts.retried += 1
    try {
      const result = await turn()
      took(result)
      return result
    } catch (error) {
      took('failed', error)
      return 'failed'
    }
  }

  async function rest(result: Turn): Promise<void> {
    switch (result) {
      case 'moved':
        return
      case 'little':
        return gather()
      case 'idle':
        return bell.rings()
      case 'failed':
        return bell.pause(backoffMs(finishing ? lastPauses : pauses, failures, random()))
    }
  }

  async function gather(): Promise<void> {
    if (finishing || isShortOfRoom()) return
    gathering = true
    await bell.pause(gatherMs)
    gathering = false
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      // Asked before it looks: what comes while it looks is to be read as well.
      const isLast = finishing && !expectsMore()
      const result = await next()
      if (isLast && result === 'idle') return
      if (!signal.aborted) await rest(result)
    }
  }

  signal.addEventListener('abort', bell.ring)
  return {
    name,
    get numbers() {
      return { ...counts, failing: failures > 0 }
    },
    lose,
    wake() {
      if (failures === 0 && (!gathering || isShortOfRoom())) bell.ring()
    },
    finish() {
      finishing = true
      bell.ring()
    },
    ended: run(),
  }
}

/** Tells of a loss, and from then on once a minute how much there was. */
function createReport(
  clock: Clock,
  say: (types: TypeCounts, reason: string) => void,
): (types: TypeCounts, reason: string) => void {
  let unsaid: { types: Partial<Record<EventType, number>>; reason: string } | undefined
  let isQuiet = false

  function speak(): void {
    isQuiet = unsaid !== undefined
    if (!unsaid) return
    say(unsaid.types, unsaid.reason)
    unsaid = undefined
    clock.after(reportEveryMs, speak)
  }

  return (types, reason) => {
    unsaid ??= { types: {}, reason }
    addCounts(unsaid.types, types)
    if (!isQuiet) speak()
  }
}

/** Something to wait for. */
interface Bell {
  ring: () => void
  /** Waits for a ring; one that nobody waited for is heard by the next who does. */
  rings(): Promise<void>
  /** Waits for so long, or for a ring from now on. */
  pause(ms: number): Promise<void>
}

function createBell(clock: Clock): Bell {
  let heard = false
  let wake: (() => void) | undefined

  async function rings(): Promise<void> {
    if (!heard) {
      const { promise, resolve } = Promise.withResolvers<void>()
      wake = resolve
      await promise
    }
    heard = false
  }

  return {
    rings,

    ring() {
      heard = true
      wake?.()
    },

    async pause(ms) {
      heard = false
      const cancel = clock.after(ms, () => wake?.())
      await rings()
      cancel()
    },
  }
}
