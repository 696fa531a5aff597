import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import {
  agreesWithModel,
  isExactAtAnySize,
  neverExceedsTheBestPlan,
  neverExceedsTheModel,
  newTally,
  type Tally,
} from '../ratelimit/properties.ts'

/** How many schedules are tried, over all properties; 2,000 are enough for a first look. */
const runs = Number(process.env['FUZZ_RUNS'] ?? 100_000)

/** With the seed that a failure names, the same schedules come again. */
const seed = process.env['FUZZ_SEED'] === undefined ? {} : { seed: Number(process.env['FUZZ_SEED']) }

const limitMs = 10 * 60_000

test.each([
  ['are answered as the slow obvious model answers them', agreesWithModel, 0.5],
  ['of large quotas in long windows are answered as the model answers them', isExactAtAnySize, 0.1],
  ['get no more than the guarantee from a limiter with room for few keys', neverExceedsTheModel, 0.25],
  ['get no more than the most generous plan where users change theirs', neverExceedsTheBestPlan, 0.15],
])(
  `random schedules, their share of ${runs}, %s`,
  (_what, property: (tally: Tally) => fc.IProperty<unknown>, share) => {
    const tally = newTally()

    fc.assert(property(tally), { numRuns: Math.ceil(runs * share), ...seed })

    // The schedules are no idle noise: limits refuse a good part of what they are asked.
    expect(tally.refused).toBeGreaterThan(tally.allowed / 10)
    expect(tally.allowed).toBeGreaterThan(tally.refused / 10)
    if (property === neverExceedsTheModel) expect(tally.overflowed).toBeGreaterThan(runs * share)
  },
  limitMs,
)
