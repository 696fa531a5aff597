import { LRUCache } from 'lru-cache'
import type { Clock } from '../core/clock.ts'
import { Fault } from '../core/fault.ts'

/** An answer of a provider and how long it holds. Times in milliseconds since the epoch. */
export interface Answer<T> {
  value: T
  /** Until then nobody is asked again. */
  freshUntilMs: number
  /** Until then it still serves where the provider gives no new one; not after `freshUntilMs` where stale is not wanted. */
  staleUntilMs: number
  /** A refusal; kept apart, so that a flood of bad tokens cannot drive the good ones out. */
  negative: boolean
}

/** What an answer cache is made of. */
export interface AnswerCacheParts {
  /** Whose answers these are, for messages. */
  name: string
  clock: Clock
  /**
   * How long a request may take, from its arrival, when it waits for an answer. The call goes on after that, and its
   * answer serves the next request.
   */
  requestWaitMs: number
  /** The most answers of each sort, good and bad, that are kept. */
  maxAnswers: number
  /** The most characters of keys of each sort that are kept. */
  maxCharacters: number
  onHit: () => void
  onMiss: () => void
}

/**
 * Remembers what a provider said of tokens, by every byte of them. Concurrent questions after the same token become one
 * call.
 */
export class AnswerCache<T> {
  readonly #parts: AnswerCacheParts
  readonly #good: LRUCache<string, Answer<T>>
  readonly #bad: LRUCache<string, Answer<T>>
  readonly #asking = new Map<string, Promise<Answer<T>>>()

  constructor(parts: AnswerCacheParts) {
    this.#parts = parts
    const bounds = {
      max: parts.maxAnswers,
      maxSize: parts.maxCharacters,
      sizeCalculation: (_answer: Answer<T>, key: string) => key.length,
    }
    this.#good = new LRUCache(bounds)
    this.#bad = new LRUCache(bounds)
  }

  get size(): number {
    return this.#good.size + this.#bad.size
  }

  /**
   * Gives what is known of a key, or asks.
   * @param nowMs when the request arrived; all that it waits for, here and elsewhere, counts from then.
   * @throws Fault where no answer comes in time and none that is kept may serve.
   */
  async get(key: string, nowMs: number, ask: () => Promise<Answer<T>>): Promise<T> {
    const kept = this.#good.get(key) ?? this.#bad.get(key)
    if (kept && nowMs < kept.freshUntilMs) {
      this.#parts.onHit()
      return kept.value
    }
    this.#parts.onMiss()
    try {
      return (await this.#inTime(this.#asking.get(key) ?? this.#ask(key, ask), nowMs)).value
    } catch (error) {
      if (kept && nowMs < kept.staleUntilMs) return kept.value
      throw error
    }
  }

  /** What is known of a key and still fresh; nobody is asked. */
  peek(key: string, nowMs: number): T | undefined {
    const kept = this.#good.peek(key) ?? this.#bad.peek(key)
    return kept && nowMs < kept.freshUntilMs ? kept.value : undefined
  }

  #ask(key: string, ask: () => Promise<Answer<T>>): Promise<Answer<T>> {
    const asking = ask()
      .then((answer) => this.#keep(key, answer))
      .catch((cause: unknown) => {
        throw new Fault('auth', `Cannot ask ${this.#parts.name}: ${(cause as Error).message}`, { cause })
      })
      .finally(() => this.#asking.delete(key))
    // Those who wait hear of a failure; where all of them have gone, nobody has to.
    asking.catch(() => undefined)
    this.#asking.set(key, asking)
    return asking
  }

  #keep(key: string, answer: Answer<T>): Answer<T> {
    this.#good.delete(key)
    this.#bad.delete(key)
    const cache = answer.negative ? this.#bad : this.#good
    const { freshUntilMs, staleUntilMs } = answer
    if (Math.max(freshUntilMs, staleUntilMs) > this.#parts.clock.now()) cache.set(key, answer)
    return answer
  }

  async #inTime(asking: Promise<Answer<T>>, arrivedAtMs: number): Promise<Answer<T>> {
    const { clock, requestWaitMs, name } = this.#parts
    const { promise: timeUp, reject } = Promise.withResolvers<never>()
    const leftMs = Math.max(0, Math.min(requestWaitMs, arrivedAtMs + requestWaitMs - clock.now()))
    const cancel = clock.after(leftMs, () =>
      reject(new Fault('auth', `Cannot ask ${name}: no answer within ${requestWaitMs} ms`)),
    )
    return await Promise.race([asking, timeUp]).finally(cancel)
  }
}
