import type { Clock } from '../../core/clock.ts'
import type { Logger } from '../../core/log.ts'
import { type Backoff, backoffMs } from './backoff.ts'
import type { Batch } from './batch.ts'
import type { LogOptions, Losses } from './log.ts'
import type { SinkNumbers, SpoolNumbers } from './numbers.ts'
import { type Reader, startReader } from './reader.ts'
import { Store } from './store.ts'
import { nameOf, prepareSteps, type ReaderSpec } from './turns.ts'

/** What a keeper is made of. */
export interface KeeperParts extends Pick<LogOptions, 'maxBytes' | 'sync'> {
  /** The data folder. */
  folder: string
  /** At least one. */
  readers: readonly ReaderSpec[]
  clock: Clock
  /** From 0 to 1. */
  random: () => number
  logger: Logger
  /** Told that a batch is on disk. */
  onCommitted: (number: number) => void
  /** Told of the numbers, at most ten times a second. */
  onNumbers: (numbers: SpoolNumbers) => void
}

/** Owns the log and everybody who reads it. */
export interface Keeper {
  /** Commits a batch, now or as soon as that is possible again; in the order in which they come. */
  commit(number: number, batch: Batch): void
  /** Delivers what has come, within the limit, and closes everything. What is not committed by then never is. */
  stop(withinMs: number): Promise<void>
}

/** Between attempts to commit. */
const commitPauses: Backoff = { firstMs: 50, mostMs: 1_000 }

/** Between two reports of numbers. */
const numbersEveryMs = 100

/**
 * Opens the log and starts its readers.
 * @throws where the folder cannot be used.
 */
export function startKeeper(parts: KeeperParts): Keeper {
  const { readers: specs, clock, random, logger, onCommitted } = parts
  const abort = new AbortController()
  const waiting: { number: number; batch: Batch }[] = []
  const counts = { damaged: 0, failures: 0 }
  const readers: Reader[] = []
  let failures = 0
  let cancelRetry: (() => void) | undefined

  const store = new Store({
    ...parts,
    readers: specs.map(nameOf),
    now: clock.now,
    onOpen: (log) => prepareSteps(log, specs),
    onDamaged(losses) {
      counts.damaged += 1
      if (losses) lose(losses, 'the spool was damaged')
      reporter.changed()
    },
    onFailure() {
      counts.failures += 1
      reporter.changed()
    },
  })
  const reporter = createReporter(clock, () => parts.onNumbers({ ...counts, ...stateOf(store, readers) }))
  store.start()
  for (const spec of specs) {
    if (spec.kind === 'step') spec.start?.((work) => store.attempt((log) => log.work(work)))
    const expectsMore = () => waiting.length > 0
    const isShortOfRoom = () => store.peek((log) => log.isShortOfRoom) ?? false
    readers.push(
      startReader(spec, {
        store,
        clock,
        random,
        logger,
        onChange: reporter.changed,
        expectsMore,
        isShortOfRoom,
        signal: abort.signal,
      }),
    )
  }
  // What an earlier process has left is known before a broker has answered, or has not.
  reporter.changed()

  function lose(losses: Losses, reason: string): void {
    for (const reader of readers) {
      const types = losses.get(reader.name)
      if (types) reader.lose(types, reason)
    }
  }

  function commitWaiting(): void {
    cancelRetry?.()
    cancelRetry = undefined
    for (let next = waiting[0]; next; next = waiting[0]) {
      if (!commitOne(next.batch)) break
      onCommitted(next.number)
      waiting.shift()
    }
    if (waiting.length > 0)
      cancelRetry = clock.after(backoffMs(commitPauses, failures, random()), commitWaiting)
    for (const reader of readers) reader.wake()
    reporter.changed()
  }

  function commitOne(batch: Batch): boolean {
    const committed = store.attempt((log) => {
      // Where the disk is full, what is in the write-ahead log may find room in the file, and what comes in the former.
      if (failures > 0) log.checkpoint()
      return log.append(batch, clock.now())
    })
    failures = committed.ok ? 0 : failures + 1
    if (committed.ok) lose(committed.value, 'the spool has no room for more')
    return committed.ok
  }

  return {
    commit(number, batch) {
      waiting.push({ number, batch })
      // While it fails, the next attempt has its time.
      if (!cancelRetry) commitWaiting()
    },

    async stop(withinMs) {
      commitWaiting()
      const cancel = clock.after(withinMs, () =>
        abort.abort(new Error('Cannot deliver more: the time is up')),
      )
      for (const reader of readers) reader.finish()
      const steps = specs.filter((spec) => spec.kind === 'step')
      await Promise.all([...readers.map(({ ended }) => ended), ...steps.map((step) => step.stop?.(withinMs))])
      cancel()
      cancelRetry?.()
      await Promise.all(specs.map((spec) => (spec.kind === 'broker' ? spec.broker.close() : undefined)))
      reporter.now()
      store.close()
    },
  }
}

function stateOf(store: Store, readers: readonly Reader[]): Pick<SpoolNumbers, 'bytes' | 'sinks'> {
  const state = store.peek((log) => ({
    bytes: log.bytes,
    states: new Map(readers.map(({ name }) => [name, log.state(name)])),
  }))
  const sinks: Record<string, SinkNumbers> = {}
  for (const { name, numbers } of readers)
    sinks[name] = { ...numbers, ...(state?.states.get(name) ?? { queued: 0 }) }
  return { bytes: state?.bytes ?? 0, sinks }
}

/** Reports once in a while, where anything has changed. */
function createReporter(clock: Clock, report: () => void) {
  let isDue = false
  let isResting = false

  function changed(): void {
    isDue = true
    if (isResting) return
    isResting = true
    clock.after(numbersEveryMs, () => {
      isResting = false
      if (isDue) now()
    })
  }

  function now(): void {
    isDue = false
    report()
  }

  return { changed, now }
}
