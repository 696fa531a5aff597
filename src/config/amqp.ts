import { type AmqpUrl, amqpUrlForm, parseAmqpUrl } from '../core/amqp-url.ts'
import type { Environment, Problem } from './environment.ts'
import { isLoopback, Unfit } from './parsers.ts'
import { secretFile } from './secret-file.ts'
import type { Values } from './variables.ts'

/** Where RabbitMQ is. Plain data, which a worker thread can be handed; {@link followAmqpUrl} makes it live. */
export interface AmqpSettings {
  /** The URL at the start, which is a secret. */
  first: string
  /** The file that it came from. */
  path?: string
  /** Whether it may be `amqp` beyond loopback. */
  allowPlaintext: boolean
}

/** The URL of a RabbitMQ. */
export function amqpUrl(value: string): string {
  if (!parseAmqpUrl(value)) throw new Unfit(amqpUrlForm)
  return value
}

/** Says what is wrong with a URL that can be read: a password must not cross a network in plain text. */
export function checkAmqp(values: Values, problems: Problem[]): void {
  const url = parseAmqpUrl(values.AMQP_URL ?? '')
  if (!url || mayUse(url, values.GATEPOST_ALLOW_PLAINTEXT)) return
  problems.push(
    `AMQP_URL: the connection to ${url.hostname} would be plain text, password included; use amqps://, or set GATEPOST_ALLOW_PLAINTEXT=true`,
  )
}

/** Where RabbitMQ is, if anywhere. */
export function amqpSettings(values: Values, env: Environment): AmqpSettings | undefined {
  const { AMQP_URL: first, GATEPOST_ALLOW_PLAINTEXT: allowPlaintext } = values
  if (first === undefined) return undefined
  const path = env['AMQP_URL_FILE']
  return { first, ...(path && { path }), allowPlaintext }
}

/** Gives the URL as it is now: the file is reread when it changes, and what will not do in it is passed over. */
export function followAmqpUrl({ first, path, allowPlaintext }: AmqpSettings): () => AmqpUrl {
  const check = (value: string) => {
    const url = parseAmqpUrl(value)
    if (!url || !mayUse(url, allowPlaintext)) throw new Unfit(amqpUrlForm)
    return value
  }
  const current = path === undefined ? () => first : secretFile(path, first, check)
  return () => {
    const url = parseAmqpUrl(current())
    if (!url) throw new Error('Cannot read AMQP_URL: it was not checked')
    return url
  }
}

function mayUse(url: AmqpUrl, allowPlaintext: boolean): boolean {
  return url.isEncrypted || allowPlaintext || isLoopback(url.hostname)
}
