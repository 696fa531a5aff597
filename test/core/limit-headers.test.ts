import { expect, test } from '@jest/globals'
import { limitHeaders, retryAfterSeconds, tightestOf } from '../../src/core/limit-headers.ts'
import type { LimitState } from '../../src/core/limits.ts'

function stateOf(name: string, changes: Partial<LimitState> = {}): LimitState {
  return { name, limit: 100, windowMs: 60_000, remaining: 99, resetMs: 600, retryAfterMs: 0, ...changes }
}

const daily = stateOf('daily', { limit: 5_000, windowMs: 86_400_000, remaining: 42, resetMs: 3_600_000 })

test('an allowed reply tells every limit by its name, and the tightest in the older form', () => {
  const headers = limitHeaders({ allowed: true, states: [stateOf('fair'), daily] })

  expect(headers).toEqual([
    ['ratelimit', '"fair";r=99;t=1, "daily";r=42;t=3600'],
    ['ratelimit-policy', '"fair";q=100;w=60, "daily";q=5000;w=86400'],
    ['x-ratelimit-limit', '5000'],
    ['x-ratelimit-remaining', '42'],
    ['x-ratelimit-reset', '3600'],
  ])
})

test('a refused reply says when to come back, by the limit that refuses longest', () => {
  const refusing = stateOf('fair', { remaining: 0, resetMs: 60_000, retryAfterMs: 1_001 })

  const headers = new Map(limitHeaders({ allowed: false, states: [daily, refusing] }))

  expect(headers.get('retry-after')).toBe('2')
  expect(headers.get('x-ratelimit-limit')).toBe('100')
  expect(headers.get('x-ratelimit-reset')).toBe('60')
  // The effective window ends no later than Retry-After (§6 of the draft).
  expect(headers.get('ratelimit')).toBe('"daily";r=42;t=3600, "fair";r=0;t=2')
})

test.each([
  [1, [0]],
  [1, [1]],
  [1, [1_000]],
  [2, [1_001]],
  [60, [1, 60_000, 999]],
])('asks to come back after whole seconds, rounded up, at least 1: %d of %p', (expected, waits) => {
  expect(retryAfterSeconds(waits.map((retryAfterMs) => stateOf('a', { retryAfterMs })))).toBe(expected)
})

test('a window of no whole number of seconds is left out', () => {
  const headers = new Map(limitHeaders({ allowed: true, states: [stateOf('a', { windowMs: 1_500 })] }))

  expect(headers.get('ratelimit-policy')).toBe('"a";q=100')
})

test.each([
  ['plain', '"plain"'],
  ['with "quotes"', String.raw`"with \"quotes\""`],
  [String.raw`back\slash`, String.raw`"back\\slash"`],
  ['größe', '"gr%C3%B6%C3%9Fe"'],
  ['line\r\nbreak', '"line%0D%0Abreak"'],
  ['half \ud800', '"half %EF%BF%BD"'],
])('a name is a string of structured fields: %p', (name, expected) => {
  const headers = new Map(limitHeaders({ allowed: true, states: [stateOf(name)] }))

  expect(headers.get('ratelimit')).toBe(`${expected};r=99;t=1`)
  expect(headers.get('ratelimit-policy')).toBe(`${expected};q=100;w=60`)
})

test('the tightest limit refuses longest, else has the least left, else takes longest to be whole', () => {
  const one = stateOf('one', { retryAfterMs: 5, remaining: 9 })
  const two = stateOf('two', { retryAfterMs: 1, remaining: 0 })
  const three = stateOf('three', { remaining: 3, resetMs: 9 })
  const four = stateOf('four', { remaining: 3, resetMs: 10 })

  expect(tightestOf([two, one])).toBe(one)
  expect(tightestOf([three, four, daily])).toBe(four)
})

test('where no limit applied nothing is said', () => {
  expect(limitHeaders({ allowed: true, states: [] })).toEqual([])
})
