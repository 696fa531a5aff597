import type { Clock } from '../core/clock.ts'
import type { WebhookAdmin, WebhookAnswer } from '../core/webhook-admin.ts'
import type { WebhookReport } from './numbers.ts'
import type { EndpointDisabled } from './service.ts'

/** What the thread that delivers is asked. */
export type ToWebhooks =
  | { kind: 'ask'; number: number; call: keyof WebhookAdmin; args: readonly unknown[] }
  /** Reread the file of endpoints now. */
  | { kind: 'reload' }

/** What it tells. */
export type FromWebhooks =
  | { kind: 'answer'; number: number; answer: WebhookAnswer<unknown> }
  | { kind: 'disabled'; what: EndpointDisabled; atMs: number }
  | { kind: 'report'; report: WebhookReport }

/** One end of a channel between threads, as far as it is used here. */
export interface Port<Told, Heard> {
  postMessage(message: Told): void
  on(event: 'message', listener: (message: Heard) => void): unknown
  on(event: 'close', listener: () => void): unknown
  unref(): void
}

/** What the link tells of, beside answers. */
export interface LinkParts {
  clock: Clock
  onDisabled: (what: EndpointDisabled, atMs: number) => void
  onReport: (report: WebhookReport) => void
}

/** How long each call may take, in milliseconds: a test takes as long as its attempt. */
const limitsMs: Readonly<Record<keyof WebhookAdmin, number>> = {
  list: 10_000,
  get: 10_000,
  create: 10_000,
  update: 10_000,
  remove: 10_000,
  rotate: 10_000,
  pause: 10_000,
  resume: 10_000,
  enable: 10_000,
  test: 45_000,
  deliveries: 10_000,
  delivery: 10_000,
  replay: 10_000,
  replayAll: 10_000,
}

/** Calls that wait for their answers at most. */
const maxWaiting = 64

interface Waiting {
  port: Port<ToWebhooks, FromWebhooks>
  settle: (answer: WebhookAnswer<unknown>) => void
}

/** The link to the thread that delivers, which may die and be started again. */
export class WebhookLink {
  readonly admin: WebhookAdmin
  readonly #parts: LinkParts
  readonly #waiting = new Map<number, Waiting>()
  #port: Port<ToWebhooks, FromWebhooks> | undefined
  #number = 0

  constructor(parts: LinkParts) {
    this.#parts = parts
    const calls = Object.keys(limitsMs) as (keyof WebhookAdmin)[]
    const ask = (call: keyof WebhookAdmin) => [call, (...args: unknown[]) => this.#ask(call, args)]
    this.admin = Object.fromEntries(calls.map(ask)) as WebhookAdmin
  }

  /** From now on another thread answers. */
  connect(port: Port<ToWebhooks, FromWebhooks>): void {
    this.#port = port
    port.on('message', (message) => this.#hear(message))
    port.on('close', () => {
      if (this.#port === port) this.#port = undefined
      for (const waiting of this.#waiting.values()) {
        if (waiting.port === port) waiting.settle(unavailable('The thread that delivers has just ended.'))
      }
    })
    port.unref()
  }

  /** Has the file of endpoints reread now. */
  reload(): void {
    this.#port?.postMessage({ kind: 'reload' })
  }

  async #ask(call: keyof WebhookAdmin, args: readonly unknown[]): Promise<WebhookAnswer<unknown>> {
    const port = this.#port
    if (!port) return unavailable('The thread that delivers is being started.')
    if (this.#waiting.size >= maxWaiting) return unavailable('Too many calls wait for an answer.')
    this.#number += 1
    const number = this.#number
    const { promise, resolve } = Promise.withResolvers<WebhookAnswer<unknown>>()
    const cancel = this.#parts.clock.after(limitsMs[call], () =>
      resolve(unavailable('No answer came in time; whether it was done is not known.')),
    )
    this.#waiting.set(number, { port, settle: resolve })
    port.postMessage({ kind: 'ask', number, call, args })
    const answer = await promise
    this.#waiting.delete(number)
    cancel()
    return answer
  }

  #hear(message: FromWebhooks): void {
    switch (message.kind) {
      case 'answer':
        this.#waiting.get(message.number)?.settle(message.answer)
        break
      case 'disabled':
        this.#parts.onDisabled(message.what, message.atMs)
        break
      case 'report':
        this.#parts.onReport(message.report)
        break
    }
  }
}

/** Answers at the other end of the link. */
export function answerAt(
  port: Port<FromWebhooks, ToWebhooks>,
  admin: WebhookAdmin,
  onReload: () => void,
): void {
  port.on('message', (message) => {
    if (message.kind === 'reload') {
      onReload()
      return
    }
    const { number, call, args } = message
    const asked = (admin[call] as (...args: readonly unknown[]) => Promise<WebhookAnswer<unknown>>)(...args)
    void asked.then((answer) => port.postMessage({ kind: 'answer', number, answer }))
  })
  // Whether the thread goes on is not for its callers to say.
  port.unref()
}

function unavailable(why: string): WebhookAnswer<never> {
  return { kind: 'unavailable', why }
}
