import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { keepsEveryEvent, newTally } from './histories.ts'

/** Enough for a first look, and the same ones each time, which meet everything; test/fuzz has many more and others. */
const histories = { numRuns: 40, seed: 1 }

test('whatever happens, every event that is not told lost is read, in order, and none that is settled again', () => {
  const tally = newTally()

  fc.assert(keepsEveryEvent(tally, { maxLength: 80 }), histories)

  for (const count of Object.values(tally)) expect(count).toBeGreaterThan(0)
}, 60_000)
