import { LRUCache } from 'lru-cache'
import type { VerifiedToken } from './verifier.ts'

/** Bounds of the token cache. */
export interface TokenCacheBounds {
  /** How long a verification is remembered at the most, in milliseconds; 0 remembers nothing. */
  ttlMs: number
  /** Leeway on `exp` and `nbf`, in milliseconds. */
  clockSkewMs: number
  /** The most tokens kept. */
  maxTokens: number
  /** The most characters kept, over all tokens. */
  maxCharacters: number
}

interface Entry {
  verified: VerifiedToken
  forgetAtMs: number
}

/**
 * Remembers verified tokens by every byte of them. `exp`, `nbf` and the key's standing are looked at on each hit.
 * Refused tokens are never kept: nobody can fill it but by tokens that an issuer signed.
 */
export class TokenCache {
  readonly #entries: LRUCache<string, Entry>
  readonly #bounds: TokenCacheBounds

  constructor(bounds: TokenCacheBounds) {
    this.#bounds = bounds
    this.#entries = new LRUCache({
      max: bounds.maxTokens,
      maxSize: bounds.maxCharacters,
      sizeCalculation: (_entry, token) => token.length,
    })
  }

  get size(): number {
    return this.#entries.size
  }

  /** @returns undefined where the token must be verified anew. */
  get(token: string, nowMs: number): VerifiedToken | undefined {
    const entry = this.#entries.get(token)
    if (!entry) return undefined
    if (this.#holds(entry, nowMs)) return entry.verified
    this.#entries.delete(token)
    return undefined
  }

  set(token: string, verified: VerifiedToken, nowMs: number): void {
    if (this.#bounds.ttlMs > 0) this.#entries.set(token, { verified, forgetAtMs: nowMs + this.#bounds.ttlMs })
  }

  #holds({ verified, forgetAtMs }: Entry, nowMs: number): boolean {
    const { clockSkewMs } = this.#bounds
    return (
      verified.key.active &&
      nowMs < forgetAtMs &&
      nowMs < verified.expiresAtMs + clockSkewMs &&
      nowMs >= (verified.notBeforeMs ?? 0) - clockSkewMs
    )
  }
}
