import type { TcpAddress } from '../core/listen.ts'
import { type AmqpSettings, amqpSettings, checkAmqp } from './amqp.ts'
import { type Environment, type Problem, readEnvironment } from './environment.ts'
import type { Settings } from './settings.ts'
import { readFirstWebhooks, type WebhookQueueSettings, type WebhookSettings } from './webhook-settings.ts'

/** What `gatepost deliver` takes of the environment. */
export interface DeliverSettings {
  amqp: AmqpSettings
  webhooks: WebhookSettings & { rabbit: WebhookQueueSettings }
  /** Where to listen for whoever asks how it is. */
  statusAddress?: TcpAddress
  /** How long attempts under way may take to end, in milliseconds. */
  drainTimeoutMs: number
  allowPlaintext: boolean
  log: Settings['log']
}

/** Settings, or every problem that keeps them from being any. */
export type DeliverSettingsResult =
  | { kind: 'settings'; settings: DeliverSettings }
  | { kind: 'problems'; problems: Problem[] }

/**
 * Reads the environment for `gatepost deliver`: the same as of `serve`, and every variable is checked, but nobody needs
 * to be trusted here.
 */
export function readDeliverSettings(env: Environment): DeliverSettingsResult {
  const { values, problems } = readEnvironment(env)
  const { rabbit, ...webhooks } = readFirstWebhooks(values, env, problems)
  checkAmqp(values, problems)
  if (webhooks.queue !== 'rabbitmq') {
    problems.push('GATEPOST_WEBHOOK_QUEUE: gatepost deliver takes webhooks from RabbitMQ; set it to rabbitmq')
  }
  const amqp = amqpSettings(values, env)
  if (problems.length > 0 || !amqp || !rabbit) return { kind: 'problems', problems }
  return {
    kind: 'settings',
    settings: {
      amqp,
      webhooks: { ...webhooks, rabbit },
      ...(values.GATEPOST_STATUS_ADDRESS && { statusAddress: values.GATEPOST_STATUS_ADDRESS }),
      drainTimeoutMs: values.GATEPOST_DRAIN_TIMEOUT,
      allowPlaintext: values.GATEPOST_ALLOW_PLAINTEXT,
      log: { level: values.LOG_LEVEL, format: values.LOG_FORMAT },
    },
  }
}
