import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '../../core/clock.ts'
import type { Broker, LoggedEvent, Refusal } from '../sinks/broker.ts'
import { countTypes, type TypeCounts } from './batch.ts'
import { isOfTheDisk } from './faults.ts'
import type { Log, ReadLimits, Step, Taken, Wants } from './log.ts'
import type { Attempt, Store } from './store.ts'

/**
 * Takes events out of the log, in the same transaction in which its place in the log moves. Its own tables count towards
 * the limit of the spool, and go with a log that is damaged.
 */
export interface StepReader {
  kind: 'step'
  /** Names its place, metrics and logs. */
  name: string
  /** Makes sure of its own tables, each time that a log was opened: a damaged one is followed by an empty one. */
  prepare: (database: Parameters<Step>[1]) => void
  /** Whether it wants any of these types; events of others it may be given, or not. Default: it wants them all. */
  wants?: Wants
  /** Events that one step takes at most beyond its first batch, where each makes much work. Default and bound: 500. */
  maxEvents?: () => number
  /** Takes the next events. Where it throws, nothing has happened, and the same events come again later. */
  step: Step
  /** Told that a step is committed. */
  onStepped: () => void
  /** Told that the log is there, and how to work with its own tables from then on. */
  start?: (work: Work) => void
  /** Ends what it does beside steps, within a limit; the log is closed afterwards. Never rejects. */
  stop?: (withinMs: number) => Promise<void>
}

/** Works with tables in a transaction of the log's file; not ok where the disk does not allow it at the moment. */
export type Work = <T>(work: () => T) => Attempt<T>

/** Delivers events to a broker, whose place moves once that has answered. */
export interface BrokerReader {
  kind: 'broker'
  broker: Broker
}

/** Who reads the log. */
export type ReaderSpec = StepReader | BrokerReader

/** The name of a reader's place. */
export function nameOf(spec: ReaderSpec): string {
  return spec.kind === 'broker' ? spec.broker.name : spec.name
}

/** What a turn needs beside. */
export interface TurnParts {
  store: Pick<Store, 'attempt'>
  clock: Clock
  /** Ends it, whatever it waits for. */
  signal: AbortSignal
}

/** How much is taken at once. */
const limits: ReadLimits = { maxEvents: 500, maxCharacters: 512 * 1024 }

/** After a hand-over of less the next can wait for more: brokers and their libraries cost by the hand-over. */
const few: ReadLimits = { maxEvents: limits.maxEvents / 2, maxCharacters: limits.maxCharacters / 2 }

/** How long one hand-over may take. Brokers have shorter limits of their own: this one is for a library that never answers. */
const deliverLimitMs = 5 * 60_000

/**
 * How a turn went: it moved the reader on, it did so and there was little to read, there was nothing, or the log could
 * not be used.
 */
export type Turn = 'moved' | 'little' | 'idle' | 'failed'

/** Where a turn writes down what became of events. */
export interface Account {
  sent(events: number): void
  /** They are in the log, and nobody can read them. */
  damaged(types: TypeCounts): void
  refused(types: TypeCounts, reason: string): void
}

/** One hand-over to a broker. What was taken stays in hand until the broker has answered, however often that takes. */
export function brokerTurn(
  broker: Broker,
  { store, clock, signal }: TurnParts,
  account: Account,
): () => Promise<Turn> {
  const { name } = broker
  let inHand: Taken | undefined

  /** @returns false where the log could not be read. */
  function take(): boolean {
    if (inHand) return true
    const taken = store.attempt((log) => log.take(name, limits))
    if (taken.ok) inHand = taken.value
    return taken.ok
  }

  function settle({ events, damaged }: Taken, answered: readonly Refusal[]): void {
    const refusals = answered.filter(({ index }) => events[index])
    account.damaged(damaged)
    account.sent(events.length - refusals.length)
    for (const { index, reason } of refusals)
      account.refused(countTypes(events.slice(index, index + 1)), reason)
    store.attempt((log) => log.settle(name, refusals, clock.now()))
  }

  return async () => {
    if (!take()) return 'failed'
    if (!inHand) return 'idle'
    const { events } = inHand
    const deliver = (limited: AbortSignal) => broker.deliver(events, limited)
    const answered = events.length > 0 ? await withLimit(clock, signal, deliver) : []
    const settled = inHand
    inHand = undefined
    settle(settled, answered)
    return isLittle(events) ? 'little' : 'moved'
  }
}

function isLittle(events: readonly LoggedEvent[]): boolean {
  const characters = events.reduce((sum, { json }) => sum + json.length, 0)
  return events.length < few.maxEvents && characters < few.maxCharacters
}

/** One step of a reader that works inside of the log's transaction. */
export function stepTurn(
  { name, wants, maxEvents = () => limits.maxEvents, step, onStepped }: StepReader,
  { store }: Pick<TurnParts, 'store'>,
  account: Account,
): () => Promise<Turn> {
  const guarded: Step = (events, database) => {
    try {
      step(events, database)
    } catch (error) {
      throw isOfTheDisk(error) ? error : new StepFailed('Cannot take events', { cause: error })
    }
  }
  const stepIn = (log: Log): Taken | StepFailed | undefined => {
    try {
      const most = Math.min(limits.maxEvents, maxEvents())
      return log.step(name, { ...limits, maxEvents: most }, guarded, wants)
    } catch (error) {
      if (error instanceof StepFailed) return error
      throw error
    }
  }

  return async () => {
    const stepped = store.attempt(stepIn)
    if (!stepped.ok) return 'failed'
    const taken = stepped.value
    if (taken instanceof StepFailed) throw taken.cause
    if (!taken) return 'idle'
    account.damaged(taken.damaged)
    account.sent(taken.events.length)
    onStepped()
    // Others of this thread have work to do as well.
    await nextTurn()
    return 'moved'
  }
}

/** A step that failed for reasons of its own; the log is as sound as before. */
class StepFailed extends Error {}

async function withLimit(
  clock: Clock,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<readonly Refusal[]>,
): Promise<readonly Refusal[]> {
  const limit = new AbortController()
  const cancel = clock.after(deliverLimitMs, () =>
    limit.abort(new Error(`Cannot deliver events: no answer within ${deliverLimitMs} ms`)),
  )
  try {
    return await work(AbortSignal.any([signal, limit.signal]))
  } finally {
    cancel()
  }
}

/** Opens what step readers have of their own in a log. */
export function prepareSteps(log: Pick<Log, 'prepare'>, specs: readonly ReaderSpec[]): void {
  for (const spec of specs) {
    if (spec.kind === 'step') log.prepare(spec.prepare)
  }
}
