import type { WebhookCondition } from '../core/webhook-admin.ts'

/** How an endpoint stands, for metrics and for `/readyz`. */
export interface WebhookNumbers {
  id: string
  condition: WebhookCondition
  pending: number
  /** When the oldest of them was queued, in milliseconds since the epoch; absent if there is none. */
  oldestAtMs?: number
  /** Attempts that failed since the last that did not. */
  failuresInRow: number
  circuit: 'closed' | 'open' | 'half_open'
}

/** What is told of webhooks. Plain data, for another thread. */
export interface WebhookReport {
  endpoints: readonly WebhookNumbers[]
  /** Attempts since the last report, by endpoint and result. */
  attempts: readonly (readonly [webhookId: string, result: string, count: number])[]
  /** Deliveries that were given up since. */
  dropped: readonly (readonly [webhookId: string, count: number])[]
}

/** Counts things by endpoint and whatever else. */
export class Tally {
  readonly #counts = new Map<string, number>()

  /** @param names without blanks. */
  add(count: number, ...names: readonly string[]): void {
    const key = names.join(' ')
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + count)
  }

  /** Gives what was counted since the last time. */
  take(): [names: string[], count: number][] {
    const taken = [...this.#counts].map(([key, count]): [string[], number] => [key.split(' '), count])
    this.#counts.clear()
    return taken
  }
}
