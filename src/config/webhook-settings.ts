import type { KeyObject } from 'node:crypto'
import type { WebhookEndpoint } from '../core/webhooks.ts'
import type { Environment, Problem } from './environment.ts'
import { readFile } from './followed-file.ts'
import { secretFile } from './secret-file.ts'
import { createSubKeys, secretKey } from './secret-key.ts'
import type { Values } from './variables.ts'
import { createWebhooksReader, type WebhookContext } from './webhooks.ts'

/** Where webhooks go and how. */
export interface WebhookSettings {
  /** Endpoints of the file at the start, and where it is; none without one. */
  first: readonly WebhookEndpoint[]
  path?: string
  /** Gives what endpoints are read against from then on: plain data, which a worker thread can be handed. */
  context: () => WebhookContext
  queue: Values['GATEPOST_WEBHOOK_QUEUE']
  /** What publishing and delivering by RabbitMQ need; absent where they wait in the data folder. */
  rabbit?: WebhookQueueSettings
  /** Whether they may go to addresses that are not public. */
  allowPrivate: boolean
}

/** What webhooks in a queue need. Plain data, which a worker thread can be handed; {@link followQueueKey} makes the key live. */
export interface WebhookQueueSettings {
  /** The file of endpoints, and what it is read against. */
  path: string
  context: WebhookContext
  /** The secret key at the start, and the file that it came from. */
  secretKey: { first: string; path?: string }
}

/** Gives the key that authenticates messages, of the secret key as it is now. */
export function followQueueKey({
  secretKey: { first, path },
}: Pick<WebhookQueueSettings, 'secretKey'>): () => KeyObject {
  const subKeys = createSubKeys(path === undefined ? () => first : secretFile(path, first, secretKey))
  return () => subKeys('webhooks.queue')
}

/** Reads the webhooks file, and checks what its variables need of others. */
export function readFirstWebhooks(values: Values, env: Environment, problems: Problem[]): WebhookSettings {
  checkQueue(values, env, problems)
  const { GATEPOST_WEBHOOKS_FILE: path, GATEPOST_ALLOW_PLAINTEXT: allowPlaintext } = values
  const context = {
    env: { ...env },
    allowPlaintext,
    isSecretKeySet: isGiven('GATEPOST_SECRET_KEY', env),
  }
  const rabbit = queueSettings(values, env, context)
  const settings = {
    context: () => context,
    queue: values.GATEPOST_WEBHOOK_QUEUE,
    ...(rabbit && { rabbit }),
    allowPrivate: values.GATEPOST_WEBHOOK_ALLOW_PRIVATE,
  }
  if (path === undefined) return { first: [], ...settings }
  const result = readFile(path, createWebhooksReader(context))
  if (result.kind === 'document') return { first: result.value, path, ...settings }
  problems.push(...result.problems.map((problem) => `GATEPOST_WEBHOOKS_FILE: ${problem}`))
  return { first: [], ...settings }
}

function queueSettings(
  values: Values,
  env: Environment,
  context: WebhookContext,
): WebhookQueueSettings | undefined {
  const { GATEPOST_WEBHOOKS_FILE: path, GATEPOST_SECRET_KEY: first } = values
  if (values.GATEPOST_WEBHOOK_QUEUE !== 'rabbitmq' || path === undefined || first === undefined)
    return undefined
  const keyPath = env['GATEPOST_SECRET_KEY_FILE']
  return { path, context, secretKey: { first, ...(keyPath && { path: keyPath }) } }
}

/** Deliveries in a queue are authenticated: whoever can write to the broker could else send any of them. */
function checkQueue(
  { GATEPOST_WEBHOOK_QUEUE: queue, GATEPOST_WEBHOOKS_FILE: path }: Values,
  env: Environment,
  problems: Problem[],
): void {
  if (queue !== 'rabbitmq') return
  if (path === undefined) {
    problems.push(
      'GATEPOST_WEBHOOK_QUEUE: rabbitmq needs GATEPOST_WEBHOOKS_FILE, the only place that says where webhooks go',
    )
  }
  for (const name of ['AMQP_URL', 'GATEPOST_SECRET_KEY'] as const) {
    if (!isGiven(name, env)) problems.push(`GATEPOST_WEBHOOK_QUEUE: rabbitmq needs ${name}, or ${name}_FILE`)
  }
}

/** Whether a secret is spoken of, be it good or bad: what is bad about it is a problem of its own. */
function isGiven(name: 'AMQP_URL' | 'GATEPOST_SECRET_KEY', env: Environment): boolean {
  return Boolean(env[name] || env[`${name}_FILE`])
}
