import { describe, expect, test } from '@jest/globals'
import { nextAttempt, parseRetryAfter } from '../../src/webhooks/retry.ts'

const policy = { maxRetries: 3, backoffMs: 60_000 }
const middle = () => 0.5

describe('the next attempt', () => {
  test('comes after 60, 120 and 240 s, and then no more', () => {
    expect([1, 2, 3, 4, 5].map((failures) => nextAttempt(failures, policy, middle))).toEqual([
      60_000,
      120_000,
      240_000,
      'dead',
      'dead',
    ])
  })

  test('strays by 20 % at the most', () => {
    expect([0, 0.25, 0.999_999_9].map((random) => nextAttempt(1, policy, () => random))).toEqual([
      48_000, 54_000, 72_000,
    ])
  })

  test('does not come where the policy asks for none', () => {
    expect(nextAttempt(1, { maxRetries: 0, backoffMs: 60_000 }, middle)).toBe('dead')
  })

  test('comes within 24 hours, however often it has failed', () => {
    expect(nextAttempt(20, { maxRetries: 20, backoffMs: 3_600_000 }, () => 0.999)).toBe(86_400_000)
  })

  test('comes when the receiver said, be it sooner or later than the policy would have it', () => {
    expect([5_000, 600_000].map((retryAfterMs) => nextAttempt(1, policy, middle, retryAfterMs))).toEqual([
      5_000, 600_000,
    ])
  })

  test('does not come more often because the receiver said when', () => {
    expect(nextAttempt(4, policy, middle, 5_000)).toBe('dead')
  })
})

describe('Retry-After', () => {
  const nowMs = Date.UTC(1994, 10, 6, 8, 49, 0)

  test.each([
    ['37', 37_000],
    [' 37 ', 37_000],
    ['Sun, 06 Nov 1994 08:49:37 GMT', 37_000],
    ['Sunday, 06-Nov-94 08:49:37 GMT', 37_000],
    ['Sun Nov  6 08:49:37 1994', 37_000],
    ['0', 1_000],
    ['Sun, 06 Nov 1994 08:48:00 GMT', 1_000],
    ['86401', 86_400_000],
    ['99999999999999999999', 86_400_000],
    ['Sun, 06 Nov 2094 08:49:37 GMT', 86_400_000],
  ])('%j is so many milliseconds: %i', (text, waitMs) => {
    expect(parseRetryAfter(text, nowMs)).toBe(waitMs)
  })

  test.each([
    undefined,
    '',
    '-1',
    '1.5',
    '1e3',
    '0x10',
    'soon',
    'Sun',
    '1994-11-06T08:49:37Z',
    'Sun, 99 Nov 1994 08:49:37 GMT',
  ])('%j says nothing', (text) => {
    expect(parseRetryAfter(text, nowMs)).toBeUndefined()
  })
})
