import { CannotStart } from '../../core/cannot-start.ts'
import type { Clock } from '../../core/clock.ts'
import type { EventType } from '../../core/events.ts'
import type { Logger } from '../../core/log.ts'
import type { OnDrop, Sink } from '../bus.ts'
import { type Backoff, backoffMs } from './backoff.ts'
import { addCounts, totalOf } from './batch.ts'
import { createCounting, type OnCounts } from './counting.ts'
import { HandOver } from './hand-over.ts'
import type { FromThread, ToThread } from './messages.ts'
import type { SinkNumbers, SpoolNumbers } from './numbers.ts'

/** A worker thread, as far as the spool uses it. */
export interface SpoolThread {
  postMessage(message: ToThread): void
  on(event: 'message', listener: (message: FromThread) => void): unknown
  on(event: 'error', listener: (error: unknown) => void): unknown
  on(event: 'exit', listener: (code: number) => void): unknown
  terminate(): Promise<unknown>
}

/** What the spool is made of. */
export interface SpoolParts {
  /** Starts the thread that owns the log. */
  startThread: () => SpoolThread
  clock: Clock
  /** From 0 to 1. */
  random: () => number
  logger: Logger
  onDrop: OnDrop
  /** Told what sinks have done since it was told last. */
  onCounts: OnCounts
  /** Told that the thread had died and is started again. */
  onRestart: () => void
}

/** Keeps events on disk until every sink has them. */
export interface Spool extends Sink {
  /** Characters of events that are not yet on disk. */
  readonly bufferedCharacters: number
  /** Bytes on disk. */
  readonly bytes: number
  /** How each sink stands, by name. */
  readonly sinks: Readonly<Record<string, SinkNumbers>>
  /** Commits what was written, delivers what can be within the limit, and ends the thread. To be called once. */
  close(withinMs: number): Promise<void>
}

/** The name under which events are counted that never reached the disk. */
const spoolName = 'spool'

/** Between two starts of a thread that dies. */
const restarts: Backoff = { firstMs: 100, mostMs: 30_000 }

/** How often a thread that dies at the end is started again, to commit what the dead one had not. */
const lastStarts = 3

/** How much longer than it was given the thread may take to end. */
const graceMs = 3_000

/**
 * Starts the thread that owns the log, and waits until it has it.
 * @throws CannotStart where the log cannot be had.
 */
export async function openSpool(parts: SpoolParts): Promise<Spool> {
  const spool = new ThreadedSpool(parts)
  try {
    await spool.opened
  } catch (error) {
    await spool.close(0)
    throw error
  }
  return spool
}

interface Closing {
  withinMs: number
  startsLeft: number
  ended: () => void
}

class ThreadedSpool implements Spool {
  readonly name = spoolName
  /** How the first start went. */
  readonly opened: Promise<void>
  readonly #parts: SpoolParts
  readonly #handOver: HandOver
  readonly #counting: ReturnType<typeof createCounting>
  readonly #firstStart = Promise.withResolvers<void>()
  #thread: SpoolThread | undefined
  #deaths = 0
  #numbers: SpoolNumbers = { bytes: 0, damaged: 0, failures: 0, sinks: {} }
  #isReady = false
  #closing: Closing | undefined

  constructor(parts: SpoolParts) {
    this.#parts = parts
    this.#handOver = new HandOver(parts.clock)
    this.#counting = createCounting(parts.onCounts)
    this.opened = this.#firstStart.promise
    this.#start()
  }

  get bufferedCharacters(): number {
    return this.#handOver.characters
  }

  get bytes(): number {
    return this.#numbers.bytes
  }

  get sinks(): Readonly<Record<string, SinkNumbers>> {
    return this.#numbers.sinks
  }

  write: Sink['write'] = (events) => {
    for (const event of events) {
      const isTaken = !this.#closing && this.#handOver.add(event.event_type, JSON.stringify(event))
      if (!isTaken) this.#parts.onDrop(spoolName, event.event_type)
    }
    this.#handOver.pass()
  }

  async close(withinMs: number): Promise<void> {
    const { promise: ended, resolve } = Promise.withResolvers<void>()
    const closing = { withinMs, startsLeft: lastStarts, ended: resolve }
    this.#closing = closing
    const cancel = this.#parts.clock.after(withinMs + graceMs, resolve)
    // A thread that is only just starting is told when it is ready.
    if (!this.#thread) this.#startOnceMore(closing)
    else if (this.#isReady) this.#sendOff(this.#thread, closing)
    await ended
    cancel()
    await this.#thread?.terminate()
    this.#giveUp()
  }

  #start(): void {
    const thread = this.#parts.startThread()
    this.#thread = thread
    thread.on('message', (message) => this.#hear(message, thread))
    thread.on('error', (error) =>
      this.#parts.logger.error({ exception: error }, 'the thread of the spool failed'),
    )
    thread.on('exit', (code) => {
      if (this.#thread === thread) this.#ended(code)
    })
  }

  #hear(message: FromThread, thread: SpoolThread): void {
    const { logger } = this.#parts
    switch (message.kind) {
      case 'ready':
        this.#isReady = true
        this.#firstStart.resolve()
        this.#handOver.connect((number, batch) => thread.postMessage({ kind: 'batch', number, batch }))
        if (this.#closing) this.#sendOff(thread, this.#closing)
        break
      case 'unusable':
        this.#firstStart.reject(cannotKeep(message.why))
        logger.error({ why: message.why }, 'spool cannot be opened')
        // Whatever it has begun beside: only its end lets the next one be started.
        void thread.terminate()
        break
      case 'committed':
        this.#deaths = 0
        this.#handOver.committed(message.number)
        break
      case 'numbers':
        this.#numbers = message.numbers
        this.#counting.tell(message.numbers)
        break
      case 'line':
        logger[message.level](message.fields, message.message)
        break
      case 'stopped':
        this.#closing?.ended()
        break
    }
  }

  /** What the dead thread had committed without saying so may be there twice. */
  #ended(code: number): void {
    const { logger, onRestart, clock, random } = this.#parts
    this.#thread = undefined
    this.#isReady = false
    this.#handOver.disconnect()
    this.#counting.reset()
    this.#firstStart.reject(cannotKeep(`its thread ended with ${code}`))
    if (this.#closing) {
      this.#startOnceMore(this.#closing)
      return
    }
    this.#deaths += 1
    const delayMs = backoffMs(restarts, this.#deaths, random())
    logger.error({ code, restart_in_ms: delayMs }, 'the thread of the spool has ended; it is started again')
    onRestart()
    clock.after(delayMs, () => {
      if (!this.#closing) this.#start()
    })
  }

  /** Nobody waits at the end, and nothing is tried for ever. */
  #startOnceMore(closing: Closing): void {
    if (this.#handOver.characters === 0 || closing.startsLeft === 0) {
      closing.ended()
      return
    }
    closing.startsLeft -= 1
    this.#start()
  }

  #sendOff(thread: SpoolThread, { withinMs }: Closing): void {
    this.#handOver.flush()
    thread.postMessage({ kind: 'stop', withinMs })
  }

  #giveUp(): void {
    const lost: Partial<Record<EventType, number>> = {}
    for (const { types } of this.#handOver.takeRest()) addCounts(lost, types)
    for (const [type, count] of Object.entries(lost) as [EventType, number][]) {
      for (let left = count; left > 0; left--) this.#parts.onDrop(spoolName, type)
    }
    if (totalOf(lost) > 0)
      this.#parts.logger.error({ events: lost }, 'the last events could not be committed')
  }
}

function cannotKeep(why: string): CannotStart {
  return new CannotStart(`GATEPOST_DATA_DIR: cannot keep events in it: ${why}`, undefined)
}
