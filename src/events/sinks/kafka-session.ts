import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { gunzipSync, gzipSync } from 'node:zlib'
import kafkajs, {
  type Admin,
  type ISocketFactoryArgs,
  Kafka,
  type KafkaConfig,
  type LogEntry,
  logLevel,
  type Producer,
  type SASLOptions,
  type TopicMessages,
} from 'kafkajs'
import type { Logger } from '../../core/log.ts'
import { failureOf } from './kafka-errors.ts'
import { KafkaLedger } from './kafka-ledger.ts'
import { mendProduceRequest, mendRequestQueue } from './kafkajs-mend.ts'

// Names that Node does not find among the exports of a CommonJS module.
const { CompressionCodecs, CompressionTypes } = kafkajs

/** How Kafka is reached. */
export interface KafkaSettings {
  /** `host:port` of brokers to ask first; at least one. The host is a name or an IPv4 address. */
  brokers: readonly string[]
  /** Whether connections are TLS, by the authorities that Node trusts. */
  tls: boolean
  /** Whether brokers beyond loopback may be reached without TLS, those that a cluster tells of included. */
  allowPlaintext: boolean
  /** Absent where the brokers ask nobody who they are. */
  sasl?: { mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'; username: string }
  /** Whether topics that are missing are created, with the brokers' own numbers of partitions and replicas. */
  createTopics: boolean
}

/** What a session needs beside its settings. */
export interface SessionParts {
  log: Pick<Logger, 'debug' | 'info'>
  /** The SASL password as it is now. */
  password: () => string
  /** Which of the brokers is asked first; counted round. */
  firstBroker: number
}

/** Whether a topic can be used. */
export type TopicState = 'there' | 'missing' | 'forbidden'

const connectionTimeoutMs = 5_000
const requestTimeoutMs = 10_000
const farewellLimitMs = 1_000
const keepAliveMs = 30_000

/** kafkajs asks an idempotent producer to try again once at least, and again with the very same batch is harmless. */
const retry = { retries: 1, initialRetryTime: 100, maxRetryTime: 1_000 }

// gzip, for there is no client of Kafka that cannot read it; at its lowest level, which halves its cost in CPU and
// leaves 114 bytes of an event where the usual one leaves 106 (docs/adr/0011-kafka.md). At once, in this thread: a batch
// of ten events takes 25 µs so, and 150 µs by way of Node's pool of threads.
const gzipLevel = 1
CompressionCodecs[CompressionTypes.GZIP] = () => ({
  compress: async ({ buffer }: { buffer: Buffer }) => gzipSync(buffer, { level: gzipLevel }),
  decompress: async (buffer: Buffer) => gunzipSync(buffer),
})

mendRequestQueue()
mendProduceRequest()

/**
 * One producer with connections of its own, good until the first thing that goes wrong: after that nothing that kafkajs
 * remembers is to be trusted (sequence numbers, addresses, sockets), and the session is to be ended.
 * Every method may hang for as long as the network does; `end` settles them.
 */
export class KafkaSession {
  readonly #settings: KafkaSettings
  readonly #parts: SessionParts
  readonly #sockets = new Set<Socket>()
  readonly #kafka: Kafka
  readonly #producer: Producer
  readonly #ledger = new KafkaLedger()
  readonly #usableTopics = new Set<string>()
  #connected = false
  #ended = false

  /** Opens no connection yet. */
  constructor(settings: KafkaSettings, parts: SessionParts) {
    this.#settings = settings
    this.#parts = parts
    this.#kafka = new Kafka(this.#config())
    this.#producer = this.#kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      retry,
      createPartitioner: this.#ledger.partitioner,
    })
  }

  /**
   * Stores messages on every replica in sync.
   * @throws where a broker has not said of every partition that they are.
   */
  async send(topicMessages: TopicMessages[]): Promise<void> {
    // The topics come first: a user without rights is told which, where a producer's id is refused without a word.
    await this.#requireTopics(topicMessages.map(({ topic }) => topic))
    await this.#connect()
    this.#ledger.begin()
    const answers = await this.#producer.sendBatch({
      acks: -1,
      timeout: requestTimeoutMs,
      compression: CompressionTypes.GZIP,
      topicMessages,
    })
    this.#ledger.balance(answers)
  }

  /** Asks for the number of brokers and the state of topics. */
  async inspect(topics: readonly string[]): Promise<{ brokers: number; topics: Map<string, TopicState> }> {
    return this.#administer(async (admin) => {
      const { brokers } = await admin.describeCluster()
      return { brokers: brokers.length, topics: await statesOf(topics, admin) }
    })
  }

  /**
   * Ends all connections; what is under way rejects. Takes a second at most, and never throws.
   * @param how `gently` lets a request that is being written out pass; `at once` for connections that nobody trusts.
   */
  async end(how: 'gently' | 'at once'): Promise<void> {
    this.#ended = true
    if (how === 'at once') this.#destroySockets()
    const { promise: limit, resolve: giveUp } = Promise.withResolvers<void>()
    const timer = setTimeout(giveUp, farewellLimitMs)
    await Promise.race([this.#producer.disconnect().catch(() => {}), limit])
    clearTimeout(timer)
    this.#destroySockets()
  }

  #config(): KafkaConfig {
    const { brokers, tls, sasl } = this.#settings
    const { firstBroker, password } = this.#parts
    const first = firstBroker % brokers.length
    return {
      clientId: 'gatepost',
      // Only the first of the list is asked, unless it is down: the next session begins with the next one.
      brokers: [...brokers.slice(first), ...brokers.slice(0, first)],
      ssl: tls,
      // An object of its own: kafkajs writes into it.
      ...(sasl && { sasl: { ...sasl, password: password() } as SASLOptions }),
      connectionTimeout: connectionTimeoutMs,
      authenticationTimeout: requestTimeoutMs,
      requestTimeout: requestTimeoutMs,
      enforceRequestTimeout: true,
      retry,
      socketFactory: (args) => this.#openSocket(args),
      logLevel: logLevel.WARN,
      logCreator: () => (entry) => this.#log(entry),
    }
  }

  async #connect(): Promise<void> {
    if (this.#connected) return
    await this.#producer.connect()
    this.#connected = true
  }

  /** The sockets are ours, to destroy them: kafkajs leaves those that hang open until the system gives them up (#918, #1783). */
  #openSocket({ host, port, ssl, onConnect }: ISocketFactoryArgs): Socket {
    if (this.#ended) throw new Error('the session has ended')
    if (!this.#settings.tls && !this.#settings.allowPlaintext && !isLoopbackHost(host)) {
      throw new Error(
        `a broker is said to be at ${host}:${port}, and plain text is for loopback only; set KAFKA_TLS=true, or GATEPOST_ALLOW_PLAINTEXT=true`,
      )
    }
    const name = isIP(host) === 0 ? { servername: host } : {}
    const socket = this.#settings.tls
      ? connectTls({ host, port, ...name, ...ssl }, onConnect)
      : connect({ host, port }, onConnect)
    socket.setKeepAlive(true, keepAliveMs)
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    return socket
  }

  #destroySockets(): void {
    // With an error, for that is what makes kafkajs reject what waits for an answer.
    for (const socket of this.#sockets) socket.destroy(new Error('the connection was given up'))
  }

  /** Asked before the first message goes there: the error of a produce request does not tell which topic it means (#1078). */
  async #requireTopics(topics: readonly string[]): Promise<void> {
    const unseen = topics.filter((topic) => !this.#usableTopics.has(topic))
    if (unseen.length === 0) return
    await this.#administer(async (admin) => {
      const states = await statesOf(unseen, admin)
      const missing = requireUsable(states, this.#settings)
      if (missing.length > 0) await this.#createTopics(admin, missing)
    })
    for (const topic of unseen) this.#usableTopics.add(topic)
  }

  async #createTopics(admin: Admin, topics: readonly string[]): Promise<void> {
    await admin.createTopics({
      topics: topics.map((topic) => ({ topic, numPartitions: -1, replicationFactor: -1 })),
      timeout: requestTimeoutMs,
    })
    this.#parts.log.info({ topics }, 'topics created on Kafka')
  }

  async #administer<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
    const admin = this.#kafka.admin()
    await admin.connect()
    try {
      return await work(admin)
    } finally {
      await admin.disconnect()
    }
  }

  #log({ namespace, log: { message, broker, error } }: LogEntry): void {
    this.#parts.log.debug({ part: `kafkajs ${namespace}`, broker, error }, message)
  }
}

/**
 * Tells whether topics can be used.
 * @returns those that are yet to be created.
 * @throws with the topics that miss or are forbidden, and what would do.
 */
export function requireUsable(
  states: ReadonlyMap<string, TopicState>,
  { createTopics }: Pick<KafkaSettings, 'createTopics'>,
): readonly string[] {
  const forbidden = topicsIn('forbidden', states)
  const missing = topicsIn('missing', states)
  if (forbidden.length > 0) {
    throw new Error(`${plural(forbidden)} is not this user's to use; allow the operations Describe and Write`)
  }
  if (missing.length > 0 && !createTopics) {
    throw new Error(`${plural(missing)} does not exist; create it, or set KAFKA_CREATE_TOPICS=true`)
  }
  return missing
}

/** The topics of which this is so. */
export function topicsIn(state: TopicState, states: ReadonlyMap<string, TopicState>): readonly string[] {
  return [...states].filter(([, other]) => other === state).map(([topic]) => topic)
}

function plural(topics: readonly string[]): string {
  return `${topics.length === 1 ? 'the topic' : 'each of the topics'} ${topics.join(', ')}`
}

/** One question for each topic: an answer about several does not tell which of them its error means. */
async function statesOf(topics: readonly string[], admin: Admin): Promise<Map<string, TopicState>> {
  const states = new Map<string, TopicState>()
  for (const topic of topics) states.set(topic, await stateOf(topic, admin))
  return states
}

async function stateOf(topic: string, admin: Admin): Promise<TopicState> {
  try {
    await admin.fetchTopicMetadata({ topics: [topic] })
    return 'there'
  } catch (error) {
    const { code } = failureOf(error)
    if (code === 'UNKNOWN_TOPIC_OR_PARTITION') return 'missing'
    if (code === 'TOPIC_AUTHORIZATION_FAILED') return 'forbidden'
    throw error
  }
}

function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host)
}
