import type { Logger } from '../../core/log.ts'
import type { Broker, LoggedEvent, Refusal } from './broker.ts'
import { explain, failureOf, isRefusal } from './kafka-errors.ts'
import { byTopic, type KafkaRecord, kafkaTopics, recordsOf, runsOf } from './kafka-records.ts'
import {
  KafkaSession,
  type KafkaSettings,
  requireUsable,
  type TopicState,
  topicsIn,
} from './kafka-session.ts'

/** What Kafka needs beside its settings. */
export interface KafkaParts {
  /** Told of topics that were created, and on `debug` what kafkajs has to say. */
  log: Pick<Logger, 'debug' | 'info'>
  /** The SASL password as it is now; asked for whenever connections are made anew. Default: an empty one. */
  password?: () => string
  /** How long each run of 500 events, or 900 KiB of them, may take, connecting included. Default 30,000. */
  runLimitMs?: number
}

const defaultRunLimitMs = 30_000

/** Beyond it kafkajs's own bookkeeping costs more than another request. */
const maxRunRecords = 500

/** A broker takes 1 MiB for a partition by default, once compressed: what is less before that is always taken. */
const maxRunBytes = 900 * 1024

/**
 * Delivers events to Kafka: each to the topic of its type, under its client id (else its request id, else its own id) as
 * the key, to the partition that Java's clients would choose, the envelope as the value, CloudEvents in the headers.
 * Events go in runs of at most 500 and 900 KiB, one after another, each acknowledged by all replicas in sync before the
 * next: what is delivered again after a failure comes after its first copy, and before anything later of the same key.
 * Where a run is too large, it is halved until the event to blame is alone, and that one is refused.
 * Each run ends within `runLimitMs`, or, when the signal aborts, at once with its reason; after any failure the next call
 * begins with new connections.
 */
export function createKafkaBroker(settings: KafkaSettings, parts: KafkaParts): Broker {
  return new KafkaBroker(settings, parts)
}

class KafkaBroker implements Broker {
  readonly name = 'kafka'
  readonly #settings: KafkaSettings
  readonly #parts: Required<KafkaParts>
  #session: KafkaSession | undefined
  /** Sessions that were begun: each begins with another broker of the list. */
  #begun = 0
  #runBytes = maxRunBytes
  #delivering = false
  #closed = false

  constructor(
    settings: KafkaSettings,
    { log, password = () => '', runLimitMs = defaultRunLimitMs }: KafkaParts,
  ) {
    this.#settings = settings
    this.#parts = { log, password, runLimitMs }
  }

  async deliver(events: readonly LoggedEvent[], signal: AbortSignal): Promise<readonly Refusal[]> {
    // Two at a time is where kafkajs loses messages: both would go out with the same sequence numbers, and the broker
    // takes the second for a copy of the first (tulios/kafkajs#598, #1005).
    if (this.#delivering) throw new Error('Cannot deliver to Kafka: the call before has not settled')
    this.#delivering = true
    try {
      const { records, refusals } = recordsOf(events)
      for (const run of runsOf(records, { maxRecords: maxRunRecords, maxBytes: this.#runBytes })) {
        refusals.push(...(await this.#sendOrHalve(run, signal)))
      }
      return refusals.toSorted((one, other) => one.index - other.index)
    } finally {
      this.#delivering = false
    }
  }

  async probe(signal: AbortSignal): Promise<string> {
    const session = this.#beginSession()
    try {
      const { brokers, topics } = await this.#limited(signal, () => session.inspect(kafkaTopics))
      return this.#describe(brokers, topics)
    } catch (error) {
      throw new Error(
        `Cannot use Kafka at ${this.#settings.brokers.join(', ')}: ${explain(failureOf(error))}`,
        { cause: error },
      )
    } finally {
      await session.end('at once')
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#session?.end('gently')
    this.#session = undefined
  }

  /** Sends a run; one with an event that is refused is halved until that one is found. */
  async #sendOrHalve(run: readonly KafkaRecord[], signal: AbortSignal): Promise<Refusal[]> {
    const refused = await this.#send(run, signal)
    if (refused === undefined) return []
    const [first] = run
    if (first && run.length === 1) return [{ index: first.index, reason: refused }]
    const middle = run.length >> 1
    const refusals = [
      ...(await this.#sendOrHalve(run.slice(0, middle), signal)),
      ...(await this.#sendOrHalve(run.slice(middle), signal)),
    ]
    // None is to blame, it was their sum: a topic whose limit is low (tulios/kafkajs#949).
    if (refusals.length === 0) this.#runBytes = Math.min(this.#runBytes, bytesOf(run) / 2)
    return refusals
  }

  /**
   * Sends a run.
   * @returns why a broker refuses it for good, if it does.
   * @throws where nothing is certain.
   */
  async #send(run: readonly KafkaRecord[], signal: AbortSignal): Promise<string | undefined> {
    const session = this.#session ?? this.#beginSession()
    this.#session = session
    try {
      await this.#limited(signal, () => session.send(byTopic(run)))
      return undefined
    } catch (error) {
      // Of several partitions some may have been stored, and kafkajs counts all their sequence numbers back: what went
      // there next would be taken for a copy, acknowledged and dropped. A new session has a new producer id.
      this.#session = undefined
      await session.end('at once')
      if (signal.aborted) throw signal.reason
      const failure = failureOf(error)
      if (isRefusal(failure)) return explain(failure)
      const topics = [...new Set(run.map(({ topic }) => topic))].join(', ')
      throw new Error(`Cannot deliver to Kafka (${topics}): ${explain(failure)}`, { cause: error })
    }
  }

  #beginSession(): KafkaSession {
    if (this.#closed) throw new Error('Cannot use Kafka: the broker is closed')
    const firstBroker = this.#begun
    this.#begun += 1
    return new KafkaSession(this.#settings, { ...this.#parts, firstBroker })
  }

  /** kafkajs has waits without an end, such as an authentication whose socket fails: none is left to itself. */
  async #limited<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    const { promise: over, reject } = Promise.withResolvers<never>()
    const { runLimitMs } = this.#parts
    const timer = setTimeout(() => reject(new Error(`no answer within ${runLimitMs} ms`)), runLimitMs)
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort)
    try {
      return await Promise.race([work(), over])
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
    }
  }

  #describe(brokers: number, states: ReadonlyMap<string, TopicState>): string {
    const { tls, sasl } = this.#settings
    const missing = requireUsable(states, this.#settings)
    return [
      `${brokers} broker${brokers === 1 ? '' : 's'}`,
      ...(tls ? ['TLS'] : []),
      ...(sasl ? [`${sasl.mechanism} as ${sasl.username}`] : []),
      `topics ${topicsIn('there', states).join(', ') || 'none'}`,
      ...(missing.length > 0 ? [`to be created: ${missing.join(', ')}`] : []),
    ].join('; ')
  }
}

function bytesOf(run: readonly KafkaRecord[]): number {
  return run.reduce((sum, { bytes }) => sum + bytes, 0)
}
