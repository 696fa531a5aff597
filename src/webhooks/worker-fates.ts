import type { KeyObject } from 'node:crypto'
import type { Clock } from '../core/clock.ts'
import type { WebhookEndpoint } from '../core/webhooks.ts'
import type { AttemptResult, Send } from './attempt.ts'
import { headersOf } from './message.ts'
import { type Forgery, openMessage, type QueuedDelivery } from './queue-message.ts'
import { nextAttempt } from './retry.ts'
import { Lane, type Later } from './worker-lanes.ts'

/** Why a delivery waits before it comes again. */
export type WaitReason = 'retry' | 'unknown_endpoint' | Later['reason']

/** Why a message is a dead letter. */
export type DeadReason =
  | Forgery
  /** Published, or replayed, longer ago than any delivery takes. */
  | 'stale'
  | 'unknown_endpoint'
  | 'inactive'
  /** Its last attempt has failed. */
  | 'exhausted'
  /** The receiver refused it, or its address must not be reached. */
  | 'refused'
  /** The receiver wants no more: 410, now or before. */
  | 'gone'

/** What becomes of a delivery. */
export type Fate =
  | { kind: 'done' }
  | { kind: 'wait'; reason: WaitReason; afterMs: number; delivery: QueuedDelivery }
  | ({ kind: 'dead'; reason: DeadReason } & Partial<Pick<AttemptResult, 'status' | 'error'>>)

/** What is told of deliveries, to be counted. */
export interface Tally {
  attempted(webhookId: string, result: AttemptResult): void
  waits(reason: WaitReason): void
  died(reason: DeadReason): void
  /** It has been handed out before, to a worker that did not finish. */
  redelivered(): void
}

/** What decides about deliveries. */
export interface FateParts {
  /** Those of this worker's own file as it is now, by id. */
  endpoints: () => ReadonlyMap<string, WebhookEndpoint>
  /** By which messages are authenticated. */
  key: () => KeyObject
  send: Send
  clock: Clock
  /** From 0 to below 1. */
  random: () => number
  tally: Pick<Tally, 'attempted'>
}

/** The worker's file may be behind the publisher's: an endpoint is waited for as long, and looked for as often. */
const unknownMs = 3_600_000
const unknownEveryMs = 30_000

/** No delivery takes longer than 20 waits of 24 hours; a message older than this is somebody's copy. */
const staleMs = 31 * 86_400_000

/** The longest wait without an attempt. */
const longestDeferMs = 600_000

/** The most that waits without an attempt grow by doubling: 64 times. */
const mostDoublings = 6

/** Decides about deliveries, and makes the attempts. */
export class Fates {
  readonly #parts: FateParts
  readonly #lanes = new Map<string, Lane>()
  /** Endpoints whose receivers want no more. A reloaded file has new ones in their place, which are tried again. */
  readonly #gone = new WeakSet<WebhookEndpoint>()

  constructor(parts: FateParts) {
    this.#parts = parts
  }

  /** Reads a message of RabbitMQ's. @returns a fate where it is no delivery of ours. */
  read(headers: Readonly<Record<string, unknown>>, body: Buffer): QueuedDelivery | Fate {
    const { key, clock } = this.#parts
    const opened = openMessage(headers, body, key())
    if (opened.kind === 'forged') return { kind: 'dead', reason: opened.why }
    const { delivery } = opened
    const isStale = clock.now() - delivery.firstAtMs > staleMs
    return isStale ? { kind: 'dead', reason: 'stale' } : delivery
  }

  /**
   * Makes an attempt, where one may be made, and says what is to become of the delivery.
   * @throws where the signal calls the attempt off: then nothing is known of it.
   */
  async of(delivery: QueuedDelivery, signal: AbortSignal): Promise<Fate> {
    const endpoint = this.#parts.endpoints().get(delivery.endpointId)
    if (!endpoint) return this.#unknown(delivery)
    if (!endpoint.active) return { kind: 'dead', reason: 'inactive' }
    if (this.#gone.has(endpoint)) return { kind: 'dead', reason: 'gone' }
    const turn = await this.#laneOf(endpoint).enter()
    if (turn.kind === 'later') return this.#defer(delivery, turn)
    let isGood = true
    let durationMs = 0
    try {
      const result = await this.#attempt(endpoint, delivery, signal)
      isGood = result.kind !== 'retry'
      durationMs = result.durationMs
      this.#parts.tally.attempted(endpoint.id, result)
      return this.#fateOf(result, delivery, endpoint)
    } finally {
      turn.done(isGood, durationMs)
    }
  }

  /** Sends away all who wait for their turn. */
  clear(): void {
    for (const lane of this.#lanes.values()) lane.clear()
  }

  #unknown(delivery: QueuedDelivery): Fate {
    const isLong = this.#parts.clock.now() - delivery.firstAtMs > unknownMs
    if (isLong) return { kind: 'dead', reason: 'unknown_endpoint' }
    return { kind: 'wait', reason: 'unknown_endpoint', afterMs: unknownEveryMs, delivery }
  }

  #laneOf(endpoint: WebhookEndpoint): Lane {
    const known = this.#lanes.get(endpoint.id)
    const lane = known ?? new Lane(endpoint, this.#parts.clock)
    lane.allow(endpoint)
    if (!known) this.#lanes.set(endpoint.id, lane)
    return lane
  }

  /** Waits grow, and stray by up to a half: those who were sent away together do not return together. */
  #defer(delivery: QueuedDelivery, { reason, afterMs }: Later): Fate {
    const doublings = reason === 'busy' ? Math.min(delivery.waits, mostDoublings) : 0
    const strayed = Math.max(afterMs, 1_000) * 2 ** doublings * (1 + this.#parts.random() / 2)
    return {
      kind: 'wait',
      reason,
      afterMs: Math.min(strayed, longestDeferMs),
      delivery: { ...delivery, waits: delivery.waits + 1 },
    }
  }

  async #attempt(
    endpoint: WebhookEndpoint,
    { eventId, body }: QueuedDelivery,
    signal: AbortSignal,
  ): Promise<AttemptResult> {
    const { send, clock } = this.#parts
    const headers = headersOf(endpoint, eventId, body, clock.now())
    return send({ url: endpoint.url, headers, body, timeoutMs: endpoint.timeoutMs }, signal)
  }

  #fateOf(result: AttemptResult, delivery: QueuedDelivery, endpoint: WebhookEndpoint): Fate {
    const { status, error } = result
    const facts = { ...(status !== undefined && { status }), ...(error !== undefined && { error }) }
    switch (result.kind) {
      case 'delivered':
        return { kind: 'done' }
      case 'failed':
        return { kind: 'dead', reason: 'refused', ...facts }
      case 'gone':
        this.#gone.add(endpoint)
        return { kind: 'dead', reason: 'gone', ...facts }
      case 'retry': {
        const attempts = delivery.attempts + 1
        const next = nextAttempt(attempts, endpoint.retryPolicy, this.#parts.random, result.retryAfterMs)
        if (next === 'dead') return { kind: 'dead', reason: 'exhausted', ...facts }
        return {
          kind: 'wait',
          reason: 'retry',
          afterMs: next,
          delivery: { ...delivery, attempts, waits: 0 },
        }
      }
    }
  }
}
