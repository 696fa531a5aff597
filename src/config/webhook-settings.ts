import type { WebhookEndpoint } from '../core/webhooks.ts'
import type { Environment, Problem } from './environment.ts'
import { readFile } from './followed-file.ts'
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
  /** Whether they may go to addresses that are not public. */
  allowPrivate: boolean
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
  const settings = {
    context: () => context,
    queue: values.GATEPOST_WEBHOOK_QUEUE,
    allowPrivate: values.GATEPOST_WEBHOOK_ALLOW_PRIVATE,
  }
  if (path === undefined) return { first: [], ...settings }
  const result = readFile(path, createWebhooksReader(context))
  if (result.kind === 'document') return { first: result.value, path, ...settings }
  problems.push(...result.problems.map((problem) => `GATEPOST_WEBHOOKS_FILE: ${problem}`))
  return { first: [], ...settings }
}

/** Deliveries in a queue are authenticated: whoever can write to the broker could else send any of them. */
function checkQueue({ GATEPOST_WEBHOOK_QUEUE: queue }: Values, env: Environment, problems: Problem[]): void {
  if (queue !== 'rabbitmq') return
  for (const name of ['AMQP_URL', 'GATEPOST_SECRET_KEY'] as const) {
    if (!isGiven(name, env)) problems.push(`GATEPOST_WEBHOOK_QUEUE: rabbitmq needs ${name}, or ${name}_FILE`)
  }
}

/** Whether a secret is spoken of, be it good or bad: what is bad about it is a problem of its own. */
function isGiven(name: 'AMQP_URL' | 'GATEPOST_SECRET_KEY', env: Environment): boolean {
  return Boolean(env[name] || env[`${name}_FILE`])
}
