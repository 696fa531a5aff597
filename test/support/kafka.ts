import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Admin, type IHeaders, Kafka as KafkaClient, logLevel } from 'kafkajs'
import { mendRequestQueue } from '../../src/events/sinks/kafkajs-mend.ts'
import { aptCommand } from './apt.ts'
import { cached, type Progress } from './cache.ts'
import type { KeyPair } from './certificates.ts'
import { freePort } from './ports.ts'
import { RunningProcess, run } from './process.ts'
import { type TempFolder, tempFolder } from './temp.ts'

const version = '4.4.0'

mendRequestQueue()

/** A machine that does something else as well may need this long. */
const readyLimitMs = 60_000

/** A user of the SASL listeners. */
export interface KafkaUser {
  name: string
  password: string
}

/** Who may do everything, by each SASL mechanism. */
export const kafkaUser: KafkaUser = { name: 'gatepost', password: 'the-password-of-this-run' }

/** Who is known, by SCRAM, and has no right to any topic. */
export const kafkaStranger: KafkaUser = { name: 'stranger', password: 'another-password' }

/** A record as it lies in a topic. */
export interface TopicRecord {
  partition: number
  key: string
  value: string
  headers: Record<string, string>
}

/** How a node is started. */
export interface KafkaOptions {
  progress?: Progress
  /** Certificate and key of the TLS listeners, for 127.0.0.1. Without it there are none. */
  tls?: KeyPair
  /** Port of 127.0.0.1 that the node tells those who ask its `proxied` listener; the proxy there leads to that. */
  proxyPort?: number
}

/**
 * The folder of Kafka's libraries: `libs` of `TEST_KAFKA_HOME`, else the cached one, else they are fetched by Maven.
 * @throws with all that was tried and what to do.
 */
export async function kafkaLibraries(progress: Progress): Promise<string> {
  const given = process.env['TEST_KAFKA_HOME']
  if (given) return join(given, 'libs')
  try {
    return join(await cached('kafka', version, (folder) => installKafka(folder, progress)), 'libs')
  } catch (cause) {
    throw new Error(
      `Cannot get Kafka ${version}: TEST_KAFKA_HOME is not set, none is in the cache, and fetching it by Maven failed. ` +
        'Make `mvn` and Java 17 or newer work, or set TEST_KAFKA_HOME to an unpacked Kafka of 4.0 or newer.\n' +
        (cause as Error).message,
      { cause },
    )
  }
}

async function installKafka(folder: string, progress: Progress): Promise<void> {
  const maven = await aptCommand('mvn', 'maven', progress)
  progress(`Kafka ${version}: downloading some 43 MB, once`)
  await writeFile(join(folder, 'pom.xml'), pom)
  await run({
    name: 'mvn dependency:copy-dependencies',
    command: maven,
    args: [
      '--batch-mode',
      '--quiet',
      'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies',
      '-DincludeScope=runtime',
      `-DoutputDirectory=${join(folder, 'libs')}`,
    ],
    cwd: folder,
    limitMs: 600_000,
  })
}

const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>gatepost.test</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${version}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
`

/**
 * Starts one Kafka node in KRaft mode, on free ports of loopback and with a data folder of its own, and waits until it
 * serves. It creates no topic by itself; a new one has three partitions. On its plain listeners everyone may do
 * everything.
 * @throws with its last lines where it does not come up within a minute.
 */
export async function startKafka(options: KafkaOptions = {}): Promise<Kafka> {
  const libraries = await kafkaLibraries(options.progress ?? (() => {}))
  const folder = await tempFolder('kafka')
  try {
    const ports = await portsOf(options)
    await writeFile(join(folder.path, 'server.properties'), properties(folder.path, ports, options))
    if (options.tls) await writeFile(join(folder.path, 'tls.pem'), options.tls.key + options.tls.cert)
    await format(libraries, folder.path)
    const kafka = new Kafka(libraries, folder, ports)
    await kafka.start()
    return kafka
  } catch (error) {
    await folder.remove()
    throw error
  }
}

const protocols = {
  plain: 'PLAINTEXT',
  proxied: 'PLAINTEXT',
  sasl: 'SASL_PLAINTEXT',
  tls: 'SSL',
  sasl_tls: 'SASL_SSL',
  controller: 'PLAINTEXT',
} as const

/** A listener of the node; `proxied` is told to clients as the proxy's port. */
export type KafkaListener = Exclude<keyof typeof protocols, 'controller'>

type Ports = Partial<Record<keyof typeof protocols, number>>

async function portsOf({ tls, proxyPort }: KafkaOptions): Promise<Ports> {
  const names = Object.keys(protocols) as (keyof typeof protocols)[]
  const wanted = names.filter((name) => {
    if (name === 'proxied') return proxyPort !== undefined
    return tls !== undefined || !name.endsWith('tls')
  })
  const ports: Ports = {}
  for (const name of wanted) ports[name] = await freePort()
  return ports
}

function properties(folder: string, ports: Ports, { tls, proxyPort }: KafkaOptions): string {
  const addresses = (of: Ports) =>
    Object.entries(of)
      .map(([name, port]) => `${name.toUpperCase()}://127.0.0.1:${port}`)
      .join(',')
  const { controller, ...told } = ports
  const lines: Record<string, string | number> = {
    'node.id': 1,
    'process.roles': 'broker,controller',
    'controller.quorum.voters': `1@127.0.0.1:${controller}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAIN',
    listeners: addresses(ports),
    'advertised.listeners': addresses({ ...told, ...(proxyPort && { proxied: proxyPort }) }),
    'listener.security.protocol.map': Object.entries(protocols)
      .map(([name, protocol]) => `${name.toUpperCase()}:${protocol}`)
      .join(','),
    'log.dirs': join(folder, 'data'),
    'auto.create.topics.enable': 'false',
    'num.partitions': 3,
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 1,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'group.initial.rebalance.delay.ms': 0,
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    'super.users': `User:ANONYMOUS;User:${kafkaUser.name}`,
    'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    ...jaas('sasl'),
    ...(tls && {
      ...jaas('sasl_tls'),
      'ssl.keystore.type': 'PEM',
      'ssl.keystore.location': join(folder, 'tls.pem'),
    }),
  }
  return Object.entries(lines)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')
}

function jaas(listener: string): Record<string, string> {
  const modules = 'org.apache.kafka.common.security'
  const scram = `${modules}.scram.ScramLoginModule required;`
  return {
    [`listener.name.${listener}.plain.sasl.jaas.config`]: `${modules}.plain.PlainLoginModule required user_${kafkaUser.name}="${kafkaUser.password}";`,
    [`listener.name.${listener}.scram-sha-256.sasl.jaas.config`]: scram,
    [`listener.name.${listener}.scram-sha-512.sasl.jaas.config`]: scram,
  }
}

async function format(libraries: string, folder: string): Promise<void> {
  const users = [kafkaUser, kafkaStranger].flatMap(({ name, password }) =>
    ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
      '--add-scram',
      `${mechanism}=[name=${name},password=${password},iterations=4096]`,
    ]),
  )
  const bytes = Buffer.from(randomUUID().replaceAll('-', ''), 'hex')
  // Begins with a letter: one that begins with a dash is taken for an option.
  bytes[0] = 0
  const id = bytes.toString('base64url')
  await run({
    name: 'kafka.tools.StorageTool',
    command: 'java',
    args: [
      ...['-XX:TieredStopAtLevel=1', '-cp', join(libraries, '*'), 'kafka.tools.StorageTool'],
      ...['format', '--cluster-id', id, '--config', join(folder, 'server.properties'), ...users],
    ],
  })
}

/** A real Kafka node. */
export class Kafka implements AsyncDisposable {
  readonly #libraries: string
  readonly #folder: TempFolder
  readonly #ports: Ports
  #process: RunningProcess | undefined

  constructor(libraries: string, folder: TempFolder, ports: Ports) {
    this.#libraries = libraries
    this.#folder = folder
    this.#ports = ports
  }

  /** Where a listener really listens: `127.0.0.1:PORT`. @throws where the options asked for none such. */
  address(listener: KafkaListener): string {
    const port = this.#ports[listener]
    if (port === undefined)
      throw new Error(`Cannot use the listener ${listener} of Kafka: it was not asked for`)
    return `127.0.0.1:${port}`
  }

  /** Starts the node, at first or after a kill, on the same ports and data, and waits until it serves. */
  async start(): Promise<void> {
    const running = new RunningProcess({
      name: 'Kafka',
      command: 'java',
      args: [
        ...['-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-cp', join(this.#libraries, '*')],
        ...['kafka.Kafka', join(this.#folder.path, 'server.properties')],
      ],
    })
    this.#process = running
    try {
      await running.line((line) => line.includes('Kafka Server started'), readyLimitMs)
    } catch (error) {
      await running.stop()
      throw error
    }
  }

  /** Does something as an administrator. */
  async administer<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
    const admin = this.#client().admin()
    await admin.connect()
    try {
      return await work(admin)
    } finally {
      await admin.disconnect()
    }
  }

  /** Everything that a topic holds at the moment, in order within each partition. */
  async records(topic: string): Promise<TopicRecord[]> {
    await this.#process?.until(() => this.#coordinates())
    const offsets = await this.administer((admin) => admin.fetchTopicOffsets(topic))
    const expected = offsets.reduce((sum, { high, low }) => sum + Number(high) - Number(low), 0)
    const records: TopicRecord[] = []
    if (expected === 0) return records
    const { promise: complete, resolve, reject } = Promise.withResolvers<void>()
    const consumer = this.#client().consumer({ groupId: randomUUID() })
    consumer.on('consumer.crash', ({ payload }) => reject(payload.error))
    await consumer.connect()
    try {
      await consumer.subscribe({ topic, fromBeginning: true })
      await consumer.run({
        eachMessage: async ({ partition, message: { key, value, headers } }) => {
          records.push({ partition, key: String(key), value: String(value), headers: textsOf(headers) })
          if (records.length === expected) resolve()
        },
      })
      await complete
    } finally {
      await consumer.disconnect()
    }
    return records
  }

  /** Whether consumers are served: a node that has just started, or never had one, is not ready for them yet. */
  async #coordinates(): Promise<true> {
    await this.administer((admin) => admin.fetchOffsets({ groupId: 'nobody' }))
    return true
  }

  #client(): KafkaClient {
    return new KafkaClient({ brokers: [this.address('plain')], logLevel: logLevel.NOTHING })
  }

  /** Ends the node as a crash would: SIGKILL. */
  async kill(): Promise<void> {
    this.#process?.signal('SIGKILL')
    await this.#process?.ended
  }

  /** Ends the node, at once, and removes its data. */
  async stop(): Promise<void> {
    // Nothing is kept: there is no point in the seconds that an orderly end takes.
    await this.kill()
    await this.#folder.remove()
  }

  /** Stops when an `await using` scope closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

function textsOf(headers: IHeaders = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
}
