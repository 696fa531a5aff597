import { expect, test } from '@jest/globals'
import { Pace } from '../../src/webhooks/pace.ts'

test('a whole quota may begin at once, then one for each share of the window', () => {
  const pace = new Pace({ limit: 3, windowMs: 3_000 })
  for (let left = 3; left > 0; left--) {
    expect(pace.freeAtMs()).toBeLessThanOrEqual(10_000)
    pace.take(10_000)
  }

  const first = pace.freeAtMs()
  pace.take(first)

  expect([first, pace.freeAtMs()]).toEqual([11_000, 12_000])
})

test('what was not used in time is not saved up', () => {
  const pace = new Pace({ limit: 2, windowMs: 1_000 })
  pace.take(0)
  pace.take(1_000_000)
  pace.take(1_000_000)

  expect(pace.freeAtMs()).toBe(1_000_500)
})

test('without a rate everything may begin', () => {
  const pace = new Pace(undefined)
  pace.take(5)

  expect(pace.freeAtMs()).toBe(0)
})
