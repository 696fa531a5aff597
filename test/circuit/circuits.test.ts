import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { type CircuitSet, createCircuits } from '../../src/circuit/circuits.ts'
import type { CircuitSpec } from '../../src/core/circuits.ts'
import type { Happening } from '../../src/core/events.ts'
import type { Outcome } from '../../src/core/outcome.ts'
import { specWith } from '../support/circuit-specs.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { createLogLines, type LogLines } from '../support/log-lines.ts'
import { outcomeWith } from '../support/outcomes.ts'

let clock: FakeClock
let told: Happening[]
let log: LogLines
let circuits: CircuitSet
beforeEach(() => {
  clock = new FakeClock()
  told = []
  log = createLogLines()
  circuits = createCircuits({
    clock,
    publish: (happening) => told.push(happening as Happening),
    logger: log.logger,
    random: () => 0,
    replica: 'gatepost-1',
  })
})
afterEach(() => circuits.close())

const circuit = specWith()
const users = { service: 'users', circuit }

/** Sends a request, and lets it end. */
function send(more: Partial<Outcome> = {}, route: { service: string; circuit: CircuitSpec } = users) {
  const admission = circuits.admit(route, clock.now())
  if (!admission.denial) end(admission.generation, more, route.service)
  return admission
}

function end(circuitGeneration: number, more: Partial<Outcome> = {}, service = 'users'): void {
  const decision = { kind: 'allow' as const, route: 'users', service, circuitGeneration }
  circuits.record(outcomeWith({ decision, ...more }), clock.now())
}

function failAll(): void {
  for (let time = 0; time < 3; time += 1) send({ status: 503 })
}

function types(): string[] {
  return told.map(({ type }) => type)
}

describe('a service', () => {
  test('has no circuit without a name, or without settings', () => {
    expect(circuits.admit({ circuit }, clock.now())).toEqual({ generation: 0, probe: false })
    expect(circuits.admit({ service: 'users' }, clock.now())).toEqual({ generation: 0, probe: false })
    expect(circuits.list()).toEqual([])
  })

  test('that fails is refused with the time to wait, and the others are not', () => {
    failAll()

    expect(circuits.peek(users, clock.now() + 1).denial).toEqual({
      kind: 'denial',
      reason: 'circuit_open',
      detail: 'The service users is not answering well: try again in 5 s.',
      headers: [['retry-after', '5']],
    })
    expect(circuits.admit({ service: 'orders', circuit }, clock.now()).denial).toBeUndefined()
  })

  test('is never told to wait less than a second', () => {
    failAll()

    expect(circuits.peek(users, clock.now() + 4_999).denial?.headers).toEqual([['retry-after', '1']])
  })

  test('is tried out once its time is up: one request in each interval, and then all', async () => {
    failAll()
    await clock.advance(5_000)

    const first = circuits.admit(users, clock.now())
    const second = circuits.admit(users, clock.now())
    end(first.generation)
    await clock.advance(1_000)
    const third = send()

    expect([first.probe, second.denial?.reason, third.probe]).toEqual([true, 'circuit_open', true])
    expect(send().probe).toBe(false)
    expect(types()).toEqual([
      'circuit_breaker.opened',
      'circuit_breaker.half_opened',
      'circuit_breaker.closed',
    ])
  })

  test('costs a probe its turn only when a request is admitted, not when one looks', async () => {
    failAll()
    await clock.advance(5_000)

    expect(circuits.peek(users, clock.now()).denial).toBeUndefined()
    expect(circuits.peek(users, clock.now()).probe).toBe(true)
    expect(circuits.admit(users, clock.now()).probe).toBe(true)
    expect(circuits.peek(users, clock.now()).denial).toBeDefined()
  })

  test('is half open in time although nobody asks', async () => {
    failAll()
    await clock.advance(5_000)

    expect(types()).toEqual(['circuit_breaker.opened', 'circuit_breaker.half_opened'])
    expect(circuits.view('users')).toMatchObject({ state: 'half_open' })
  })

  test('is not judged by how requests end that were sent before it opened', async () => {
    const early = circuits.admit(users, clock.now())
    failAll()
    await clock.advance(5_000)

    for (let time = 0; time < 9; time += 1) end(early.generation)

    expect(circuits.view('users')?.state).toBe('half_open')
  })

  test('is not judged by what nobody sealed, or by another one', () => {
    const { generation } = circuits.admit(users, clock.now())
    const decision = { kind: 'allow' as const, route: 'users', service: 'users' }
    for (let time = 0; time < 9; time += 1) {
      circuits.record(outcomeWith({ status: 503, decision }), clock.now())
      end(generation, { status: 503 }, 'orders')
      end(0, { status: 503 })
    }

    expect(circuits.view('users')).toMatchObject({ state: 'closed', counted: { requests: 0 } })
  })
})

describe('an event', () => {
  test('says what was counted, how much is too much, and for how long', () => {
    failAll()

    expect(told).toEqual([
      {
        type: 'circuit_breaker.opened',
        atMs: clock.now(),
        requestId: '',
        data: {
          service: 'users',
          failure_count: 3,
          failure_threshold: 3,
          timeout_seconds: 5,
          cause: 'consecutive_failures',
          replica: 'gatepost-1',
        },
      },
    ])
  })
})

describe('an override', () => {
  test('that opens refuses every request until it ends, and says so', async () => {
    circuits.declare(new Map([['users', circuit]]))
    circuits.override('users', { override: 'open', reason: 'maintenance', forMs: 30_000 })

    expect(circuits.peek(users, clock.now()).denial?.headers).toEqual([['retry-after', '30']])
    await clock.advance(30_000)

    expect(circuits.peek(users, clock.now()).denial).toBeUndefined()
    expect(told.map(({ type, data }) => [type, (data as { cause: string }).cause])).toEqual([
      ['circuit_breaker.opened', 'override'],
      ['circuit_breaker.closed', 'override_ended'],
    ])
  })

  test('that closes lets every request pass, and leaves the circuit itself as it is', async () => {
    failAll()
    const view = circuits.override('users', { override: 'closed', reason: 'false alarm', forMs: 2_000 })

    expect(view).toMatchObject({ state: 'closed', own: 'open', override: { reason: 'false alarm' } })
    expect(send({ status: 503 }).denial).toBeUndefined()
    await clock.advance(2_000)

    expect(circuits.peek(users, clock.now()).denial).toBeDefined()
    expect(circuits.view('users')).toMatchObject({ state: 'open', own: 'open' })
  })

  test('ends when somebody says so', () => {
    circuits.declare(new Map([['users', circuit]]))
    circuits.override('users', { override: 'open', reason: 'oops', forMs: 30_000 })

    const view = circuits.override('users', { override: 'none' })

    expect(view).toMatchObject({ state: 'closed' })
    expect(view).not.toHaveProperty('override')
    expect(clock.pending).toEqual([])
  })

  test('of a service that nobody knows is none', () => {
    expect(circuits.override('nobody', { override: 'none' })).toBeUndefined()
  })

  test('takes the place of an earlier one', async () => {
    circuits.declare(new Map([['users', circuit]]))
    circuits.override('users', { override: 'open', reason: 'first', forMs: 1_000 })
    circuits.override('users', { override: 'closed', reason: 'second', forMs: 9_000 })
    await clock.advance(5_000)

    expect(circuits.view('users')).toMatchObject({ state: 'closed', override: { reason: 'second' } })
  })

  test('outlives the time of the circuit’s own that runs out meanwhile', async () => {
    failAll()
    circuits.override('users', { override: 'open', reason: 'stay', forMs: 60_000 })
    await clock.advance(60_000)

    expect(circuits.view('users')).toMatchObject({ state: 'half_open', own: 'half_open' })
  })
})

describe('a circuit that only reports', () => {
  test('sends no probe, and learns from whatever passes', async () => {
    failAll()
    await clock.advance(5_000)

    const passes = [circuits.pass(users, clock.now()), circuits.pass(users, clock.now())]
    expect(circuits.peek(users, clock.now()).probe).toBe(true)
    for (const { generation } of passes) end(generation)

    expect(passes.map(({ probe }) => probe)).toEqual([false, false])
    expect(circuits.view('users')?.state).toBe('closed')
  })
})

describe('a service nobody tells of', () => {
  test('is reported a minute after the first request that passed, once, until somebody does', async () => {
    const { generation } = circuits.admit(users, clock.now())
    await clock.advance(59_999)
    expect(circuits.view('users')?.unobserved).toBe(false)
    await clock.advance(1)

    expect(circuits.view('users')?.unobserved).toBe(true)
    expect(circuits.list()[0]?.unobserved).toBe(true)
    expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1)

    end(generation)
    expect(circuits.view('users')?.unobserved).toBe(false)
  })

  test('is not reported while nobody asks for it', async () => {
    send()
    await clock.advance(3_600_000)

    expect(circuits.view('users')?.unobserved).toBe(false)
  })
})

describe('other settings', () => {
  test('hold from the next request on, and the circuit stays as it is', () => {
    send({ status: 503 })
    send({ status: 503 }, { service: 'users', circuit: specWith({ failures: 2 }) })

    expect(circuits.view('users')).toMatchObject({ state: 'open', trip: { threshold: 2 } })
  })

  test('forget services that the policy no longer names, and none that Envoy’s routes do', () => {
    circuits.declare(
      new Map([
        ['users', circuit],
        ['orders', circuit],
      ]),
    )
    send({}, { service: 'search', circuit })

    circuits.declare(new Map([['users', circuit]]))

    expect(circuits.list().map(({ service }) => service)).toEqual(['search', 'users'])
  })
})

describe('what is kept', () => {
  test('are the latest fifty changes', () => {
    circuits.declare(new Map([['users', circuit]]))
    for (let time = 0; time < 40; time += 1) {
      circuits.override('users', { override: 'open', reason: `no ${time}`, forMs: 1_000 })
      circuits.override('users', { override: 'none' })
    }

    const { history = [] } = circuits.view('users') ?? {}

    expect(history).toHaveLength(50)
    expect(history.slice(0, 2)).toMatchObject([
      { to: 'closed', cause: 'override_ended' },
      { to: 'open', cause: 'override', reason: 'no 39' },
    ])
  })

  test('are ten thousand services; those beyond have no circuit, and that is told once', () => {
    for (let at = 0; at < 10_010; at += 1) circuits.admit({ service: `s${at}`, circuit }, clock.now())

    expect(circuits.admit({ service: 's10005', circuit }, clock.now()).generation).toBe(0)
    expect(circuits.list()).toHaveLength(10_000)
    expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1)
  })
})
