import type { Clock } from '../core/clock.ts'
import { Fault } from '../core/fault.ts'
import type { Logger } from '../core/log.ts'
import type { FetchKeys } from './key-source.ts'
import { importKeys, type VerificationKey } from './verification-key.ts'

/** The rhythm of a key set. All in milliseconds. */
export interface KeySetTimes {
  /** Between two background refreshes while all is well; ±10 % so that a fleet spreads out. */
  refreshMs: number
  /** Before the second attempt after a failure; doubled each time up to `refreshMs`. */
  retryMs: number
  /** Between two fetches that unknown key ids may cause. */
  unknownKeyCooldownMs: number
  /** How long a request waits for a fetch. Below Envoy's own timeout, so that the client gets an answer of ours. */
  requestWaitMs: number
  /** How long the last good keys serve while the issuer is down. */
  maxStaleMs: number
}

/** The defaults. Bundled Envoy configurations give a Check one second. */
export const keySetTimes: KeySetTimes = {
  refreshMs: 5 * 60_000,
  retryMs: 1_000,
  unknownKeyCooldownMs: 10_000,
  requestWaitMs: 500,
  maxStaleMs: 24 * 3_600_000,
}

/** A JWKS and when it was fetched, in milliseconds since the epoch. */
export interface StoredKeys {
  fetchedAtMs: number
  jwks: unknown
}

/** Keeps the last good JWKS of one issuer across restarts. Neither call may throw: what it keeps is a help, no duty. */
export interface KeyStore {
  load(): StoredKeys | undefined
  save(keys: StoredKeys): void
}

/** Told how each fetch ended; for metrics. */
export type OnFetch = (result: 'ok' | 'failed') => void

/** What a key set is made of. */
export interface KeySetParts {
  /** The issuer's short name, for messages. */
  name: string
  algorithms: readonly string[]
  fetchKeys: FetchKeys
  clock: Clock
  logger: Logger
  store?: KeyStore | undefined
  onFetch?: OnFetch | undefined
  times?: Partial<KeySetTimes>
  /** A number in [0, 1). */
  random?: () => number
}

/** How a key set stands, for `/readyz` and `gatepost check`. */
export interface KeySetState {
  /** How many keys are in use. */
  keys: number
  /** Milliseconds since the keys were last fetched; absent if they never were. */
  ageMs?: number
  /** Why the last fetch failed; absent if it did not. */
  error?: string
}

/**
 * The keys of one issuer: fetched before they are needed, refreshed in the background, kept while the issuer is down.
 * A request never causes a fetch but by a key id nobody knows, and those fetches are joined and spaced.
 */
export class KeySet {
  readonly #parts: KeySetParts
  readonly #times: KeySetTimes
  #keys: readonly VerificationKey[] = []
  #fetchedAtMs: number | undefined
  #error: string | undefined
  #failures = 0
  #inFlight: Promise<void> | undefined
  #nextUnknownKeyFetchMs = Number.NEGATIVE_INFINITY
  #cancelRefresh: () => void = () => undefined
  #closed = false

  constructor(parts: KeySetParts) {
    this.#parts = parts
    this.#times = { ...keySetTimes, ...parts.times }
  }

  /** Takes up the keys of an earlier run, then fetches. Resolves when the first fetch has ended, well or not. */
  async start(): Promise<void> {
    const { store, clock } = this.#parts
    const stored = store?.load()
    // A time that is yet to come is a clock set back or a file tampered with: it would keep the keys for ever.
    const isPast = stored !== undefined && stored.fetchedAtMs <= clock.now()
    if (isPast && this.#isFresh(stored.fetchedAtMs)) await this.#adopt(stored).catch(() => undefined)
    await this.#fetch()
  }

  /** Takes the issuer's trust away: whatever its keys have verified is forgotten. */
  retire(): void {
    for (const key of this.#keys) key.active = false
    this.close()
  }

  /**
   * Stops refreshing. Keys stay usable for requests already under way; a fetch under way ends by itself, within its own
   * bounds, and changes nothing any more.
   */
  close(): void {
    this.#closed = true
    this.#cancelRefresh()
  }

  get state(): KeySetState {
    return {
      keys: this.#keys.length,
      ...(this.#fetchedAtMs !== undefined && { ageMs: this.#parts.clock.now() - this.#fetchedAtMs }),
      ...(this.#error !== undefined && { error: this.#error }),
    }
  }

  /**
   * Finds the keys that may have signed a token: those of its key id, or each fitting one where it names none.
   * @returns none where the issuer publishes no such key.
   * @throws Fault where no keys are known at all.
   */
  async find(keyId: string | undefined, algorithm: string): Promise<readonly VerificationKey[]> {
    await this.#requireKeys()
    const found = this.#matching(keyId, algorithm)
    if (found.length > 0 || keyId === undefined) return found
    await this.#fetchForUnknownKey()
    return this.#matching(keyId, algorithm)
  }

  /** As `find`, but fetches nothing and waits for nothing. */
  known(keyId: string | undefined, algorithm: string): readonly VerificationKey[] {
    if (this.#usable()) return this.#matching(keyId, algorithm)
    throw new Fault(
      'auth',
      `Cannot verify tokens of issuer ${this.#parts.name}: it has no keys yet, and none were asked for`,
    )
  }

  #matching(keyId: string | undefined, algorithm: string): readonly VerificationKey[] {
    const named = keyId === undefined ? this.#keys : this.#keys.filter((key) => key.keyId === keyId)
    return named.filter((key) => key.byAlgorithm.has(algorithm))
  }

  async #requireKeys(): Promise<void> {
    if (this.#usable()) return
    if (this.#inFlight !== undefined) await this.#briefly(this.#inFlight)
    if (this.#usable()) return
    const why = this.#error ?? 'they are still being fetched'
    throw new Fault('auth', `Cannot verify tokens of issuer ${this.#parts.name}: it has no keys, ${why}`)
  }

  #usable(): boolean {
    return this.#keys.length > 0 && this.#fetchedAtMs !== undefined && this.#isFresh(this.#fetchedAtMs)
  }

  #isFresh(fetchedAtMs: number): boolean {
    return this.#parts.clock.now() - fetchedAtMs < this.#times.maxStaleMs
  }

  /** A rotation shows itself by an unknown key id, and so does a flood of invented ones: fetch, but seldom. */
  async #fetchForUnknownKey(): Promise<void> {
    const now = this.#parts.clock.now()
    if (this.#inFlight === undefined && now < this.#nextUnknownKeyFetchMs) return
    this.#nextUnknownKeyFetchMs = now + this.#times.unknownKeyCooldownMs
    await this.#briefly(this.#fetch())
  }

  /** Waits for a fetch, but no longer than a request can afford. */
  async #briefly(fetching: Promise<void>): Promise<void> {
    const { promise: timeUp, resolve } = Promise.withResolvers<void>()
    const cancel = this.#parts.clock.after(this.#times.requestWaitMs, resolve)
    await Promise.race([fetching, timeUp])
    cancel()
  }

  /** Fetches, or joins the fetch under way. Never rejects: how it went is in the state. */
  #fetch(): Promise<void> {
    this.#inFlight ??= this.#fetchOnce().finally(() => {
      this.#inFlight = undefined
      this.#schedule()
    })
    return this.#inFlight
  }

  async #fetchOnce(): Promise<void> {
    const { name, clock, fetchKeys, store, logger, onFetch } = this.#parts
    try {
      const stored = { jwks: await fetchKeys(), fetchedAtMs: clock.now() }
      if (this.#closed) return
      await this.#adopt(stored)
      store?.save(stored)
      if (this.#failures > 0) logger.info({ issuer: name }, 'issuer keys fetched again')
      this.#failures = 0
      this.#error = undefined
      onFetch?.('ok')
    } catch (error) {
      if (this.#closed) return
      this.#failures += 1
      this.#error = error instanceof Error ? error.message : String(error)
      logger.warn(
        { issuer: name, keys: this.#keys.length, failures: this.#failures, exception: error },
        'issuer keys not fetched',
      )
      onFetch?.('failed')
    }
  }

  /** Replaces the keys; one that is still published stays the same object, so that what it verified stays known. */
  async #adopt({ jwks, fetchedAtMs }: StoredKeys): Promise<void> {
    const { name, algorithms, logger } = this.#parts
    const { keys, refused } = await importKeys(jwks, algorithms)
    // Retired meanwhile: nothing may bring its trust back.
    if (this.#closed) return
    if (keys.length === 0) {
      const reasons = refused.map(({ why }) => why).join('; ') || 'it is empty'
      throw new Error(`Cannot use the key set of issuer ${name}: ${reasons}`)
    }
    const known = new Map(this.#keys.map((key) => [key.fingerprint, key]))
    // By fingerprint, so that a key which is published twice is one key.
    const published = new Map(keys.map((key) => [key.fingerprint, known.get(key.fingerprint) ?? key]))
    const next = [...published.values()]
    const changed = next.length !== known.size || next.some((key) => !known.has(key.fingerprint))
    for (const key of this.#keys) key.active = next.includes(key)
    this.#keys = next
    this.#fetchedAtMs = fetchedAtMs
    if (!changed) return
    logger.info({ issuer: name, keys: next.length, refused }, 'issuer keys changed')
  }

  #schedule(): void {
    this.#cancelRefresh()
    if (this.#closed) return
    const { clock, random = Math.random } = this.#parts
    const { refreshMs, retryMs } = this.#times
    const calmMs = this.#failures === 0 ? refreshMs : Math.min(refreshMs, retryMs * 2 ** (this.#failures - 1))
    this.#cancelRefresh = clock.after(calmMs * (0.9 + 0.2 * random()), () => void this.#fetch())
  }
}
