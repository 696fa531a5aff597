import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { advance, learn, type Machine, newMachine, passesAtMs, sendProbe } from '../../src/circuit/machine.ts'
import type { CircuitSpec } from '../../src/core/circuits.ts'
import type { Evidence } from '../../src/core/upstream-fitness.ts'

// 10,000 histories unless told otherwise; FUZZ_SEED repeats those of an earlier run.
const runs = Number(process.env['FUZZ_RUNS'] ?? 10_000)
const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31)

/**
 * A circuit as one would write it without a thought for time or memory: it keeps every outcome it was ever told, and
 * counts them anew for each question. What it says is what the documentation says, word by word.
 */
class Model {
  readonly #spec: CircuitSpec
  state: 'closed' | 'open' | 'half_open' = 'closed'
  generation = 1
  untilMs = 0
  nextProbeMs = 0
  #sinceMs: number
  #openings = 0
  #outcomes: { atMs: number; evidence: Evidence }[] = []

  constructor(spec: CircuitSpec, nowMs: number) {
    this.#spec = spec
    this.#sinceMs = nowMs
  }

  tick(nowMs: number): void {
    if (this.state === 'open' && nowMs >= this.untilMs) {
      this.#become('half_open', nowMs)
      this.nextProbeMs = nowMs
    }
  }

  /** @returns whether a request passes. */
  request(nowMs: number): boolean {
    if (this.state === 'closed') return true
    if (this.state === 'open' || nowMs < this.nextProbeMs) return false
    this.nextProbeMs = nowMs + this.#spec.probeIntervalMs
    return true
  }

  outcome(generation: number, evidence: Evidence, nowMs: number): void {
    if (generation !== this.generation || this.state === 'open') return
    this.#outcomes.push({ atMs: nowMs, evidence })
    if (this.state === 'half_open') this.#judgeProbes(nowMs)
    else if (this.#isTooMuch(nowMs)) {
      const wasLong = nowMs - this.#sinceMs >= this.#spec.windowMs
      this.#open(nowMs, wasLong ? 0 : this.#openings)
    }
  }

  #judgeProbes(nowMs: number): void {
    if (this.#outcomes.some(({ evidence }) => evidence.failed || evidence.slow))
      this.#open(nowMs, this.#openings)
    else if (this.#outcomes.length >= this.#spec.probes) this.#become('closed', nowMs)
  }

  #isTooMuch(nowMs: number): boolean {
    const { failures, failureRate, slowMs, slowRate, minRequests, windowMs } = this.#spec
    if (failures > 0 && this.#row() >= failures) return true
    const tenth = (ms: number) => Math.floor((ms * 10) / windowMs)
    const inWindow = this.#outcomes.filter(({ atMs }) => tenth(atMs) > tenth(nowMs) - 10)
    if (inWindow.length < minRequests) return false
    const share = (which: 'failed' | 'slow') =>
      inWindow.filter(({ evidence }) => evidence[which]).length / inWindow.length
    return (
      (failureRate !== undefined && share('failed') >= failureRate) ||
      (slowMs !== undefined && share('slow') >= slowRate)
    )
  }

  #row(): number {
    let row = 0
    let nextMs: number | undefined
    for (const { atMs, evidence } of this.#outcomes.toReversed()) {
      if (!evidence.failed) break
      if (nextMs !== undefined && nextMs - atMs > this.#spec.windowMs) break
      row += 1
      nextMs = atMs
    }
    return row
  }

  #open(nowMs: number, openings: number): void {
    const { openMs, maxOpenMs } = this.#spec
    this.#become('open', nowMs)
    let length = openMs
    for (let time = 0; time < openings; time += 1) length = Math.min(length * 2, maxOpenMs)
    this.untilMs = nowMs + length
    this.#openings = openings + 1
  }

  #become(state: 'closed' | 'open' | 'half_open', nowMs: number): void {
    this.state = state
    this.generation += 1
    this.#sinceMs = nowMs
    this.#outcomes = []
  }
}

const spec: fc.Arbitrary<CircuitSpec> = fc
  .record({
    failures: fc.integer({ min: 0, max: 6 }),
    windowMs: fc.constantFrom(1_000, 3_000, 9_999, 30_000),
    failureRate: fc.option(fc.constantFrom(0.1, 0.3, 0.5, 0.9, 1), { nil: undefined }),
    minRequests: fc.integer({ min: 1, max: 12 }),
    slowMs: fc.option(fc.constant(100), { nil: undefined }),
    slowRate: fc.constantFrom(0.2, 0.5, 0.8, 1),
    openMs: fc.constantFrom(100, 1_000, 5_000),
    maxOpenMs: fc.constantFrom(5_000, 8_000, 60_000),
    probes: fc.integer({ min: 1, max: 4 }),
    probeIntervalMs: fc.constantFrom(10, 500, 2_000),
    failureOn: fc.constant({ statuses: [], grpcStatuses: [] }),
  })
  .map(({ failureRate, slowMs, ...rest }) => ({
    ...rest,
    ...(failureRate !== undefined && { failureRate }),
    ...(slowMs !== undefined && { slowMs }),
  }))

/** What happens after a while: a request comes, or one of those that passed ends, the newest or an older one. */
const step = fc.record({
  waitMs: fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 0, max: 300 }) },
    { weight: 2, arbitrary: fc.integer({ min: 0, max: 6_000 }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 90_000 }) },
  ),
  what: fc.oneof(
    { weight: 1, arbitrary: fc.constant('request' as const) },
    {
      weight: 2,
      arbitrary: fc.record({
        late: fc.oneof(
          { weight: 5, arbitrary: fc.constant(0) },
          { weight: 1, arbitrary: fc.nat({ max: 9 }) },
        ),
        failed: fc.boolean(),
        slow: fc.boolean(),
      }),
    },
  ),
})

type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

/** The machine and the model side by side, in one history. */
class Pair {
  readonly #spec: CircuitSpec
  readonly #model: Model
  readonly #passed: number[] = []
  #nowMs = Date.UTC(2030, 0, 1)
  #machine: Machine = newMachine(this.#nowMs)

  constructor(settings: CircuitSpec) {
    this.#spec = settings
    this.#model = new Model(settings, this.#nowMs)
  }

  go({ waitMs, what }: Step): void {
    this.#nowMs += waitMs
    this.#machine = advance(this.#machine, this.#nowMs)
    this.#model.tick(this.#nowMs)
    if (what === 'request') this.#request()
    else this.#outcome(what)
    expect([this.#machine.kind, this.#machine.generation]).toEqual([
      this.#model.state,
      this.#model.generation,
    ])
    if (this.#machine.kind === 'open') expect(this.#machine.untilMs).toBe(this.#model.untilMs)
  }

  #request(): void {
    const passes = passesAtMs(this.#machine, this.#nowMs) <= this.#nowMs
    expect(passes).toBe(this.#model.request(this.#nowMs))
    if (!passes) return
    if (this.#machine.kind === 'half_open') this.#machine = sendProbe(this.#machine, this.#spec, this.#nowMs)
    this.#passed.push(this.#machine.generation)
  }

  #outcome({ late, ...evidence }: Exclude<Step['what'], 'request'>): void {
    const before = this.#machine
    const generation = this.#passed.at(-1 - late) ?? before.generation
    const learning = { spec: this.#spec, generation, evidence, nowMs: this.#nowMs, random: () => 0 }
    this.#machine = learn(before, learning)
    this.#model.outcome(generation, evidence, this.#nowMs)
    tally.ignored += generation === before.generation ? 0 : 1
    tally.changes[`${before.kind} ${this.#machine.kind}`] =
      (tally.changes[`${before.kind} ${this.#machine.kind}`] ?? 0) + 1
  }
}

const tally: { ignored: number; changes: Record<string, number> } = { ignored: 0, changes: {} }

test('a circuit says what a slow model says, after any history', () => {
  fc.assert(
    fc.property(spec, fc.array(step, { minLength: 10, maxLength: 120 }), (settings, steps) => {
      const pair = new Pair(settings)
      for (const one of steps) pair.go(one)
    }),
    { numRuns: runs, seed },
  )

  // Histories in which nothing happens would prove nothing.
  expect(tally.ignored).toBeGreaterThan(runs / 10)
  expect(tally.changes['closed open']).toBeGreaterThan(runs / 10)
  expect(tally.changes['half_open open']).toBeGreaterThan(runs / 100)
  expect(tally.changes['half_open closed']).toBeGreaterThan(runs / 100)
})
