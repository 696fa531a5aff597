import type { JWK } from 'jose'

type Answer = () => Promise<unknown>

/** Stands for the place where an issuer publishes its keys: it answers as told, and counts how often it is asked. */
export class ScriptedKeys {
  #answer: Answer = () => Promise.reject(new Error('nothing published yet'))
  #fetches = 0

  /** How often the keys were fetched. */
  get fetches(): number {
    return this.#fetches
  }

  readonly fetchKeys = (): Promise<unknown> => {
    this.#fetches += 1
    return this.#answer()
  }

  /** Publishes these keys from now on. */
  publish(...keys: readonly JWK[]): void {
    this.document({ keys })
  }

  /** Answers with this document from now on, be it a key set or not. */
  document(document: unknown): void {
    this.#answer = () => Promise.resolve(structuredClone(document))
  }

  /** Fails every fetch from now on. */
  fail(message = 'connection refused'): void {
    this.#answer = () => Promise.reject(new Error(message))
  }

  /** Leaves every fetch unanswered from now on, until the returned function answers them all with these keys. */
  hang(): (...keys: readonly JWK[]) => void {
    const { promise, resolve } = Promise.withResolvers<unknown>()
    this.#answer = () => promise
    return (...keys) => resolve({ keys })
  }
}
