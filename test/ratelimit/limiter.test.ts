import { describe, expect, test } from '@jest/globals'
import type { Charge, Limiter, LimitSpec } from '../../src/core/limits.ts'
import { MemoryLimiter } from '../../src/ratelimit/memory.ts'

const startMs = Date.UTC(2030, 0, 1)

/** What every limiter is held to; each runs the same tests. */
const limiters: [name: string, create: () => Limiter][] = [['memory', () => new MemoryLimiter()]]

function limitOf(name: string, changes: Partial<LimitSpec> = {}): LimitSpec {
  const rate = { limit: 2, windowMs: 2_000 }
  return {
    name,
    owner: 'route:users',
    rate,
    algorithm: 'gcra',
    by: [{ kind: 'client' }],
    cost: 1,
    ...changes,
  }
}

function chargeOf(spec: LimitSpec, key = spec.name, cost = spec.cost): Charge {
  return { spec, rate: spec.rate, key, cost }
}

const fair = limitOf('fair')
const cap = limitOf('cap', { rate: { limit: 3, windowMs: 60_000 }, algorithm: 'fixed-window' })

describe.each(limiters)('the %s limiter', (_name, create) => {
  test('says where each limit stands after it was taken from', async () => {
    const limiter = create()

    const verdict = await limiter.take([chargeOf(fair), chargeOf(cap)], startMs + 500)

    expect(verdict).toEqual({
      allowed: true,
      states: [
        { name: 'fair', limit: 2, windowMs: 2_000, remaining: 1, resetMs: 1_000, retryAfterMs: 0 },
        { name: 'cap', limit: 3, windowMs: 60_000, remaining: 2, resetMs: 59_500, retryAfterMs: 0 },
      ],
    })
  })

  test('takes nothing of the others where one limit refuses', async () => {
    const limiter = create()
    await limiter.take([chargeOf(fair), chargeOf(cap, 'cap', 3)], startMs)

    const refused = await limiter.take([chargeOf(fair), chargeOf(cap), chargeOf(fair, 'other')], startMs)
    const after = await limiter.peek([chargeOf(fair), chargeOf(fair, 'other')], startMs)

    expect(refused).toMatchObject({
      allowed: false,
      states: [
        { remaining: 1, retryAfterMs: 0 },
        { remaining: 0, retryAfterMs: 60_000 },
        { remaining: 2, retryAfterMs: 0 },
      ],
    })
    expect(after.states.map(({ remaining }) => remaining)).toEqual([1, 2])
  })

  test('tells every limit that refuses, not the first alone', async () => {
    const limiter = create()
    await limiter.take([chargeOf(fair, 'fair', 2), chargeOf(cap, 'cap', 3)], startMs)

    const { states } = await limiter.take([chargeOf(fair), chargeOf(cap)], startMs)

    expect(states.map(({ retryAfterMs }) => retryAfterMs)).toEqual([1_000, 60_000])
  })

  test('adds up two charges of one counter, and gives both back', async () => {
    const limiter = create()
    const twice = [chargeOf(fair, 'one', 1), chargeOf(fair, 'one', 2)]

    const refused = await limiter.take(twice, startMs)
    const after = await limiter.take([chargeOf(fair, 'one', 2)], startMs)

    expect(refused).toMatchObject({
      allowed: false,
      states: [
        { remaining: 2, retryAfterMs: 0 },
        { remaining: 2, retryAfterMs: 1_000 },
      ],
    })
    expect(after.allowed).toBe(true)
  })

  test('gives back in turn what one counter was asked twice', async () => {
    const limiter = create()
    await limiter.take(
      [chargeOf(fair, 'one', 1), chargeOf(fair, 'one', 1), chargeOf(fair, 'never', 3)],
      startMs,
    )

    const { states } = await limiter.peek([chargeOf(fair, 'one', 0)], startMs)

    expect(states).toMatchObject([{ remaining: 2 }])
  })

  test('peeks without taking, of now or later', async () => {
    const limiter = create()
    const charges = [chargeOf(fair, 'one', 2)]
    await limiter.take(charges, startMs)

    const peeked = [await limiter.peek(charges, startMs), await limiter.peek(charges, startMs + 2_000)]
    const taken = await limiter.take([chargeOf(fair, 'one', 1)], startMs + 999)

    expect(peeked.map(({ allowed }) => allowed)).toEqual([false, true])
    expect(peeked.map(({ states }) => states[0]?.remaining)).toEqual([0, 2])
    expect(taken.allowed).toBe(false)
  })

  test('takes by the rate of the charge, which may be that of a plan', async () => {
    const limiter = create()
    const gold = { ...chargeOf(fair, 'one', 5), rate: { limit: 10, windowMs: 2_000 } }

    const { states } = await limiter.take([gold], startMs)

    expect(states).toMatchObject([{ limit: 10, remaining: 5 }])
  })

  test('keeps what was taken when the limit changes', async () => {
    const limiter = create()
    await limiter.take([chargeOf(fair, 'one', 2)], startMs)

    const raised = { ...chargeOf(fair, 'one', 1), rate: { limit: 4, windowMs: 4_000 } }
    const { states } = await limiter.take([raised], startMs)

    expect(states).toMatchObject([{ limit: 4, remaining: 1 }])
  })

  test('allows what asks for no limit', async () => {
    expect(await create().take([], startMs)).toEqual({ allowed: true, states: [] })
  })

  test('stands still while its clock is behind, and says how long that takes', async () => {
    const limiter = create()
    await limiter.take([chargeOf(fair, 'one', 2)], startMs + 10_000)

    const { states } = await limiter.take([chargeOf(fair, 'one', 1)], startMs)
    const [early, then] = [
      await limiter.peek([chargeOf(fair, 'one', 1)], startMs + 10_999),
      await limiter.peek([chargeOf(fair, 'one', 1)], startMs + 11_000),
    ]

    expect(states).toMatchObject([{ retryAfterMs: 11_000 }])
    expect([early.allowed, then.allowed]).toEqual([false, true])
  })
})
