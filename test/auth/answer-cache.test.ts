import { beforeEach, describe, expect, jest, test } from '@jest/globals'
import type { Answer } from '../../src/auth/answer-cache.ts'
import { Fault } from '../../src/core/fault.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { createTestAnswers } from '../support/test-answers.ts'

let clock: FakeClock
beforeEach(() => {
  clock = new FakeClock()
})

/** A good answer for the next ten seconds; `more` replaces what matters. */
function good(value = 'alice', more: Partial<Answer<string>> = {}): Answer<string> {
  return { value, negative: false, freshUntilMs: clock.now() + 10_000, staleUntilMs: 0, ...more }
}

function bad(value = 'refused'): Answer<string> {
  return { value, negative: true, freshUntilMs: clock.now() + 5_000, staleUntilMs: 0 }
}

const down = () => Promise.reject(new Error('status 503'))

describe('an answer', () => {
  test('is asked for once and then remembered while it is fresh', async () => {
    const { cache, counts } = createTestAnswers<string>(clock)
    const ask = jest.fn(async () => good())

    const first = await cache.get('token', clock.now(), ask)
    await clock.advance(9_999)
    const second = await cache.get('token', clock.now(), ask)
    await clock.advance(1)
    await cache.get('token', clock.now(), ask)

    expect([first, second]).toEqual(['alice', 'alice'])
    expect(ask).toHaveBeenCalledTimes(2)
    expect(counts).toEqual({ hits: 1, misses: 2 })
  })

  test('is remembered by every character of its token', async () => {
    const { cache, counts } = createTestAnswers<string>(clock)
    await cache.get('token', clock.now(), async () => good())

    for (const key of ['toke', 'token2', 'Token', 'token '])
      await cache.get(key, clock.now(), async () => bad())

    expect(counts).toEqual({ hits: 0, misses: 5 })
  })

  test('that is no longer fresh when it arrives serves who asked, and is not kept', async () => {
    const { cache } = createTestAnswers<string>(clock)

    const value = await cache.get('token', clock.now(), async () =>
      good('alice', { freshUntilMs: clock.now() }),
    )

    expect([value, cache.size]).toEqual(['alice', 0])
  })

  test('that was good and is now bad is forgotten at once', async () => {
    const { cache } = createTestAnswers<string>(clock)
    await cache.get('token', clock.now(), async () =>
      good('alice', { staleUntilMs: clock.now() + 3_600_000 }),
    )
    await clock.advance(10_000)

    const now = await cache.get('token', clock.now(), async () => bad())
    await clock.advance(5_000)
    const later = cache.get('token', clock.now(), down)

    expect([now, cache.size]).toEqual(['refused', 1])
    await expect(later).rejects.toThrow(Fault)
  })
})

describe('concurrent questions after one token', () => {
  test('become one call, and each gets its answer', async () => {
    const { cache, counts } = createTestAnswers<string>(clock)
    const { promise, resolve } = Promise.withResolvers<Answer<string>>()
    const ask = jest.fn(() => promise)

    const waiting = Array.from({ length: 1_000 }, () => cache.get('token', clock.now(), ask))
    resolve(good())

    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['alice']))
    expect(ask).toHaveBeenCalledTimes(1)
    expect(counts).toEqual({ hits: 0, misses: 1_000 })
  })

  test('share its failure too, and the next one asks anew', async () => {
    const { cache } = createTestAnswers<string>(clock)
    const ask = jest.fn(down)

    const outcomes = await Promise.allSettled([1, 2, 3].map(() => cache.get('token', clock.now(), ask)))
    const next = await cache.get('token', clock.now(), async () => good())

    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    expect(ask).toHaveBeenCalledTimes(1)
    expect(next).toBe('alice')
  })

  test('after different tokens are different calls', async () => {
    const { cache } = createTestAnswers<string>(clock)

    const answers = await Promise.all(
      ['alice', 'bob'].map((name) => cache.get(name, clock.now(), async () => good(name))),
    )

    expect(answers).toEqual(['alice', 'bob'])
  })
})

describe('a request', () => {
  test('waits no longer than it can afford; the answer that comes later serves the next', async () => {
    const { cache } = createTestAnswers<string>(clock)
    const { promise, resolve } = Promise.withResolvers<Answer<string>>()
    const ask = jest.fn(() => promise)
    const waiting = cache.get('token', clock.now(), ask)
    const outcome = waiting.catch((error: unknown) => error)

    await clock.advance(899)
    const before = clock.pending
    await clock.advance(1)
    const gaveUp = await outcome
    resolve(good())
    const next = await cache.get('token', clock.now(), ask)

    expect(before).toEqual([1])
    expect(gaveUp).toBeInstanceOf(Fault)
    expect(gaveUp).toMatchObject({
      part: 'auth',
      message: 'Cannot ask okta.introspection: no answer within 900 ms',
    })
    expect(next).toBe('alice')
    expect(ask).toHaveBeenCalledTimes(1)
  })

  test('that has waited elsewhere before waits only for what is left of its time', async () => {
    const { cache } = createTestAnswers<string>(clock)
    const arrivedAtMs = clock.now()
    await clock.advance(700)

    const outcome = cache.get('token', arrivedAtMs, () => new Promise(() => undefined)).catch(String)

    expect(clock.pending).toEqual([200])
    await clock.advance(200)
    expect(await outcome).toContain('no answer within 900 ms')
  })

  test('never waits longer, though the clock was set back since it arrived', async () => {
    const { cache } = createTestAnswers<string>(clock)

    cache.get('token', clock.now() + 3_600_000, () => new Promise(() => undefined)).catch(() => undefined)

    expect(clock.pending).toEqual([900])
  })

  test('leaves no timer behind', async () => {
    const { cache } = createTestAnswers<string>(clock)

    await cache.get('token', clock.now(), async () => good())
    await cache.get('other', clock.now(), down).catch(() => undefined)

    expect(clock.pending).toEqual([])
  })

  test('that nobody waits for any more fails for nobody', async () => {
    const { cache } = createTestAnswers<string>(clock)
    const { promise, reject } = Promise.withResolvers<Answer<string>>()
    const outcome = cache.get('token', clock.now(), () => promise).catch(() => 'gave up')
    await clock.advance(900)
    expect(await outcome).toBe('gave up')

    reject(new Error('connection reset'))
    await clock.advance(1)

    expect(await cache.get('token', clock.now(), async () => good())).toBe('alice')
  })
})

describe('a failure', () => {
  test('is a fault that names whom it was about, with its cause', async () => {
    const { cache } = createTestAnswers<string>(clock)

    const failing = cache.get('token', clock.now(), down)

    await expect(failing).rejects.toThrow(Fault)
    await expect(failing).rejects.toMatchObject({
      part: 'auth',
      message: 'Cannot ask okta.introspection: status 503',
      cause: new Error('status 503'),
    })
  })

  test('is not remembered', async () => {
    const { cache } = createTestAnswers<string>(clock)
    await cache.get('token', clock.now(), down).catch(() => undefined)

    expect(await cache.get('token', clock.now(), async () => good())).toBe('alice')
  })
})

describe('an answer that is stale', () => {
  test('serves nobody where that is not wanted: a fault, not an old answer', async () => {
    const { cache } = createTestAnswers<string>(clock)
    await cache.get('token', clock.now(), async () => good())
    await clock.advance(10_000)

    await expect(cache.get('token', clock.now(), down)).rejects.toThrow(Fault)
  })

  test('serves where it is wanted and no new one is to be had, up to its end', async () => {
    const { cache } = createTestAnswers<string>(clock)
    const staleUntilMs = clock.now() + 60_000
    await cache.get('token', clock.now(), async () => good('alice', { staleUntilMs }))

    await clock.advance(59_999)
    const within = await cache.get('token', clock.now(), down)
    await clock.advance(1)
    const after = cache.get('token', clock.now(), down)

    expect(within).toBe('alice')
    await expect(after).rejects.toThrow(Fault)
  })

  test('serves after the wait where the provider hangs', async () => {
    const { cache } = createTestAnswers<string>(clock)
    await cache.get('token', clock.now(), async () => good('alice', { staleUntilMs: clock.now() + 60_000 }))
    await clock.advance(10_000)

    const waiting = cache.get('token', clock.now(), () => new Promise(() => undefined))
    await clock.advance(900)

    expect(await waiting).toBe('alice')
  })

  test('serves also where answers are never fresh', async () => {
    const { cache } = createTestAnswers<string>(clock)
    const times = { freshUntilMs: clock.now(), staleUntilMs: clock.now() + 60_000 }
    await cache.get('token', clock.now(), async () => good('alice', times))

    expect(await cache.get('token', clock.now(), down)).toBe('alice')
  })

  test('gives way to a new one as soon as there is one', async () => {
    const { cache } = createTestAnswers<string>(clock)
    await cache.get('token', clock.now(), async () => good('alice', { staleUntilMs: clock.now() + 60_000 }))
    await clock.advance(10_000)

    expect(await cache.get('token', clock.now(), async () => good('alice the second'))).toBe(
      'alice the second',
    )
  })
})

describe('the bounds', () => {
  test('a flood of bad tokens never drives out a good one', async () => {
    const { cache, counts } = createTestAnswers<string>(clock, { maxAnswers: 10 })
    await cache.get('good', clock.now(), async () => good())

    for (let at = 0; at < 1_000; at += 1) await cache.get(`bad-${at}`, clock.now(), async () => bad())
    const again = await cache.get('good', clock.now(), down)

    expect([again, cache.size]).toEqual(['alice', 11])
    expect(counts.hits).toBe(1)
  })

  test('hold for answers of each sort', async () => {
    const { cache } = createTestAnswers<string>(clock, { maxAnswers: 10 })

    for (let at = 0; at < 100; at += 1) await cache.get(`good-${at}`, clock.now(), async () => good())

    expect(cache.size).toBe(10)
  })

  test('hold for the characters of all tokens together', async () => {
    const { cache } = createTestAnswers<string>(clock, { maxCharacters: 1_000 })

    for (let at = 0; at < 100; at += 1)
      await cache.get(`${at}`.padEnd(100, 'x'), clock.now(), async () => good())

    expect(cache.size).toBe(10)
  })

  test('let a token that is larger than all of it pass, unremembered', async () => {
    const { cache } = createTestAnswers<string>(clock, { maxCharacters: 10 })

    expect(await cache.get('x'.repeat(11), clock.now(), async () => good())).toBe('alice')
    expect(cache.size).toBe(0)
  })
})
