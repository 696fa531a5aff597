import { expect, test } from '@jest/globals'
import { medianOf, quantile, quantileRatio } from '../../bench/statistics.ts'

/** A round of a hundred times, from so many milliseconds up to twice as many. */
const round = (ms: number) => Array.from({ length: 100 }, (_, index) => ms * (1 + index / 100))

test.each([
  [[3, 1, 2], 2],
  [[4, 1, 3, 2], 2.5],
  [[], Number.NaN],
])('the median of %j is %d', (values, median) => {
  expect(medianOf(values)).toBe(median)
})

test('a quantile is the value below which that share lies', () => {
  expect(quantile(round(1), 0.99)).toBe(1.99)
  expect(quantile(round(1), 1)).toBe(1.99)
})

test('rounds that are all alike have a ratio without a doubt, as far as bins of half a percent tell', () => {
  const { ratio, low, high } = quantileRatio([round(2), round(2)], [round(1), round(1)], 0.99)

  expect(ratio).toBe(2)
  expect(low / 2).toBeCloseTo(1, 1)
  expect(high).toBe(low)
})

test('rounds that differ leave a ratio in doubt', () => {
  const { ratio, low, high } = quantileRatio([round(1), round(2)], [round(1), round(2)], 0.5)

  expect(ratio).toBe(1)
  expect(low).toBeLessThan(0.8)
  expect(high).toBeGreaterThan(1.25)
})
