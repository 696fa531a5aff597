import type { ListenAddress, TcpAddress } from '../core/listen.ts'
import { type AmqpSettings, amqpSettings, checkAmqp } from './amqp.ts'
import { type ApiKeySettings, readApiKeys } from './api-keys.ts'
import type { DocumentResult } from './document.ts'
import { type EffectivePolicy, readFirstPolicy } from './effective-policy.ts'
import { type Environment, type Problem, readEnvironment, secretOf } from './environment.ts'
import { type FollowParts, readFile } from './followed-file.ts'
import { checkKafka, type KafkaSettings, kafkaSettings } from './kafka.ts'
import { isLoopback } from './parsers.ts'
import { createThreadedPolicyReader } from './policy-thread.ts'
import type { Secret } from './secret-file.ts'
import { createSubKeys, type SubKeys } from './secret-key.ts'
import type { Values } from './variables.ts'
import { readFirstWebhooks, type WebhookSettings } from './webhook-settings.ts'

/** Everything the environment decides, checked. Durations in milliseconds unless the name says otherwise. */
export interface Settings {
  grpc: { address: ListenAddress; socketMode: number; tls?: TlsSettings }
  admin: { address: TcpAddress; token?: Secret }
  /** The second listener, open to everyone and with nothing to hide. */
  statusAddress?: TcpAddress
  dataDir: string
  drain: { delayMs: number; timeoutMs: number }
  /** Whom Gatepost trusts and what routes ask: at the start, and by what file it changes. */
  policy: { first: EffectivePolicy; path?: string; read: FollowParts<EffectivePolicy>['read'] }
  /** Which refusals by a limit become events. */
  rateLimitEvents: Values['GATEPOST_RATE_LIMIT_EVENTS']
  /** API keys: the file, its content at the start, and the header that keys come in. */
  apiKeys?: { path: string; header: string; first: ReadonlyMap<string, ApiKeySettings> }
  clientCertificates: Values['GATEPOST_CLIENT_CERT']
  /** By which source a client's address is known. */
  clientAddress: Values['GATEPOST_CLIENT_ADDRESS']
  /** Whether clients are told what a part in shadow mode would have refused. */
  shadowHeader: boolean
  /** Who tells how requests ended; `none` for nobody. */
  observer: Values['GATEPOST_OBSERVER']
  /** Which events are told, the ratio of `request.completed` kept, and what becomes of personal data in them. */
  eventChoice: {
    types: Values['GATEPOST_EVENTS']
    sample: number
    privacy: Values['GATEPOST_EVENTS_PRIVACY']
  }
  /** Keys of Gatepost's own, derived from its secret key; absent where there is none. */
  subKeys?: SubKeys
  /** Where events go as JSON lines: `stdout`, or the path of a file. */
  eventsLog?: string
  /** How events are kept on disk until they are delivered. */
  spool: { maxBytes: number; sync: Values['GATEPOST_SPOOL_SYNC'] }
  /** Kafka that events go to, where there is one. */
  kafka?: KafkaSettings
  /** RabbitMQ for events; plain data, for a worker thread. */
  amqp?: AmqpSettings
  webhooks: WebhookSettings
  /** Whether keys may be fetched, and webhooks sent, over plain http beyond loopback. */
  allowPlaintext: boolean
  tokens: {
    cacheTtlMs: number
    introspectionTtlMs: number
    introspectionStaleMs: number
    clockSkewSeconds: number
  }
  log: { level: Values['LOG_LEVEL']; format: Values['LOG_FORMAT'] }
}

/** mTLS of the gRPC listener; all files are PEM. */
export interface TlsSettings {
  certFile: string
  keyFile: string
  clientCaFile: string
  /** Subject alternative names of which a client must have one; absent if any certificate of the authorities will do. */
  clientNames?: readonly string[]
}

/** Settings, or every problem that keeps them from being any. */
export type SettingsResult =
  | { kind: 'settings'; settings: Settings }
  | { kind: 'problems'; problems: Problem[] }

/** Reads and checks the whole environment; all problems are found at once. */
export function readSettings(env: Environment): SettingsResult {
  const { values, problems } = readEnvironment(env)
  const policy = readFirstPolicy(values, env)
  if (policy.kind === 'problems') problems.push(...policy.problems)
  const apiKeys = readKeys(values, problems)
  const webhooks = readFirstWebhooks(values, env, problems)
  checkListeners(values, problems)
  checkKafka(values, problems)
  checkAmqp(values, problems)
  checkPrivacy(values, env, problems)
  checkWaysIn(values, policy, env, problems)
  if (problems.length > 0 || policy.kind === 'problems') return { kind: 'problems', problems }
  return { kind: 'settings', settings: deepFreeze(assemble(values, policy.value, apiKeys, webhooks, env)) }
}

function assemble(
  values: Values,
  policy: EffectivePolicy,
  apiKeys: Settings['apiKeys'] | undefined,
  webhooks: WebhookSettings,
  env: Environment,
): Settings {
  const token = secretOf('GATEPOST_ADMIN_TOKEN', values.GATEPOST_ADMIN_TOKEN, env)
  const secretKey = secretOf('GATEPOST_SECRET_KEY', values.GATEPOST_SECRET_KEY, env)
  const kafka = kafkaSettings(values, env)
  const amqp = amqpSettings(values, env)
  const tls = tlsSettings(values)
  return {
    grpc: {
      address: values.GATEPOST_GRPC_ADDRESS,
      socketMode: values.GATEPOST_GRPC_SOCKET_MODE,
      ...(tls && { tls }),
    },
    admin: { address: values.GATEPOST_ADMIN_ADDRESS, ...(token && { token }) },
    ...(values.GATEPOST_STATUS_ADDRESS && { statusAddress: values.GATEPOST_STATUS_ADDRESS }),
    dataDir: values.GATEPOST_DATA_DIR,
    drain: { delayMs: values.GATEPOST_DRAIN_DELAY, timeoutMs: values.GATEPOST_DRAIN_TIMEOUT },
    policy: {
      first: policy,
      ...(values.GATEPOST_POLICY_FILE && { path: values.GATEPOST_POLICY_FILE }),
      read: createThreadedPolicyReader(values, env),
    },
    rateLimitEvents: values.GATEPOST_RATE_LIMIT_EVENTS,
    ...(apiKeys && { apiKeys }),
    clientCertificates: values.GATEPOST_CLIENT_CERT,
    clientAddress: values.GATEPOST_CLIENT_ADDRESS,
    shadowHeader: values.GATEPOST_SHADOW_HEADER,
    observer: values.GATEPOST_OBSERVER,
    eventChoice: {
      types: values.GATEPOST_EVENTS,
      sample: values.GATEPOST_EVENTS_SAMPLE,
      privacy: values.GATEPOST_EVENTS_PRIVACY,
    },
    ...(secretKey && { subKeys: createSubKeys(secretKey) }),
    ...(values.GATEPOST_EVENTS_LOG && { eventsLog: values.GATEPOST_EVENTS_LOG }),
    spool: { maxBytes: values.GATEPOST_SPOOL_MAX_BYTES, sync: values.GATEPOST_SPOOL_SYNC },
    ...(kafka && { kafka }),
    ...(amqp && { amqp }),
    webhooks,
    allowPlaintext: values.GATEPOST_ALLOW_PLAINTEXT,
    tokens: {
      cacheTtlMs: values.GATEPOST_TOKEN_CACHE_TTL,
      introspectionTtlMs: values.GATEPOST_INTROSPECTION_CACHE_TTL,
      introspectionStaleMs: values.GATEPOST_INTROSPECTION_STALE,
      clockSkewSeconds: Math.ceil(values.GATEPOST_CLOCK_SKEW / 1_000),
    },
    log: { level: values.LOG_LEVEL, format: values.LOG_FORMAT },
  }
}

/** Reads the file of API keys, which is followed from then on. */
function readKeys(values: Values, problems: Problem[]): Settings['apiKeys'] {
  const { GATEPOST_API_KEYS_FILE: path, GATEPOST_API_KEY_HEADER: header } = values
  if (path === undefined) return undefined
  const result = readFile(path, readApiKeys)
  if (result.kind === 'document') return { path, header, first: result.value }
  problems.push(...result.problems.map((problem) => `GATEPOST_API_KEYS_FILE: ${problem}`))
  return undefined
}

function tlsSettings(values: Values): TlsSettings | undefined {
  const { GATEPOST_GRPC_TLS_CERT_FILE: certFile, GATEPOST_GRPC_TLS_KEY_FILE: keyFile } = values
  const { GATEPOST_GRPC_TLS_CLIENT_CA_FILE: clientCaFile, GATEPOST_GRPC_CLIENT_NAMES: clientNames } = values
  if (!certFile || !keyFile || !clientCaFile) return undefined
  return { certFile, keyFile, clientCaFile, ...(clientNames && { clientNames }) }
}

const tlsFiles = [
  'GATEPOST_GRPC_TLS_CERT_FILE',
  'GATEPOST_GRPC_TLS_KEY_FILE',
  'GATEPOST_GRPC_TLS_CLIENT_CA_FILE',
] as const

function checkListeners(values: Values, problems: Problem[]): void {
  const { GATEPOST_GRPC_ADDRESS: grpc, GATEPOST_GRPC_INSECURE: insecure } = values
  const missing = tlsFiles.filter((name) => values[name] === undefined)
  if (missing.length < tlsFiles.length) {
    problems.push(...missing.map((name) => `${name}: mTLS needs it beside the other two files`))
    return
  }
  if (values.GATEPOST_GRPC_CLIENT_NAMES) {
    problems.push(`GATEPOST_GRPC_CLIENT_NAMES: it means nothing without ${tlsFiles.join(', ')}`)
  }
  if (grpc.kind === 'tcp' && !isLoopback(grpc.host) && !insecure) {
    problems.push(
      `GATEPOST_GRPC_ADDRESS: ${grpc.host} can be reached from other machines and the connection is plain text; set ${tlsFiles.join(', ')} for mTLS, listen on 127.0.0.1 or unix:/path, or set GATEPOST_GRPC_INSECURE=true`,
    )
  }
}

/** A hash without a key could be undone by trying every address. */
function checkPrivacy(values: Values, env: Environment, problems: Problem[]): void {
  const hashed = Object.entries(values.GATEPOST_EVENTS_PRIVACY).filter(([, action]) => action === 'hash')
  const isSpokenOf = env['GATEPOST_SECRET_KEY'] || env['GATEPOST_SECRET_KEY_FILE']
  if (hashed.length === 0 || values.GATEPOST_SECRET_KEY !== undefined || isSpokenOf) return
  problems.push(
    `GATEPOST_EVENTS_PRIVACY: ${hashed.map(([field]) => `${field}=hash`).join(',')} needs a key; set GATEPOST_SECRET_KEY or GATEPOST_SECRET_KEY_FILE (openssl rand -base64 32 makes one), or drop the field`,
  )
}

const issuerNames = ['AUTH0_DOMAIN', 'OKTA_DOMAIN', 'OIDC_ISSUER']

function checkWaysIn(
  values: Values,
  policy: DocumentResult<EffectivePolicy>,
  env: Environment,
  problems: Problem[],
): void {
  const spokenOf =
    policy.kind === 'problems' || problems.some((problem) => problem.startsWith('GATEPOST_AUTH:'))
  if (spokenOf || policy.value.routes.defaults.auth !== 'required') return
  if (policy.value.issuers.length > 0 || issuerNames.some((name) => env[name])) return
  if (values.GATEPOST_API_KEYS_FILE || values.GATEPOST_CLIENT_CERT !== 'off') return
  problems.push(
    [
      'GATEPOST_AUTH: it is "required", and nothing says whom to trust. There are three ways out:',
      '  1. an issuer: AUTH0_DOMAIN and AUTH0_AUDIENCE, OKTA_DOMAIN and OKTA_AUDIENCE, OIDC_ISSUER and OIDC_AUDIENCE, or one in the policy',
      '  2. keys or certificates: GATEPOST_API_KEYS_FILE (gatepost keys new makes a key), or GATEPOST_CLIENT_CERT',
      '  3. fewer questions: GATEPOST_AUTH=optional, callers may come without a credential; GATEPOST_AUTH=none, nobody is asked',
    ].join('\n'),
  )
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    Object.freeze(value)
    Object.values(value).forEach(deepFreeze)
  }
  return value
}
