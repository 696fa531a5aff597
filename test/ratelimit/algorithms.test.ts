import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { limitAlgorithms, type Rate } from '../../src/core/limits.ts'
import { algorithms, type CounterState, type Evaluation } from '../../src/ratelimit/algorithms.ts'

const startMs = Date.UTC(2030, 0, 1)

const fivePerFive = { limit: 5, windowMs: 5_000 }

type Take = [atMs: number, cost: number]

/** Asks for each cost at its moment, counted from the start, and returns every answer. */
function ask(name: (typeof limitAlgorithms)[number], rate: Rate, takes: readonly Take[], burst = rate.limit) {
  let state: CounterState | undefined
  return takes.map(([atMs, cost]): Evaluation => {
    const evaluation = algorithms[name](state, { rate, burst, cost }, startMs + atMs)
    if (evaluation.allowed) state = evaluation.next
    return evaluation
  })
}

const tell = ({ allowed, remaining, resetAtMs, retryAtMs }: Evaluation) => ({
  allowed,
  remaining,
  resetMs: resetAtMs - startMs,
  ...(!allowed && { retryMs: retryAtMs - startMs }),
})

describe('gcra', () => {
  test('gives units back one by one', () => {
    const answers = ask('gcra', fivePerFive, [
      [0, 5],
      [0, 1],
      [999, 1],
      [1_000, 1],
    ])

    expect(answers.map(tell)).toEqual([
      { allowed: true, remaining: 0, resetMs: 5_000 },
      { allowed: false, remaining: 0, resetMs: 5_000, retryMs: 1_000 },
      { allowed: false, remaining: 0, resetMs: 5_000, retryMs: 1_000 },
      { allowed: true, remaining: 0, resetMs: 6_000 },
    ])
  })

  test('holds less at once than the limit where the burst is smaller, and more where it is larger', () => {
    const [small] = ask('gcra', fivePerFive, [[0, 1]], 2)
    const [large] = ask('gcra', fivePerFive, [[0, 1]], 20)

    expect([small?.remaining, large?.remaining]).toEqual([1, 19])
  })

  test('does not drift where a unit takes no whole number of milliseconds', () => {
    const rate = { limit: 3, windowMs: 1_000 }
    const everyMs = Array.from({ length: 100_001 }, (_, at): Take => [at, 1])

    const admitted = ask('gcra', rate, everyMs, 2).filter(({ allowed }) => allowed)

    expect(admitted).toHaveLength(2 + 300)
  })

  test('carries what was taken over to another rate, rounded up', () => {
    const { next } = algorithms.gcra(
      undefined,
      { rate: { limit: 100, windowMs: 60_000 }, burst: 100, cost: 60 },
      startMs,
    )

    const slower = algorithms.gcra(
      next,
      { rate: { limit: 70, windowMs: 60_000 }, burst: 70, cost: 0 },
      startMs,
    )
    const smaller = algorithms.gcra(
      next,
      { rate: { limit: 10, windowMs: 60_000 }, burst: 10, cost: 1 },
      startMs,
    )

    const third = algorithms.gcra(
      [startMs, 1, 3],
      { rate: { limit: 1, windowMs: 1_000 }, burst: 1, cost: 1 },
      startMs,
    )

    expect(third).toMatchObject({ allowed: false, retryAtMs: startMs + 334 })
    expect(slower).toMatchObject({ allowed: true, remaining: 10 })
    // 51 units must leak at 10 a minute before one fits.
    expect(smaller).toMatchObject({ allowed: false, remaining: 0, retryAtMs: startMs + 51 * 6_000 })
  })
})

describe('fixed-window', () => {
  test('begins anew with each minute of UTC, wherever in it the first request came', () => {
    const rate = { limit: 2, windowMs: 60_000 }

    const answers = ask('fixed-window', rate, [
      [59_998, 2],
      [59_999, 1],
      [60_000, 2],
      [60_001, 1],
    ])

    expect(answers.map(tell)).toEqual([
      { allowed: true, remaining: 0, resetMs: 60_000 },
      { allowed: false, remaining: 0, resetMs: 60_000, retryMs: 60_000 },
      { allowed: true, remaining: 0, resetMs: 120_000 },
      { allowed: false, remaining: 0, resetMs: 120_000, retryMs: 120_000 },
    ])
  })

  test('keeps what was taken when the limit is lowered within the window', () => {
    const { next } = algorithms['fixed-window'](undefined, { rate: fivePerFive, burst: 5, cost: 4 }, startMs)

    const lowered = { limit: 3, windowMs: 5_000 }
    const answer = algorithms['fixed-window'](next, { rate: lowered, burst: 3, cost: 1 }, startMs + 1)

    expect(answer).toMatchObject({ allowed: false, remaining: 0, retryAtMs: startMs + 5_000 })
  })
})

describe('sliding-window', () => {
  const rate = { limit: 3, windowMs: 1_000 }

  test('counts a bucket whole until its newest unit has left', () => {
    const answers = ask('sliding-window', rate, [
      [0, 1],
      [50, 1],
      [99, 1],
      [1_098, 1],
      [1_099, 3],
    ])

    expect(answers.map(tell)).toEqual([
      { allowed: true, remaining: 2, resetMs: 1_000 },
      { allowed: true, remaining: 1, resetMs: 1_050 },
      { allowed: true, remaining: 0, resetMs: 1_099 },
      { allowed: false, remaining: 0, resetMs: 1_099, retryMs: 1_099 },
      { allowed: true, remaining: 0, resetMs: 2_099 },
    ])
  })

  test('tells when enough buckets have left, not only the first', () => {
    const answers = ask('sliding-window', rate, [
      [0, 1],
      [300, 1],
      [700, 1],
      [800, 2],
      [1_300, 2],
    ])

    expect(answers.slice(-2).map(tell)).toEqual([
      { allowed: false, remaining: 0, resetMs: 1_700, retryMs: 1_300 },
      { allowed: true, remaining: 0, resetMs: 2_300 },
    ])
  })

  test('keeps at most eleven buckets, however many requests there are', () => {
    const takes = Array.from({ length: 5_000 }, (_, at): Take => [at, 1])

    const answers = ask('sliding-window', { limit: 1_000_000, windowMs: 1_000 }, takes)

    expect(Math.max(...answers.map(({ next }) => next?.length ?? 0))).toBe(11 * 2)
  })
})

describe.each(limitAlgorithms)('%s', (name) => {
  test('refuses a cost that never fits, and says the window', () => {
    const [answer] = ask(name, fivePerFive, [[0, 6]])

    expect(answer).toMatchObject({ allowed: false, remaining: 5, retryAtMs: startMs + 5_000 })
  })

  test('only looks at a cost of 0, even where nothing is left', () => {
    const answers = ask(name, fivePerFive, [
      [0, 5],
      [1, 0],
      [1, 0],
      [1, 1],
    ])

    expect(answers.map(({ allowed }) => allowed)).toEqual([true, true, true, false])
    expect(answers[2]).toMatchObject({ remaining: 0 })
  })

  test('counts from the moment of its state where the clock is behind that', () => {
    const [{ next } = { next: undefined }] = ask(name, fivePerFive, [[7_000, 1]])
    const demand = { rate: fivePerFive, burst: 5, cost: 1 }

    const [behind, then] = [0, 7_000].map((atMs) => algorithms[name](next, demand, startMs + atMs))

    expect(behind).toMatchObject({ next: then?.next, remaining: 3, resetAtMs: then?.resetAtMs })
  })

  test('admits nothing more when the clock is set back', () => {
    const answers = ask(name, fivePerFive, [
      [7_000, 5],
      [0, 1],
      [4_999, 1],
    ])

    expect(answers.map(({ allowed }) => allowed)).toEqual([true, false, false])
    expect(answers[1]?.retryAtMs).toBe(answers[2]?.retryAtMs)
  })

  test('forgets nothing that still counts: once a state has expired, a new one answers the same', () => {
    const takes = fc.array(fc.tuple(fc.nat({ max: 90_000 }), fc.integer({ min: 1, max: 3 })), {
      minLength: 1,
    })
    const property = fc.property(takes, fc.integer({ min: 0, max: 3 }), (steps, cost) => {
      const inOrder = steps.toSorted(([a], [b]) => a - b)
      const last = ask(name, fivePerFive, inOrder).findLast(({ allowed }) => allowed)

      const [kept, anew] = [last?.next, undefined].map((state) =>
        algorithms[name](state, { rate: fivePerFive, burst: 5, cost }, last?.expiresAtMs ?? 0),
      )

      expect(kept && tell(kept)).toEqual(anew && tell(anew))
    })

    fc.assert(property, { numRuns: 200 })
  })
})
