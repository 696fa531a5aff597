import type { Clock } from '../core/clock.ts'
import type { Rate } from '../core/rates.ts'
import type { WebhookEndpoint } from '../core/webhooks.ts'
import { advanceCircuit, type Circuit, closedCircuit, learn } from './circuit.ts'
import { Pace } from './pace.ts'

/** Leave to make one attempt now. Give it back with what came of it. */
export interface Turn {
  kind: 'turn'
  /** @param isGood whether the receiver answered for itself; false where it may do better another time. */
  done(isGood: boolean, durationMs: number): void
}

/** No attempt for now: it would wait too long here, and everything else behind it. */
export interface Later {
  kind: 'later'
  /** Why: the endpoint fails, or has more to do than it is allowed at a time. */
  reason: 'circuit' | 'busy'
  afterMs: number
}

type Allowance = Pick<WebhookEndpoint, 'concurrency' | 'rateLimit'>

/** The longest that an attempt waits for its turn in this process; whatever takes longer waits in RabbitMQ. */
const patienceMs = 1_000

/** How much the latest attempt counts in the mean of their durations. */
const freshness = 0.2

/**
 * Attempts at one endpoint: as many at a time, and as many in so much time, as it allows in each process, and none while
 * its circuit is open. As many wait as will have had their turn in about a second.
 */
export class Lane {
  readonly #clock: Clock
  readonly #waiting: Array<(answer: Turn | Later) => void> = []
  #concurrency: number
  #rate: Rate | undefined
  #pace: Pace
  #circuit: Circuit = closedCircuit
  #underWay = 0
  #meanMs = 0
  #stopTimer: (() => void) | undefined

  constructor({ concurrency, rateLimit }: Allowance, clock: Clock) {
    this.#concurrency = concurrency
    this.#rate = rateLimit
    this.#pace = new Pace(rateLimit)
    this.#clock = clock
  }

  /** Takes up what the file says now. A rate that is another one begins anew. */
  allow({ concurrency, rateLimit }: Allowance): void {
    this.#concurrency = concurrency
    if (rateLimit?.limit === this.#rate?.limit && rateLimit?.windowMs === this.#rate?.windowMs) return
    this.#rate = rateLimit
    this.#pace = new Pace(rateLimit)
  }

  /** Waits for a turn, at most about a second. */
  async enter(): Promise<Turn | Later> {
    const later = this.#refusal(this.#clock.now())
    if (later) return later
    const { promise, resolve } = Promise.withResolvers<Turn | Later>()
    this.#waiting.push(resolve)
    this.#pump()
    return promise
  }

  /** Sends away all who wait. */
  clear(): void {
    this.#sendAway({ kind: 'later', reason: 'busy', afterMs: 0 })
  }

  #refusal(nowMs: number): Later | undefined {
    this.#circuit = advanceCircuit(this.#circuit, nowMs)
    if (this.#circuit.kind === 'open') {
      return { kind: 'later', reason: 'circuit', afterMs: this.#circuit.untilMs - nowMs }
    }
    if (this.#circuit.kind === 'half_open' && this.#underWay > 0) return probing
    const waitMs = Math.max(this.#roomInMs(), this.#leaveInMs(nowMs))
    return waitMs > patienceMs ? { kind: 'later', reason: 'busy', afterMs: waitMs } : undefined
  }

  /** When one more would have its turn, by how long attempts take. */
  #roomInMs(): number {
    const ahead = Math.max(0, this.#waiting.length + 1 + this.#underWay - this.#limit())
    return (ahead * this.#meanMs) / this.#limit()
  }

  /** When one more would have its turn, by the rate. */
  #leaveInMs(nowMs: number): number {
    if (!this.#rate) return 0
    const { limit, windowMs } = this.#rate
    return Math.max(this.#pace.freeAtMs() - nowMs, 0) + (this.#waiting.length * windowMs) / limit
  }

  #limit(): number {
    return this.#circuit.kind === 'half_open' ? 1 : this.#concurrency
  }

  #pump(): void {
    const nowMs = this.#clock.now()
    while (this.#waiting.length > 0 && this.#underWay < this.#limit()) {
      const freeInMs = this.#pace.freeAtMs() - nowMs
      if (freeInMs > 0) {
        this.#pumpIn(freeInMs)
        return
      }
      this.#pace.take(nowMs)
      this.#underWay += 1
      this.#waiting.shift()?.(this.#turn())
    }
  }

  #pumpIn(waitMs: number): void {
    this.#stopTimer ??= this.#clock.after(waitMs, () => {
      this.#stopTimer = undefined
      this.#pump()
    })
  }

  #turn(): Turn {
    return {
      kind: 'turn',
      done: (isGood, durationMs) => {
        this.#underWay -= 1
        this.#meanMs += freshness * (durationMs - this.#meanMs)
        this.#circuit = learn(this.#circuit, isGood, this.#clock.now())
        const later = this.#circuit.kind === 'open' ? this.#refusal(this.#clock.now()) : undefined
        if (later) this.#sendAway(later)
        this.#pump()
      },
    }
  }

  #sendAway(later: Later): void {
    for (const answer of this.#waiting.splice(0)) answer(later)
  }
}

/** One attempt at a time tries the endpoint out; the others come again when that is known. */
const probing: Later = { kind: 'later', reason: 'circuit', afterMs: patienceMs }
