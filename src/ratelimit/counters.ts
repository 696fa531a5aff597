import type { LimitSpec, Rate } from '../core/limits.ts'
import type { CounterState } from './algorithms.ts'

/** What is kept of a counter. Never changed, only replaced, so that what was can be put back. */
export interface Counter {
  state: CounterState
  /** Milliseconds since the epoch from which on the state means nothing. */
  expiresAtMs: number
  /** The limit that was asked last. */
  spec: LimitSpec
  /** The rate at which it was asked. */
  rate: Rate
}

/** How many maps: a power of two. */
const shardCount = 16

/** How often one sweep goes on to the next map, at most: with few counters most maps are empty. */
const maxMoves = 4

type Shard = Map<string, Counter>

/**
 * Counters by key, the expired ones swept out a few at a time. The sweep goes round and round: at four steps for every
 * counter that is added, at most about a third as many expired ones as live ones are left lying.
 *
 * There are several maps in place of a large one, because a map that is full moves all its entries at once: 150,000 of
 * them took some 25 ms.
 */
export class Counters {
  readonly #shards: readonly Shard[] = Array.from({ length: shardCount }, () => new Map())
  #size = 0
  #sweptShard = 0
  #unswept = shardOf(this.#shards, this.#sweptShard).entries()

  get size(): number {
    return this.#size
  }

  get(key: string): Counter | undefined {
    return this.#shardOf(key).get(key)
  }

  /** Keeps a counter, or forgets the key where there is none. */
  put(key: string, counter: Counter | undefined): void {
    const shard = this.#shardOf(key)
    const sizeBefore = shard.size
    if (counter) shard.set(key, counter)
    else shard.delete(key)
    this.#size += shard.size - sizeBefore
  }

  *entries(): Generator<[key: string, counter: Counter]> {
    for (const shard of this.#shards) yield* shard
  }

  /**
   * Looks at the next few counters and forgets the expired.
   * @param steps how many to look at, at most.
   */
  sweep(steps: number, nowMs: number): void {
    let moves = this.#size === 0 ? maxMoves : 0
    for (let step = 0; step < steps && moves < maxMoves; ) {
      const { done, value } = this.#unswept.next()
      if (done) {
        this.#sweepNextShard()
        moves += 1
      } else {
        this.#dropExpired(value, nowMs)
        step += 1
      }
    }
  }

  #dropExpired([key, { expiresAtMs }]: [string, Counter], nowMs: number): void {
    if (expiresAtMs <= nowMs) this.put(key, undefined)
  }

  #sweepNextShard(): void {
    this.#sweptShard = (this.#sweptShard + 1) % shardCount
    this.#unswept = shardOf(this.#shards, this.#sweptShard).entries()
  }

  /** By two characters that differ in every hash, however it is written; an uneven spread costs a little time, no more. */
  #shardOf(key: string): Shard {
    const end = key.length
    return shardOf(this.#shards, key.charCodeAt(end - 2) * 5 + key.charCodeAt(end - 3))
  }
}

function shardOf(shards: readonly Shard[], at: number): Shard {
  const shard = shards[at & (shardCount - 1)]
  if (!shard) throw new Error(`Cannot find shard ${at}: there are ${shards.length}`)
  return shard
}
