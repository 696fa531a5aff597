import { limitAlgorithms } from '../core/limits.ts'
import { authModes } from '../core/routes.ts'
import { shadowParts } from '../core/shadow.ts'
import { amqpUrl } from './amqp.ts'
import { circuitText } from './circuit-settings.ts'
import { eventTypes, privacy, ratio } from './event-choice.ts'
import { kafkaBrokers, saslMechanisms } from './kafka.ts'
import * as parse from './parsers.ts'
import { secretKey } from './secret-key.ts'

/** One environment variable: how it is read and what the README says of it. */
export interface Variable<T> {
  parse: parse.Parser<T>
  /** Read where the variable is unset or empty; written as a user would write it. */
  default?: string
  /** What it means, in one or two sentences of Markdown. */
  meaning: string
  /** Never shown; may also come from the file that `NAME_FILE` names. */
  secret?: true
}

const hour = 3_600_000
const mebibyte = 1_024 ** 2

/** Every environment variable that Gatepost reads, in the order of the README's table. */
export const variables = {
  GATEPOST_GRPC_ADDRESS: {
    parse: parse.listenAddress,
    default: '127.0.0.1:9001',
    meaning:
      'Where Envoy finds Gatepost: `host:port` or `unix:/path`. A socket file whose owner is dead is replaced.',
  },
  GATEPOST_GRPC_SOCKET_MODE: {
    parse: parse.fileMode,
    default: '0660',
    meaning: 'File mode of the Unix socket.',
  },
  GATEPOST_GRPC_INSECURE: {
    parse: parse.boolean,
    default: 'false',
    meaning: 'Allows plain-text gRPC beyond loopback and Unix sockets, where mTLS is required otherwise.',
  },
  GATEPOST_GRPC_TLS_CERT_FILE: {
    parse: parse.text,
    meaning: 'Certificate chain of the gRPC listener, PEM; reread when it changes. Turns mTLS on.',
  },
  GATEPOST_GRPC_TLS_KEY_FILE: {
    parse: parse.text,
    meaning: 'Private key of the certificate, PEM; reread when it changes.',
  },
  GATEPOST_GRPC_TLS_CLIENT_CA_FILE: {
    parse: parse.text,
    meaning:
      'Certificates of the authorities that clients must have theirs from, PEM; reread when it changes.',
  },
  GATEPOST_GRPC_CLIENT_NAMES: {
    parse: parse.list,
    meaning:
      'Subject alternative names (DNS or URI) of which a client certificate must have one, by commas. If unset, every certificate of the authorities will do.',
  },
  GATEPOST_ADMIN_ADDRESS: {
    parse: parse.tcpAddress,
    default: '127.0.0.1:9002',
    meaning:
      'The admin listener: `/healthz`, `/readyz` and `/metrics` are open, everything else asks for the admin token.',
  },
  GATEPOST_ADMIN_TOKEN: {
    parse: parse.longSecret,
    secret: true,
    meaning:
      'Bearer token of the admin API. If unset, `serve` writes a random one to `$GATEPOST_DATA_DIR/admin-token` (mode 0600).',
  },
  GATEPOST_STATUS_ADDRESS: {
    parse: parse.tcpAddress,
    meaning:
      'A second listener with nothing but `/healthz`, `/readyz` and `/metrics`, for kubelet and Prometheus.',
  },
  GATEPOST_DATA_DIR: {
    parse: parse.text,
    default: './.gatepost',
    meaning:
      'What Gatepost keeps on disk: a generated admin token, the last good keys of each issuer, events that are not yet delivered, and webhooks with their deliveries. One process at a time.',
  },
  GATEPOST_DRAIN_DELAY: {
    parse: parse.durationMs(0, hour),
    default: '0s',
    meaning: 'After SIGTERM: how long Gatepost serves on once it reports NOT_SERVING.',
  },
  GATEPOST_DRAIN_TIMEOUT: {
    parse: parse.durationMs(0, hour),
    default: '10s',
    meaning:
      'After the delay: how long calls under way may take to finish, and after them events to be delivered.',
  },
  GATEPOST_POLICY_FILE: {
    parse: parse.text,
    meaning:
      'The policy file (YAML): routes, limits and further issuers. Reread when it changes and on SIGHUP.',
  },
  GATEPOST_POLICY: {
    parse: parse.text,
    meaning: 'The policy itself, in place of a file.',
  },
  GATEPOST_AUTH: {
    parse: parse.choice(...authModes),
    default: 'required',
    meaning:
      'Whether a caller must show a credential: `required`, `optional` (none is accepted, a bad one is not) or `none`.',
  },
  GATEPOST_REQUIRED_SCOPES: {
    parse: parse.scopes,
    default: '',
    meaning: 'Scopes that every caller must hold, by commas. A route of Envoy may replace the list.',
  },
  GATEPOST_ALLOW_PLAINTEXT: {
    parse: parse.boolean,
    default: 'false',
    meaning:
      'Allows issuers and webhooks over plain `http`, RabbitMQ over plain `amqp`, and Kafka without TLS, beyond loopback.',
  },
  GATEPOST_CLIENT_ADDRESS: {
    parse: parse.choice('peer', 'envoy'),
    default: 'peer',
    meaning:
      'Whose address a client has: `peer`, the one that Envoy is connected to, or `envoy`, what Envoy writes into `x-envoy-external-address` (needs `use_remote_address: true`).',
  },
  GATEPOST_RATE_LIMIT: {
    parse: parse.rateOrNone,
    default: 'none',
    meaning:
      'How often each caller may ask on routes that say nothing of it: a rate such as `100/1m`, or `none`. One counter for all of them.',
  },
  GATEPOST_RATE_LIMIT_KEY: {
    parse: parse.keyParts,
    default: 'client',
    meaning:
      'Whom it counts: `client` (else the user, else the address), `user`, `ip` (IPv6 by its /64), `route`, `header:NAME`, `claim:NAME`, several joined by `+`.',
  },
  GATEPOST_RATE_LIMIT_ALGORITHM: {
    parse: parse.choice(...limitAlgorithms),
    default: 'gcra',
    meaning:
      'How it counts: `gcra` (smooth, with bursts up to the limit), `fixed-window` or `sliding-window`.',
  },
  GATEPOST_RATE_LIMIT_EVENTS: {
    parse: parse.choice('first', 'all'),
    default: 'first',
    meaning: 'Which refusals become `rate_limit.exceeded`: the `first` of each caller and window, or `all`.',
  },
  GATEPOST_CIRCUIT: {
    parse: circuitText,
    default: 'none',
    meaning:
      'When requests to a service are refused because it is not answering well: `none`, or settings such as `failures=5,window=30s,failure_rate=0.5,min_requests=20,slow=2s,slow_rate=0.8,open=60s,max_open=10m`, on routes that name a service. See [docs/circuits.md](docs/circuits.md).',
  },
  GATEPOST_SHADOW: {
    parse: parse.choices(...shadowParts),
    default: '',
    meaning:
      'Parts that only report what they would refuse: `auth`, `rate_limit`, `circuit`, by commas. See [docs/shadow.md](docs/shadow.md).',
  },
  GATEPOST_SHADOW_HEADER: {
    parse: parse.boolean,
    default: 'false',
    meaning:
      'Whether clients are told what would have refused them, by the response header `x-gatepost-shadow`.',
  },
  GATEPOST_OBSERVER: {
    parse: parse.choice('access-log', 'ext-proc', 'none'),
    default: 'access-log',
    meaning:
      'Who tells how requests ended: `access-log`, `ext-proc` or `none`. What another one tells is counted and ignored.',
  },
  GATEPOST_EVENTS: {
    parse: eventTypes,
    default: 'all',
    meaning:
      'Which events are told: types by commas, groups such as `circuit_breaker.*`, or `all`. `gatepost events` lists them.',
  },
  GATEPOST_EVENTS_SAMPLE: {
    parse: ratio,
    default: '1',
    meaning:
      'Ratio of `request.completed` that is told, from 0 to 1. Status 500 and above, denials and faults are told always.',
  },
  GATEPOST_EVENTS_PRIVACY: {
    parse: privacy,
    default: '',
    meaning:
      'Personal data in events, such as `client_ip=drop,user_id=hash`: each of `client_ip`, `user_agent`, `user_id` may be left out (`drop`) or replaced by a keyed hash (`hash`, which needs `GATEPOST_SECRET_KEY`).',
  },
  GATEPOST_EVENTS_LOG: {
    parse: parse.text,
    meaning: 'Where events go as JSON lines: `stdout`, or a file that is appended to.',
  },
  GATEPOST_SPOOL_MAX_BYTES: {
    parse: parse.sizeBytes(4 * mebibyte, 1_024 ** 2 * mebibyte),
    default: '256MiB',
    meaning:
      'The most that events for Kafka, RabbitMQ and webhooks take on disk, in `$GATEPOST_DATA_DIR`, until they are delivered. Past it the oldest are dropped and counted.',
  },
  GATEPOST_SPOOL_SYNC: {
    parse: parse.choice('normal', 'full'),
    default: 'normal',
    meaning:
      'What events on disk outlive: `normal` the end of the process, however it comes; `full` a power loss too, at the price of a flush of the disk for each batch.',
  },
  KAFKA_BROKERS: {
    parse: kafkaBrokers,
    meaning:
      'Kafka that events go to: brokers to ask first as `host:port`, by commas. The topics are those of `gatepost events`, the key is the client id, else the request id.',
  },
  KAFKA_TLS: {
    parse: parse.boolean,
    default: 'false',
    meaning:
      'Whether Kafka is reached by TLS, which brokers beyond loopback must be. An authority of your own is trusted by `NODE_EXTRA_CA_CERTS=FILE`.',
  },
  KAFKA_SASL_MECHANISM: {
    parse: parse.choice(...saslMechanisms),
    meaning:
      'How Gatepost logs in to Kafka: `plain`, `scram-sha-256` or `scram-sha-512`. If unset, it does not.',
  },
  KAFKA_SASL_USERNAME: {
    parse: parse.text,
    meaning: 'As whom. The user needs the operations Describe and Write on the topics.',
  },
  KAFKA_SASL_PASSWORD: {
    parse: parse.text,
    secret: true,
    meaning: "The user's password.",
  },
  KAFKA_CREATE_TOPICS: {
    parse: parse.boolean,
    default: 'false',
    meaning:
      'Creates topics that are missing, with the numbers of partitions and replicas that the brokers give by default. The user needs the operation Create as well.',
  },
  AMQP_URL: {
    parse: amqpUrl,
    secret: true,
    meaning:
      'RabbitMQ that events go to: `amqps://USER:PASSWORD@HOST:PORT/VHOST`, or `amqp` on loopback. `?cacertfile=`, `?certfile=` and `&keyfile=` name PEM files for TLS. They are published to the topic exchange `gateway.events`; those that no queue is bound for are set aside.',
  },
  GATEPOST_WEBHOOKS_FILE: {
    parse: parse.text,
    meaning:
      'File of webhook endpoints (YAML), as [docs/webhooks.md](docs/webhooks.md) describes it; reread when it changes and on SIGHUP.',
  },
  GATEPOST_WEBHOOK_QUEUE: {
    parse: parse.choice('embedded', 'rabbitmq'),
    default: 'embedded',
    meaning:
      'Where webhooks wait to be delivered: `embedded`, in the data folder, or `rabbitmq`, from where `gatepost deliver` takes them; that needs `AMQP_URL` and `GATEPOST_SECRET_KEY`.',
  },
  GATEPOST_WEBHOOK_ALLOW_PRIVATE: {
    parse: parse.boolean,
    default: 'false',
    meaning:
      'Allows webhooks to addresses that are not public: loopback, private, link-local and other special ones.',
  },
  GATEPOST_SECRET_KEY: {
    parse: secretKey,
    secret: true,
    meaning:
      'Key from which others are derived: for hashes in events, for the secrets of webhooks on disk and for webhooks in RabbitMQ. 32 random bytes, as `openssl rand -base64 32` makes them; the same for all replicas.',
  },
  AUTH0_DOMAIN: {
    parse: parse.origin,
    meaning:
      'Auth0 tenant, such as `tenant.eu.auth0.com`. Its issuer is `https://DOMAIN/`, its algorithm RS256.',
  },
  AUTH0_AUDIENCE: {
    parse: parse.audiences,
    meaning:
      'Audiences of which a token must name one, by commas; `*` for any. Required with `AUTH0_DOMAIN`.',
  },
  OKTA_DOMAIN: {
    parse: parse.origin,
    meaning:
      'Okta domain, such as `dev-1234.okta.com`. Its issuer is `https://DOMAIN/oauth2/SERVER`, its algorithm RS256.',
  },
  OKTA_AUTHORIZATION_SERVER: {
    parse: parse.pathSegment,
    default: 'default',
    meaning: 'Id of the Okta authorization server.',
  },
  OKTA_AUDIENCE: {
    parse: parse.audiences,
    meaning: 'As `AUTH0_AUDIENCE`; required with `OKTA_DOMAIN`.',
  },
  OKTA_VALIDATION: {
    parse: parse.choice('jwt', 'introspection'),
    default: 'jwt',
    meaning:
      'How tokens are judged: `jwt`, by the keys that Okta publishes, or `introspection` (RFC 7662), by asking Okta, which also knows what was revoked.',
  },
  OKTA_CLIENT_ID: {
    parse: parse.text,
    meaning: 'Client id by which Gatepost introspects.',
  },
  OKTA_CLIENT_SECRET: {
    parse: parse.clientSecret,
    secret: true,
    meaning: 'Its secret. An Okta API token is none: those cannot introspect.',
  },
  OKTA_USERINFO: {
    parse: parse.boolean,
    default: 'false',
    meaning:
      'Asks the userinfo endpoint about callers whose token has the scope `openid`, and hands their `email`, `email_verified`, `name`, `preferred_username`, `locale` and `zoneinfo` to the upstream as `x-gatepost-…` headers.',
  },
  OIDC_ISSUER: {
    parse: parse.issuerUrl,
    meaning:
      'Any issuer that publishes an OpenID discovery document, exactly as its tokens name it in `iss`.',
  },
  OIDC_AUDIENCE: {
    parse: parse.audiences,
    meaning: 'As `AUTH0_AUDIENCE`; required with `OIDC_ISSUER`.',
  },
  GATEPOST_TOKEN_CACHE_TTL: {
    parse: parse.durationMs(0, hour),
    default: '5m',
    meaning:
      'How long a verified token is remembered at the most; never past its `exp`. `0s` remembers none.',
  },
  GATEPOST_INTROSPECTION_CACHE_TTL: {
    parse: parse.durationMs(0, hour),
    default: '30s',
    meaning:
      'How long an answer of introspection or userinfo is remembered at the most. A revoked token passes for as long. Refusals are remembered for 5 s.',
  },
  GATEPOST_INTROSPECTION_STALE: {
    parse: parse.durationMs(0, hour),
    default: '0s',
    meaning:
      'How much longer a good answer serves while the provider gives none. Revoked tokens pass meanwhile, hence none by default.',
  },
  GATEPOST_API_KEYS_FILE: {
    parse: parse.text,
    meaning: 'File of API keys (YAML), as `gatepost keys new` describes them; reread when it changes.',
  },
  GATEPOST_API_KEY_HEADER: {
    parse: parse.headerName,
    default: 'x-api-key',
    meaning: 'Header that API keys come in. The upstream does not get it.',
  },
  GATEPOST_CLIENT_CERT: {
    parse: parse.choice('off', 'principal', 'xfcc'),
    default: 'off',
    meaning:
      'Client certificates as identity: `principal`, as Envoy tells it of its own TLS connection, or `xfcc`, by `x-forwarded-client-cert`, which only a listener that sanitises that header makes trustworthy.',
  },
  GATEPOST_CLOCK_SKEW: {
    parse: parse.durationMs(0, 5 * 60_000),
    default: '30s',
    meaning: 'Leeway on `exp` and `nbf`, at most 5m.',
  },
  LOG_LEVEL: {
    parse: parse.choice('debug', 'info', 'warn', 'error', 'silent'),
    default: 'info',
    meaning:
      'Least level of log lines on stderr: `debug`, `info`, `warn`, `error` or `silent`. `debug` writes a line for each decision.',
  },
  LOG_FORMAT: {
    parse: parse.choice('json', 'ecs', 'pretty'),
    default: 'json',
    meaning: '`json`, `ecs` (Elastic Common Schema) or `pretty`.',
  },
} as const satisfies Record<string, Variable<unknown>>

/** The name of a variable. */
export type VariableName = keyof typeof variables

type Value<V> = V extends { parse: parse.Parser<infer T> }
  ? V extends { default: string }
    ? T
    : T | undefined
  : never

/** What the environment says, parsed. A variable without default may be absent. */
export type Values = { readonly [N in VariableName]: Value<(typeof variables)[N]> }

/** A variable as people read of it. */
export interface VariableDescription {
  name: string
  default?: string
  meaning: string
}

/** Describes every variable, in the table's order, and the file form of each secret. */
export function describeVariables(): VariableDescription[] {
  return Object.entries<Variable<unknown>>(variables).map(
    ([name, { default: fallback, meaning, secret }]) => ({
      name: secret ? `${name}, ${name}_FILE` : name,
      ...(fallback !== undefined && { default: fallback }),
      meaning,
    }),
  )
}
