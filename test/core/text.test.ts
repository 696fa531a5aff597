import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { truncateJson } from '../../src/core/text.ts'

function jsonBytes(text: string): number {
  return Buffer.byteLength(JSON.stringify(text)) - 2
}

describe('a text', () => {
  test.each([
    ['that fits stays as it is', '/orders', 7, '/orders'],
    ['one byte too long loses its last character', '/orders', 6, '/order'],
    ['of two-byte characters is cut between two', 'ééé', 5, 'éé'],
    ['of three-byte characters is cut between two', '日本語', 8, '日本'],
    ['of four-byte characters is never cut within a pair', '😀😀', 7, '😀'],
    ['of quotes and backslashes counts each as two', '"\\"', 5, '"\\'],
    ['of control characters with a short escape counts each as two', '\n\t\n', 5, '\n\t'],
    ['of other control characters counts each as six', '\u0001\u0002', 11, '\u0001'],
    ['of half a character counts it as six', '\ud83d\ud83d', 11, '\ud83d'],
    ['of a deletion character counts it as one', '\u007f\u007f', 1, '\u007f'],
    ['that may take nothing is empty', 'a', 0, ''],
    ['that is empty stays empty', '', 0, ''],
  ])('%s', (_what, text, maxBytes, expected) => {
    expect(truncateJson(text, maxBytes)).toBe(expected)
  })
})

test('whatever the text, the longest beginning of whole characters that fits is kept', () => {
  const anything = fc.string({ unit: 'binary', maxLength: 40 })

  fc.assert(
    fc.property(anything, fc.nat(120), (text, maxBytes) => {
      const cut = truncateJson(text, maxBytes)

      expect(text.startsWith(cut)).toBe(true)
      expect(jsonBytes(cut)).toBeLessThanOrEqual(maxBytes)
      const [next = ''] = text.slice(cut.length)
      expect(next === '' || jsonBytes(cut + next) > maxBytes).toBe(true)
    }),
  )
})
