import { splitList } from '../core/routes.ts'
import type { Environment, Problem } from './environment.ts'
import { isLoopback, tcpAddress, text, Unfit } from './parsers.ts'
import { secretFile } from './secret-file.ts'
import type { Values } from './variables.ts'

/** The SASL mechanisms by which Gatepost can say who it is. */
export const saslMechanisms = ['plain', 'scram-sha-256', 'scram-sha-512'] as const

/** Where Kafka is. Plain data, which a worker thread can be handed; {@link followKafkaPassword} makes it live. */
export interface KafkaSettings {
  /** `host:port` of each broker to ask first. */
  brokers: readonly string[]
  tls: boolean
  sasl?: KafkaSaslSettings
  /** Whether missing topics are created. */
  createTopics: boolean
  /** Whether it may be plain text beyond loopback. */
  allowPlaintext: boolean
}

/** By whom, and how, Gatepost says that it is. */
export interface KafkaSaslSettings {
  mechanism: (typeof saslMechanisms)[number]
  username: string
  /** The password at the start. */
  first: string
  /** The file that it came from. */
  path?: string
}

const defaultPort = 9092

/** Brokers, by commas: `host:port`, or `host` for port 9092. */
export function kafkaBrokers(value: string): readonly string[] {
  const brokers = splitList(value)
  if (brokers.length === 0) throw new Unfit('a list of host:port by commas')
  return brokers.map(brokerAddress)
}

function brokerAddress(entry: string): string {
  // The Kafka client splits at the first colon.
  if (entry.startsWith('['))
    throw new Unfit('a list of host:port by commas, each host a name or an IPv4 address')
  const { host, port } = tcpAddress(/:\d+$/.test(entry) ? entry : `${entry}:${defaultPort}`)
  return `${host}:${port}`
}

const saslNames = ['KAFKA_SASL_MECHANISM', 'KAFKA_SASL_USERNAME', 'KAFKA_SASL_PASSWORD'] as const
const switchNames = ['KAFKA_TLS', 'KAFKA_CREATE_TOPICS'] as const

/** Says what is wrong with values that can be read: half a login, what is for no broker, or one that everyone could listen to. */
export function checkKafka(values: Values, problems: Problem[]): void {
  const { KAFKA_BROKERS: brokers, KAFKA_TLS: tls, GATEPOST_ALLOW_PLAINTEXT: allowPlaintext } = values
  const isSpokenOf = (name: string) =>
    problems.some((problem) => problem.startsWith(`${name}:`) || problem.startsWith(`${name}_FILE:`))
  const given = saslNames.filter((name) => values[name] !== undefined || isSpokenOf(name))
  if (brokers === undefined) {
    const idle = [...given, ...switchNames.filter((name) => values[name])]
    if (!isSpokenOf('KAFKA_BROKERS'))
      problems.push(...idle.map((name) => `${name}: it means nothing without KAFKA_BROKERS`))
    return
  }
  const missing = given.length === 0 ? [] : saslNames.filter((name) => !given.includes(name))
  problems.push(
    ...missing.map((name) => `${name}: ${given.join(' and ')} need${given.length === 1 ? 's' : ''} it`),
  )
  const exposed = brokers.filter((broker) => !isLoopback(tcpAddress(broker).host))
  if (exposed.length === 0 || tls || allowPlaintext) return
  problems.push(
    `KAFKA_BROKERS: the connection to ${exposed.join(', ')} would be plain text; set KAFKA_TLS=true, or GATEPOST_ALLOW_PLAINTEXT=true`,
  )
}

/** Where Kafka is, if anywhere. */
export function kafkaSettings(values: Values, env: Environment): KafkaSettings | undefined {
  const { KAFKA_BROKERS: brokers } = values
  if (brokers === undefined) return undefined
  const sasl = saslSettings(values, env)
  return {
    brokers,
    tls: values.KAFKA_TLS,
    ...(sasl && { sasl }),
    createTopics: values.KAFKA_CREATE_TOPICS,
    allowPlaintext: values.GATEPOST_ALLOW_PLAINTEXT,
  }
}

function saslSettings(values: Values, env: Environment): KafkaSaslSettings | undefined {
  const {
    KAFKA_SASL_MECHANISM: mechanism,
    KAFKA_SASL_USERNAME: username,
    KAFKA_SASL_PASSWORD: first,
  } = values
  if (mechanism === undefined || username === undefined || first === undefined) return undefined
  const path = env['KAFKA_SASL_PASSWORD_FILE']
  return { mechanism, username, first, ...(path && { path }) }
}

/** Gives the SASL password as it is now: its file is reread when it changes. Empty where there is none. */
export function followKafkaPassword({ sasl }: Pick<KafkaSettings, 'sasl'>): () => string {
  if (sasl?.path === undefined) return () => sasl?.first ?? ''
  return secretFile(sasl.path, sasl.first, text)
}
