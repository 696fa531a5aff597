import { createHmac } from 'node:crypto'
import { secretPrefix, type WebhookSecret } from '../core/webhooks.ts'

/** What is signed. */
export interface Signable {
  /** The same for each attempt of a delivery: receivers tell duplicates by it. */
  id: string
  /** When this attempt is made; milliseconds since the epoch. */
  atMs: number
  /** The exact bytes that are sent. */
  body: Uint8Array
}

/** The headers by which a receiver knows that a delivery is ours. */
export type SignatureHeaders = Readonly<
  Record<'x-webhook-signature' | 'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string>
>

/** The secrets that sign at a moment, in their order: the current one first. */
export function secretsInForce(secrets: readonly WebhookSecret[], nowMs: number): string[] {
  return secrets.filter(({ untilMs }) => untilMs === undefined || nowMs < untilMs).map(({ value }) => value())
}

/**
 * Signs an attempt in both forms. `webhook-signature` (Standard Webhooks 1.0) has one signature for each secret, the
 * current first. `x-webhook-signature` has room for one: it is made by the oldest secret in force, so that a receiver
 * that has not learned the new secret yet goes on as before, until the rotation ends.
 * @param secrets those in force, the current first.
 * @throws Error where there is none: nothing is ever sent unsigned.
 */
export function signatureHeaders({ id, atMs, body }: Signable, secrets: readonly string[]): SignatureHeaders {
  const oldest = secrets.at(-1)
  if (oldest === undefined) throw new Error(`Cannot sign ${id}: there is no secret in force`)
  const timestamp = String(Math.floor(atMs / 1_000))
  const standard = secrets.map((secret) => {
    const mac = createHmac('sha256', standardKey(secret)).update(`${id}.${timestamp}.`).update(body)
    return `v1,${mac.digest('base64')}`
  })
  return {
    'x-webhook-signature': `sha256=${createHmac('sha256', oldest).update(body).digest('hex')}`,
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': standard.join(' '),
  }
}

/** Standard Webhooks: what follows the prefix is base64; a secret without it is the key itself. */
function standardKey(secret: string): Buffer {
  if (!secret.startsWith(secretPrefix)) return Buffer.from(secret)
  return Buffer.from(secret.slice(secretPrefix.length), 'base64')
}
