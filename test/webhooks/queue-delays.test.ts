import { expect, test } from '@jest/globals'
import { delayExchange, delayKey, standardLadder } from '../../src/webhooks/queue-delays.ts'

/** How long a key has a message wait, by its words. */
function waitOf(key: string): number {
  const { stepMs, rungs } = standardLadder
  const words = key.split('.')
  expect(words).toHaveLength(rungs)
  return words.reduce((sum, word, at) => sum + Number(word) * stepMs * 2 ** (rungs - 1 - at), 0)
}

test.each([
  [1_000, 1_000],
  [1_400, 1_000],
  [1_500, 2_000],
  [60_000, 60_000],
  [48_123, 48_000],
  [86_400_000, 86_400_000],
  [131_071_000, 131_071_000],
])('a wait of %s ms is %s ms in the ladder', (waitMs, expected) => {
  expect(waitOf(delayKey(waitMs, standardLadder))).toBe(expected)
})

test('a wait is a step at least, and the whole ladder at most', () => {
  expect(waitOf(delayKey(0, standardLadder))).toBe(1_000)
  expect(waitOf(delayKey(-5, standardLadder))).toBe(1_000)
  expect(waitOf(delayKey(Number.MAX_SAFE_INTEGER, standardLadder))).toBe(131_071_000)
})

test('every wait of a delivery has room in the ladder, the longest and a fifth more too', () => {
  expect(waitOf(delayKey(86_400_000 * 1.2, standardLadder))).toBe(103_680_000)
})

test('a message begins at the longest rung', () => {
  expect(delayExchange(standardLadder)).toBe('gateway.webhooks.delay.65536000')
})
