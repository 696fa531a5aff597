/** What an error of kafkajs says, with what it is wrapped in taken off. */
export interface KafkaFailure {
  /** The protocol's name of the error, else the system's code, else kafkajs's own name. */
  code: string
  message: string
}

/** Errors by which a broker says that it will never take these very records. */
const refusalCodes: ReadonlySet<string> = new Set([
  'MESSAGE_TOO_LARGE',
  'RECORD_LIST_TOO_LARGE',
  'INVALID_RECORD',
])

const trustTheAuthority =
  'if its authority is not one that the system knows, name its certificate in NODE_EXTRA_CA_CERTS'
const checkTheListener =
  'a broker does so where its listener expects TLS (KAFKA_TLS=true) or SASL (KAFKA_SASL_MECHANISM) and gets none, or the other way round'

/** What would do, by the code of a failure. */
const remedies: Readonly<Record<string, string>> = {
  TOPIC_AUTHORIZATION_FAILED: 'allow this user the operations Describe and Write on the topics',
  CLUSTER_AUTHORIZATION_FAILED:
    'allow this user the operation Write on the topics (before Kafka 2.8 IdempotentWrite on the cluster as well), and Create where KAFKA_CREATE_TOPICS=true',
  KafkaJSSASLAuthenticationError: 'check KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD',
  KafkaJSConnectionClosedError: checkTheListener,
  ECONNRESET: checkTheListener,
  EPROTO: checkTheListener,
  ERR_SSL_WRONG_VERSION_NUMBER: checkTheListener,
  ECONNREFUSED: 'check KAFKA_BROKERS, and the addresses that the brokers advertise',
  ENOTFOUND: 'check KAFKA_BROKERS, and the addresses that the brokers advertise',
  SELF_SIGNED_CERT_IN_CHAIN: trustTheAuthority,
  DEPTH_ZERO_SELF_SIGNED_CERT: trustTheAuthority,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: trustTheAuthority,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: trustTheAuthority,
  ERR_TLS_CERT_ALTNAME_INVALID: 'the brokers must advertise a name that their certificate has',
  NOT_ENOUGH_REPLICAS: 'fewer replicas are in sync than min.insync.replicas asks',
}

/** Takes an error of kafkajs, of Node or of ours apart. */
export function failureOf(error: unknown): KafkaFailure {
  const chain = [...causes(error)]
  const protocol = chain.find(({ type }) => typeof type === 'string')
  const system = chain.find(({ code }) => typeof code === 'string')
  const innermost = chain.at(-1)
  return {
    code: protocol?.type ?? (system?.code as string | undefined) ?? innermost?.name ?? 'unknown',
    message: (protocol ?? system ?? innermost)?.message ?? String(error),
  }
}

interface Cause {
  name?: string
  message?: string
  /** A name of the protocol, in kafkajs's errors. */
  type?: string
  /** A text in Node's errors, the protocol's number in kafkajs's. */
  code?: unknown
  cause?: unknown
}

const maxCauses = 10

function* causes(error: unknown): Generator<Cause> {
  let current = error
  for (let depth = 0; depth < maxCauses && typeof current === 'object' && current !== null; depth += 1) {
    yield current as Cause
    current = (current as Cause).cause
  }
}

/** Whether a broker has refused records for good: at least one of those that were sent. */
export function isRefusal({ code }: KafkaFailure): boolean {
  return refusalCodes.has(code)
}

/** A failure in words: what happened, and what would do where that is known. */
export function explain({ code, message }: KafkaFailure): string {
  const remedy = Object.hasOwn(remedies, code) ? `; ${remedies[code]}` : ''
  return `${message}${code === 'Error' || message.includes(code) ? '' : ` (${code})`}${remedy}`
}
