import { AnswerCache, type AnswerCacheParts } from '../../src/auth/answer-cache.ts'
import type { FetchJson, JsonRequest } from '../../src/core/fetch.ts'
import type { FakeClock } from './fake-clock.ts'

/** An answer cache, and how often it had an answer and how often it had none. */
export interface TestAnswers<T> {
  cache: AnswerCache<T>
  counts: { hits: number; misses: number }
}

/** Makes an answer cache for `okta.introspection`, with room for plenty; `more` replaces what a test wants otherwise. */
export function createTestAnswers<T>(clock: FakeClock, more: Partial<AnswerCacheParts> = {}): TestAnswers<T> {
  const counts = { hits: 0, misses: 0 }
  const cache = new AnswerCache<T>({
    name: 'okta.introspection',
    clock,
    requestWaitMs: 900,
    maxAnswers: 100,
    maxCharacters: 1_000_000,
    onHit: () => {
      counts.hits += 1
    },
    onMiss: () => {
      counts.misses += 1
    },
    ...more,
  })
  return { cache, counts }
}

/** A place on the web that answers as told, and remembers what it was asked. */
export interface ScriptedFetch {
  fetchJson: FetchJson
  asked: { url: string; request: JsonRequest | undefined }[]
  /** Answers with this document from now on. */
  answer(document: unknown): void
  /** Fails from now on. */
  fail(error?: unknown): void
  /** Leaves what is asked from now on unanswered, until the returned function answers it all. */
  hang(): (document: unknown) => void
}

/** Makes a place that fails until it is told what to answer. */
export function createScriptedFetch(): ScriptedFetch {
  let next: () => Promise<unknown> = () => Promise.reject(new Error('nothing to answer yet'))
  const asked: ScriptedFetch['asked'] = []
  return {
    asked,
    fetchJson(url, request) {
      asked.push({ url, request })
      return next()
    },
    answer(document) {
      next = () => Promise.resolve(structuredClone(document))
    },
    fail(error = new Error('connection refused')) {
      next = () => Promise.reject(error)
    },
    hang() {
      const { promise, resolve } = Promise.withResolvers<unknown>()
      next = () => promise
      return resolve
    },
  }
}
