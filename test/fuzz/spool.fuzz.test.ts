import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { keepsEveryEvent, newTally } from '../events/spool/histories.ts'

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 300)

test('the spool keeps what it was given through histories of every kind', () => {
  const tally = newTally()

  fc.assert(keepsEveryEvent(tally, { maxLength: 250 }), { numRuns })

  for (const count of Object.values(tally)) expect(count).toBeGreaterThan(numRuns)
}, 600_000)
