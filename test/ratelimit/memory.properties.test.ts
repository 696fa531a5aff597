import { test } from '@jest/globals'
import fc from 'fast-check'
import {
  agreesWithModel,
  isExactAtAnySize,
  neverExceedsTheBestPlan,
  neverExceedsTheModel,
  newTally,
} from './properties.ts'

/** Enough for a first look; test/fuzz has many more. */
const numRuns = 300

test('answers random schedules as the slow obvious model does', () => {
  fc.assert(agreesWithModel(newTally()), { numRuns })
})

test('counts large quotas in long windows to the unit and millisecond', () => {
  fc.assert(isExactAtAnySize(newTally()), { numRuns })
})

test('admits no more than its guarantee when it has room for few keys', () => {
  fc.assert(neverExceedsTheModel(newTally()), { numRuns })
})

test('admits no more than the most generous plan to who changes plans', () => {
  fc.assert(neverExceedsTheBestPlan(newTally()), { numRuns })
})
