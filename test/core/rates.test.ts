import { expect, test } from '@jest/globals'
import { parseRate, showRate, showWindow } from '../../src/core/rates.ts'

test.each([
  ['100/1m', 100, 60_000],
  ['1/1ms', 1, 1],
  ['5/s', 5, 1_000],
  ['10/2h', 10, 7_200_000],
  ['3/1d', 3, 86_400_000],
  ['7/31d', 7, 31 * 86_400_000],
  ['1000000000/1s', 1_000_000_000, 1_000],
])('%s are %d in %d ms', (text, limit, windowMs) => {
  expect(parseRate(text)).toEqual({ limit, windowMs })
})

test.each([
  '',
  '100',
  '100/',
  '/1m',
  '0/1m',
  '100/0s',
  '-1/1m',
  '1.5/1m',
  '1e3/1m',
  '100/1m/1m',
  '100/1w',
  '100/1M',
  '100 / 1m',
  ' 100/1m',
  '100/1m\n',
  '1000000001/1s',
  '99999999999/1s',
  '7/32d',
  '7/999999999d',
])('%j is no rate', (text) => {
  expect(parseRate(text)).toBeUndefined()
})

test.each([
  [1, '1ms'],
  [1_500, '1500ms'],
  [60_000, '1m'],
  [90_000, '90s'],
  [86_400_000, '1d'],
  [7_200_000, '2h'],
])('a window of %d ms is shown as %s, and read again', (windowMs, text) => {
  expect(showWindow(windowMs)).toBe(text)
  expect(parseRate(showRate({ limit: 9, windowMs }))).toEqual({ limit: 9, windowMs })
})
