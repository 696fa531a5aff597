import fc from 'fast-check'
import {
  type Charge,
  type LimitSpec,
  type LimitState,
  type LimitVerdict,
  type Rate,
  rateProblem,
} from '../../src/core/limits.ts'
import { MemoryLimiter } from '../../src/ratelimit/memory.ts'
import { Model } from './model.ts'
import { chargeFor, requestsOf, schedules } from './schedules.ts'

/** What a run of schedules met, so that a test can see that they were no idle noise. */
export interface Tally {
  allowed: number
  refused: number
  overflowed: number
}

/** A counter with room answers every request of every schedule just as the model does, to the unit and millisecond. */
export function agreesWithModel(tally: Tally) {
  return fc.property(schedules, (schedule) => {
    const limiter = new MemoryLimiter()
    const model = new Model()
    for (const { nowMs, charges } of requestsOf(schedule)) {
      const behindMs = model.tell(nowMs)
      const peeked = limiter.peek(charges, nowMs)
      const verdict = limiter.take(charges, nowMs)
      count(tally, verdict)
      equal(peeked.allowed, verdict.allowed, 'allowed by peek')
      equal(verdict.allowed, model.admits(charges, nowMs), 'allowed')
      charges.forEach((charge, at) => {
        checkRetry(model, charge, nowMs, behindMs, verdict.allowed, verdict.states[at])
      })
      if (verdict.allowed) model.record(charges)
      charges.forEach((charge, at) => {
        checkRest(model, charge, nowMs, verdict.states[at])
      })
    }
  })
}

/** Who refused says when to come back: then it admits, and a millisecond sooner it does not. */
function checkRetry(
  model: Model,
  charge: Charge,
  nowMs: number,
  behindMs: number,
  allowed: boolean,
  state: LimitState | undefined,
): void {
  const { retryAfterMs = Number.NaN } = state ?? {}
  if (allowed || model.admitsOne(charge, nowMs)) {
    equal(retryAfterMs, 0, 'retryAfterMs of a limit that admits')
    return
  }
  if (charge.cost > mostOf(charge)) {
    equal(retryAfterMs, charge.rate.windowMs + behindMs, 'retryAfterMs of what is never admitted')
    return
  }
  equal(model.admitsOne(charge, nowMs + retryAfterMs - 1), false, 'admits a millisecond sooner')
  equal(model.admitsOne(charge, nowMs + retryAfterMs), true, 'admits then')
}

/** What is left is all that would be admitted, and the quota is whole when it says so. */
function checkRest(model: Model, charge: Charge, nowMs: number, state: LimitState | undefined): void {
  const { remaining, resetMs = Number.NaN } = state ?? {}
  equal(remaining, model.remaining(charge, nowMs), 'remaining')
  const whole = { ...charge, cost: mostOf(charge) }
  equal(model.admitsOne(whole, nowMs + resetMs), true, 'admits all at the reset')
  // Where nothing is taken, a window still ends, and a clock may still have to catch up.
  const isSooner = !model.admitsOne(whole, nowMs) && model.admitsOne(whole, nowMs + resetMs - 1)
  equal(isSooner, false, 'admits all a millisecond sooner')
}

/** GCRA is as exact with millions in a month as with three in a second: nothing is ever rounded. */
export function isExactAtAnySize(tally: Tally) {
  const share = fc.integer({ min: 1, max: 1_000_000 }).map((millionths) => millionths / 1_000_000)
  const demands = fc.array(fc.record({ pause: fc.option(share, { nil: 0, freq: 1 }), share }), {
    maxLength: 12,
    size: 'max',
  })
  return fc.property(largeRates, demands, (rate, steps) => {
    const limiter = new MemoryLimiter()
    const model = new Model()
    const spec: LimitSpec = { ...largeLimit, rate }
    let nowMs = Date.UTC(2030, 0, 1)
    for (const { pause, share } of steps) {
      nowMs += Math.floor(rate.windowMs * pause)
      const charge = { spec, rate, key: 'one', cost: Math.ceil(rate.limit * share) }
      model.tell(nowMs)
      const verdict = limiter.take([charge], nowMs)
      count(tally, verdict)
      equal(verdict.allowed, model.admits([charge], nowMs), 'allowed')
      checkRetry(model, charge, nowMs, 0, verdict.allowed, verdict.states[0])
      if (verdict.allowed) model.record([charge])
    }
  })
}

const largeLimit = {
  name: 'large',
  owner: 'defaults',
  algorithm: 'gcra',
  by: [{ kind: 'route' }],
  cost: 1,
} as const

const largeRates = fc
  .record({
    limit: fc.integer({ min: 1, max: 1_000_000_000 }),
    windowMs: fc.integer({ min: 1, max: 2_678_400_000 }),
  })
  .filter((rate) => rateProblem(rate) === undefined)

/** With room for few keys, what is admitted is still never more than the model would admit. */
export function neverExceedsTheModel(tally: Tally) {
  return fc.property(schedules, fc.nat({ max: 4 }), (schedule, maxKeys) => {
    const onOverflow = () => {
      tally.overflowed += 1
    }
    const limiter = new MemoryLimiter({ maxKeys, onOverflow })
    const model = new Model()
    for (const { nowMs, charges } of requestsOf(schedule)) {
      model.tell(nowMs)
      const verdict = limiter.take(charges, nowMs)
      count(tally, verdict)
      if (!verdict.allowed) continue
      equal(model.admits(charges, nowMs), true, 'admitted within the guarantee')
      model.record(charges)
    }
  })
}

/** A user who changes plans at will gets no more than the most generous of them would allow. */
export function neverExceedsTheBestPlan(tally: Tally) {
  const changes = fc.array(fc.option(fc.constant('gold'), { nil: undefined }), {
    minLength: 40,
    maxLength: 40,
  })
  return fc.property(schedules, changes, (schedule, plans) => {
    const limiter = new MemoryLimiter()
    const model = new Model()
    let step = 0
    for (const { nowMs, charges } of requestsOf(schedule)) {
      const asked = charges.map(({ spec, cost }) => ({ ...chargeFor(spec, 0, plans[step]), cost }))
      step += 1
      model.tell(nowMs)
      const verdict = limiter.take(asked, nowMs)
      count(tally, verdict)
      if (!verdict.allowed) continue
      const generous = asked.map(mostGenerous)
      equal(model.admits(generous, nowMs), true, 'admitted within the most generous plan')
      model.record(generous)
    }
  })
}

/** The same charge by the largest burst and the largest rate of all plans that share its counter. */
function mostGenerous(charge: Charge): Charge {
  const { spec } = charge
  const rates = [spec.rate, ...(spec.plan?.rates.values() ?? [])]
  const alike =
    spec.algorithm === 'gcra' ? rates : rates.filter((rate) => rate.windowMs === charge.rate.windowMs)
  const burst = spec.burst ?? Math.max(...rates.map(({ limit }) => limit))
  return { ...charge, spec: { ...spec, burst }, rate: alike.reduce(faster) }
}

function faster(a: Rate, b: Rate): Rate {
  return a.limit * b.windowMs >= b.limit * a.windowMs ? a : b
}

function count(tally: Tally, { allowed }: LimitVerdict): void {
  tally[allowed ? 'allowed' : 'refused'] += 1
}

function mostOf({ spec, rate }: Charge): number {
  return spec.burst ?? rate.limit
}

function equal(actual: unknown, expected: unknown, what: string): void {
  if (actual !== expected) throw new Error(`${what}: got ${actual}, expected ${expected}`)
}

/** An empty tally. */
export function newTally(): Tally {
  return { allowed: 0, refused: 0, overflowed: 0 }
}
