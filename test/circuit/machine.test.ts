import { describe, expect, test } from '@jest/globals'
import {
  advance,
  counted,
  learn,
  type Machine,
  newMachine,
  passesAtMs,
  sendProbe,
} from '../../src/circuit/machine.ts'
import type { CircuitSpec } from '../../src/core/circuits.ts'
import { specWith } from '../support/circuit-specs.ts'

const startMs = Date.UTC(2030, 0, 1)
const good = { failed: false, slow: false }
const bad = { failed: true, slow: false }
const slow = { failed: false, slow: true }

/** Lets outcomes of the present generation come in, one a millisecond. */
function taught(
  machine: Machine,
  spec: CircuitSpec,
  outcomes: readonly (typeof good)[],
  fromMs = startMs,
): Machine {
  return outcomes.reduce<Machine>(
    (now, evidence, at) =>
      learn(now, { spec, generation: now.generation, evidence, nowMs: fromMs + at, random: () => 0 }),
    machine,
  )
}

function times<T>(count: number, value: T): T[] {
  return Array.from({ length: count }, () => value)
}

describe('a closed circuit', () => {
  test('trips by failures in a row, and not before', () => {
    const almost = taught(newMachine(startMs), specWith(), [bad, bad, good, bad, bad])
    const open = taught(almost, specWith(), [bad])

    expect(almost.kind).toBe('closed')
    expect(open).toMatchObject({
      kind: 'open',
      untilMs: startMs + 5_000,
      trip: { cause: 'consecutive_failures', count: 3, threshold: 3 },
    })
  })

  test('does not take failures for a row that are a window apart', () => {
    const first = taught(newMachine(startMs), specWith(), [bad, bad])

    expect(taught(first, specWith(), [bad], startMs + 10_002).kind).toBe('closed')
    expect(taught(first, specWith(), [bad], startMs + 10_001).kind).toBe('open')
  })

  test('trips by the share of failures once there are enough requests', () => {
    const spec = specWith({ failures: 0, failureRate: 0.5 })
    const mixed = times(4, [good, bad]).flat()

    expect(taught(newMachine(startMs), spec, [...mixed, good]).kind).toBe('closed')
    expect(taught(newMachine(startMs), spec, [...mixed, good, bad])).toMatchObject({
      kind: 'open',
      trip: { cause: 'failure_rate', count: 5, threshold: 5 },
    })
  })

  test('trips by the share of slow answers', () => {
    const spec = specWith({ failures: 0, slowMs: 100, slowRate: 0.8 })

    const open = taught(newMachine(startMs), spec, [good, good, ...times(8, slow)])

    expect(open).toMatchObject({ kind: 'open', trip: { cause: 'slow_rate', count: 8, threshold: 8 } })
  })

  test('forgets what has slid out of the window', () => {
    const spec = specWith({ failures: 0, failureRate: 0.5 })
    const earlier = taught(newMachine(startMs), spec, times(9, bad))

    const later = taught(earlier, spec, [bad], startMs + spec.windowMs + 1_000)

    expect(later.kind).toBe('closed')
    expect(counted(later, spec, startMs + spec.windowMs + 1_000)).toEqual({
      requests: 1,
      failures: 1,
      slow: 0,
    })
  })

  test('counts on where the clock is set back', () => {
    const spec = specWith({ failures: 0, failureRate: 1 })
    const before = taught(newMachine(startMs), spec, times(9, bad))

    expect(taught(before, spec, [bad], startMs - 3_600_000).kind).toBe('open')
  })

  test('keeps ten buckets at the most, however the clock jumps', () => {
    const spec = specWith({ failures: 0 })
    const jumps = times(50, [0, 3_000, -2_000, 4_900]).flat()
    const jumped = jumps.reduce<Machine>(
      (now, byMs) => taught(now, spec, [good], startMs + byMs),
      newMachine(startMs),
    )

    expect((jumped as Extract<Machine, { kind: 'closed' }>).window.length).toBeLessThanOrEqual(10)
  })

  test.each([
    [0.1, 30, 3],
    [0.3, 10, 3],
    [0.7, 10, 7],
    [1, 10, 10],
    [0.01, 100, 1],
  ])('reads a share of %f of %i requests as %i of them', (failureRate, minRequests, threshold) => {
    const spec = specWith({ failures: 0, failureRate, minRequests })
    const rest = times(minRequests - threshold, good)

    expect(taught(newMachine(startMs), spec, [...rest, good, ...times(threshold - 1, bad)]).kind).toBe(
      'closed',
    )
    expect(taught(newMachine(startMs), spec, [...rest, ...times(threshold, bad)])).toMatchObject({
      trip: { threshold },
    })
  })
})

describe('an open circuit', () => {
  const open = taught(newMachine(startMs), specWith(), [bad, bad, bad])

  test('says when it may be asked again', () => {
    expect(passesAtMs(open, startMs + 1_000)).toBe(startMs + 5_002)
    expect(advance(open, startMs + 5_001)).toBe(open)
  })

  test('ignores how requests end that were sent before it opened', () => {
    const late = learn(open, {
      spec: specWith(),
      generation: 1,
      evidence: good,
      nowMs: startMs + 9,
      random: () => 0,
    })

    expect(late).toBe(open)
  })

  test('is half open once its time is up, for a generation of its own', () => {
    expect(advance(open, startMs + 5_002)).toMatchObject({
      kind: 'half_open',
      generation: open.generation + 1,
    })
  })
})

describe('a half-open circuit', () => {
  const half = advance(taught(newMachine(startMs), specWith(), [bad, bad, bad]), startMs + 5_002) as Extract<
    Machine,
    { kind: 'half_open' }
  >
  const nowMs = startMs + 5_002

  test('lets one request pass in each interval, whatever became of the last', () => {
    const probed = sendProbe(half, specWith(), nowMs)

    expect(passesAtMs(half, nowMs)).toBe(nowMs)
    expect(passesAtMs(probed, nowMs + 999)).toBe(nowMs + 1_000)
  })

  test('closes after good probes in a row', () => {
    const closed = taught(half, specWith(), [good, good], nowMs)

    expect(closed).toMatchObject({ kind: 'closed', generation: half.generation + 1, inRow: 0, window: [] })
  })

  test.each([
    ['failed', bad],
    ['slow', slow],
  ])('opens again by a %s probe, for twice as long', (_what, evidence) => {
    const open = taught(half, specWith(), [good, evidence], nowMs)

    expect(open).toMatchObject({ kind: 'open', untilMs: nowMs + 1 + 10_000, trip: { cause: 'probe_failed' } })
  })

  test('ignores the late failure of a request sent while it was closed', () => {
    const late = learn(half, { spec: specWith(), generation: 1, evidence: bad, nowMs, random: () => 0 })

    expect(late).toBe(half)
  })
})

describe('how long it stays open', () => {
  /** Opens it `count` times in a row, each probe failing at once. */
  function openTimes(spec: CircuitSpec, count: number, random: () => number): number[] {
    let nowMs = startMs
    let machine = taught(newMachine(nowMs), spec, times(spec.failures, bad), nowMs)
    const lengths: number[] = []
    for (let round = 0; round < count; round += 1) {
      const untilMs = passesAtMs(machine, nowMs)
      lengths.push(untilMs - (machine as { sinceMs: number }).sinceMs)
      nowMs = untilMs
      machine = advance(machine, nowMs)
      machine = learn(machine, { spec, generation: machine.generation, evidence: bad, nowMs, random })
    }
    return lengths
  }

  test('doubles up to the cap', () => {
    expect(openTimes(specWith(), 6, () => 0)).toEqual([5_000, 10_000, 20_000, 40_000, 60_000, 60_000])
  })

  test('falls short by a jitter of at most a fifth, but never the first time and never below the first', () => {
    expect(openTimes(specWith(), 5, () => 0.999_999)).toEqual([5_000, 8_000, 16_000, 32_000, 48_000])
    expect(openTimes(specWith({ maxOpenMs: 5_000 }), 3, () => 0.999_999)).toEqual([5_000, 5_000, 5_000])
  })

  test('still knows its number after a thousand openings', () => {
    expect(openTimes(specWith(), 1_100, () => 0).at(-1)).toBe(60_000)
  })

  test('begins anew where the service has been well for a window', () => {
    const spec = specWith({ probes: 1 })
    const half = advance(taught(newMachine(startMs), spec, times(3, bad)), startMs + 10_000)
    const closed = taught(half, spec, [good], startMs + 10_000)

    const soon = taught(closed, spec, times(3, bad), startMs + 19_990)
    const late = taught(closed, spec, times(3, bad), startMs + 19_998)

    expect(soon).toMatchObject({ untilMs: startMs + 19_992 + 10_000 })
    expect(late).toMatchObject({ untilMs: startMs + 20_000 + 5_000 })
  })
})
