import { expect, test } from '@jest/globals'
import { type Charge, type LimitSpec, limitAlgorithms } from '../../src/core/limits.ts'
import { MemoryLimiter } from '../../src/ratelimit/memory.ts'

const startMs = Date.UTC(2030, 0, 1)

const spec: LimitSpec = {
  name: 'fair',
  owner: 'defaults',
  rate: { limit: 2, windowMs: 2_000 },
  algorithm: 'gcra',
  by: [{ kind: 'client' }],
  cost: 1,
}

function charge(key: string, cost = 1, limit = spec): Charge {
  return { spec: limit, rate: limit.rate, key, cost }
}

const keys = (count: number, prefix = 'key') => Array.from({ length: count }, (_, at) => `${prefix} ${at}`)

test('forgets expired keys a few at a time, so that never many more are kept than are live', () => {
  const limiter = new MemoryLimiter()
  const sizes: number[] = []

  // A key lives for a second: at one a millisecond, 1,000 are live.
  for (const [at, key] of keys(20_000).entries()) {
    limiter.take([charge(key)], startMs + at)
    sizes.push(limiter.size)
  }

  expect(Math.max(...sizes)).toBeLessThan(1_500)
  expect(limiter.size).toBeGreaterThanOrEqual(1_000)
})

test('keeps no more keys than it may, and tells of each charge that overflows', () => {
  const overflowed: LimitSpec[] = []
  const limiter = new MemoryLimiter({ maxKeys: 100, onOverflow: (limit) => overflowed.push(limit) })

  for (const key of keys(100_000)) limiter.take([charge(key)], startMs)

  expect(limiter.size).toBeLessThanOrEqual(100 + 4_096)
  expect(overflowed).toHaveLength(99_900)
  expect(overflowed[0]).toBe(spec)
})

test('holds keys that share an overflow counter to the limit together', () => {
  const limiter = new MemoryLimiter({ maxKeys: 1 })
  limiter.take([charge('own')], startMs)

  const allowed = keys(10_000).filter((key) => limiter.take([charge(key)], startMs).allowed)

  // One limit has 64 counters, each of two units.
  expect(allowed).toHaveLength(128)
})

test('keeps a key that has its own counter apart from the overflow', () => {
  const limiter = new MemoryLimiter({ maxKeys: 1 })
  limiter.take([charge('own')], startMs)
  for (const key of keys(1_000)) limiter.take([charge(key)], startMs)

  expect(limiter.take([charge('own')], startMs)).toMatchObject({ allowed: true, states: [{ remaining: 0 }] })
})

test('gives nothing twice to a key that leaves the overflow for a counter of its own', () => {
  const limiter = new MemoryLimiter({ maxKeys: 1 })
  limiter.take([charge('own')], startMs)
  limiter.take([charge('late', 2)], startMs + 500)

  // The first key has expired; some requests later that is found, and there is room.
  const soon = Array.from({ length: 10 }, () => limiter.take([charge('late')], startMs + 1_499))
  const then = limiter.take([charge('late')], startMs + 1_500)

  expect(soon.filter(({ allowed }) => allowed)).toEqual([])
  expect(then.allowed).toBe(true)
  expect(limiter.top(1, startMs + 1_500)).toMatchObject([{ key: 'late' }])
})

test('keeps counters of different limits apart in the overflow', () => {
  const limiter = new MemoryLimiter({ maxKeys: 0 })
  const other = { ...spec, name: 'other' }
  for (const key of keys(1_000)) limiter.take([charge(key)], startMs)

  expect(limiter.take([charge('key 0', 1, other)], startMs)).toMatchObject({ allowed: true })
})

test('keeps a slow plan and a fast one of a limit apart in the overflow', () => {
  const limiter = new MemoryLimiter({ maxKeys: 0 })
  const slow = { ...charge('slow', 100), rate: { limit: 100, windowMs: 86_400_000 } }
  limiter.take([slow], startMs)
  const fast = { limit: 100, windowMs: 1_000 }
  for (const key of keys(1_000)) limiter.take([{ ...charge(key), rate: fast }], startMs + 2_000)

  const { allowed } = limiter.take([{ ...slow, cost: 1 }], startMs + 2_000)

  expect(allowed).toBe(false)
})

test('remembers nothing of who only looks', () => {
  const limiter = new MemoryLimiter()

  for (const algorithm of limitAlgorithms)
    limiter.take([charge(algorithm, 0, { ...spec, algorithm })], startMs)

  expect(limiter.size).toBe(0)
})

test('remembers nothing of what it refuses', () => {
  const limiter = new MemoryLimiter()

  for (const key of keys(100)) limiter.take([charge(key), charge('never', 3)], startMs)

  expect(limiter.size).toBe(0)
})

test('shows the most used counters first, and none that is whole again', () => {
  const limiter = new MemoryLimiter()
  const cap = { ...spec, name: 'cap', owner: 'route:users', rate: { limit: 10, windowMs: 60_000 } }
  limiter.take([charge('half'), charge('most', 9, cap)], startMs)
  limiter.take([charge('all', 2)], startMs)

  const [now, soon] = [limiter.top(2, startMs), limiter.top(5, startMs + 5_000)]

  expect(now).toEqual([
    {
      key: 'all',
      owner: 'defaults',
      name: 'fair',
      limit: 2,
      windowMs: 2_000,
      remaining: 0,
      resetMs: 2_000,
      used: 1,
    },
    {
      key: 'most',
      owner: 'route:users',
      name: 'cap',
      limit: 10,
      windowMs: 60_000,
      remaining: 1,
      resetMs: 54_000,
      used: 0.9,
    },
  ])
  expect(soon.map(({ key }) => key)).toEqual(['most'])
})

test('takes fractions of a millisecond for the millisecond that they are in', () => {
  const limiter = new MemoryLimiter()
  limiter.take([charge('one', 2)], startMs + 0.9)

  const { states } = limiter.take([charge('one')], startMs + 999.5)

  const untouched = limiter.peek([charge('other', 0)], startMs + 999.5)

  expect(states).toMatchObject([{ retryAfterMs: 0.5 }])
  expect(untouched.states).toMatchObject([{ resetMs: 0 }])
})

test('an expired counter says nothing, swept out or not, at whatever rate it is asked', () => {
  const limiter = new MemoryLimiter()
  const slower = { ...spec, rate: { limit: 1, windowMs: 2_000 } }
  limiter.take([charge('a'), charge('a')], startMs)

  // Both units have leaked at the rate at which they were taken; at the slower one half of them would be left.
  const look = limiter.peek([charge('a', 1, slower)], startMs + 2_000)

  expect(look.allowed).toBe(true)
  expect(limiter.take([charge('a', 1, slower)], startMs + 2_000).allowed).toBe(true)
})
