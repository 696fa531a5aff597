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
/** By how much the clock of the wall was set forward; timers know nothing of it. */
let skewMs: number
beforeEach(() => {
  clock = new FakeClock()
  skewMs = 0
  told = []
  log = createLogLines()
  circuits = createCircuits({
    clock: { now: () => clock.now() + skewMs, after: (delayMs, action) => clock.after(delayMs, action) },
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
      detail: 'The upstream is not available now: try again in 5 s.',
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

  test('is not there for having been looked at', () => {
    expect(circuits.peek(users, clock.now())).toEqual({ generation: 0, probe: false })
    expect(circuits.list()).toEqual([])
  })

  test.each([
    ['is set back by an hour', -3_600_000],
    ['stands a millisecond short', -1],
  ])('is tried out in time although the clock %s meanwhile', async (_what, byMs) => {
    failAll()
    skewMs = byMs
    await clock.advance(5_000)

    expect(circuits.admit(users, clock.now() + skewMs)).toMatchObject({ probe: true })
    expect(types()).toEqual(['circuit_breaker.opened', 'circuit_breaker.half_opened'])
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
  test('is logged whether or not it changes anything, and so is its end', () => {
    circuits.declare(new Map([['users', circuit]]))
    circuits.override('users', { override: 'closed', reason: 'a release', forMs: 60_000 })
    circuits.override('users', { override: 'none' })

    expect(log.lines).toMatchObject([
      {
        level: 'info',
        fields: { service: 'users', override: 'closed', reason: 'a release', for_ms: 60_000 },
      },
      { level: 'info', fields: { service: 'users', override: 'none' } },
    ])
  })

  test('tells nothing of what an earlier trip had counted', async () => {
    failAll()
    await clock.advance(5_000)
    send()
    await clock.advance(1_000)
    send()
    circuits.override('users', { override: 'open', reason: 'maintenance', forMs: 1_000 })
    await clock.advance(1_000)

    expect(told.slice(-3).map(({ type, data }) => ({ type, ...data }))).toMatchObject([
      { type: 'circuit_breaker.closed', cause: 'probes_passed', failure_count: 3 },
      { type: 'circuit_breaker.opened', cause: 'override', failure_count: 0, failure_threshold: 0 },
      { type: 'circuit_breaker.closed', cause: 'override_ended', failure_count: 0 },
    ])
  })

  test('ends in time although the clock is set back meanwhile', async () => {
    circuits.declare(new Map([['users', circuit]]))
    circuits.override('users', { override: 'open', reason: 'maintenance', forMs: 30_000 })
    skewMs = -3_600_000
    await clock.advance(30_000)

    expect(circuits.view('users')).toMatchObject({ state: 'closed' })
  })

  test('lasts longer than a timer can, where it is to', async () => {
    const month = 30 * 86_400_000
    circuits.declare(new Map([['users', circuit]]))
    circuits.override('users', { override: 'open', reason: 'moved away', forMs: month })
    expect(clock.pending[0]).toBeLessThan(2 ** 31)
    await clock.advance(month - 1)
    expect(types()).toEqual(['circuit_breaker.opened'])
    await clock.advance(1)

    expect(types()).toEqual(['circuit_breaker.opened', 'circuit_breaker.closed'])
  })

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

  test('is reported in the log although nobody looks', async () => {
    send({}, { service: 'orders', circuit })
    circuits.admit(users, clock.now())
    await clock.advance(60_000)
    circuits.admit(users, clock.now())
    circuits.pass(users, clock.now())

    expect(log.lines).toMatchObject([{ level: 'warn', fields: { service: 'users' } }])
  })

  test('is reported again where somebody did meanwhile, be it of a client that left', async () => {
    const { generation } = circuits.admit(users, clock.now())
    await clock.advance(60_000)
    circuits.list()
    end(generation, { status: 0, responseFlags: ['DC'] })
    expect(circuits.view('users')?.unobserved).toBe(false)
    circuits.admit(users, clock.now())
    await clock.advance(60_000)
    circuits.list()

    expect(log.lines.map(({ level }) => level)).toEqual(['warn', 'warn'])
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

  test('of a route that Envoy leads to a service of the policy’s yield to the policy’s', () => {
    const other = specWith({ failures: 1, windowMs: 3_000 })
    circuits.declare(new Map([['users', circuit]]))

    send({ status: 503 }, { service: 'users', circuit: other })

    expect(circuits.view('users')).toMatchObject({ state: 'closed', counted: { failures: 1 }, spec: circuit })
  })

  test('with a window of the same length go on counting', () => {
    send({ status: 503 })
    send({}, { service: 'users', circuit: specWith({ failures: 9 }) })

    expect(circuits.view('users')).toMatchObject({ counted: { requests: 2, failures: 1 } })
  })

  test('with a window of another length begin it anew', () => {
    send({ status: 503 })
    send({}, { service: 'users', circuit: specWith({ windowMs: 3_000 }) })

    expect(circuits.view('users')).toMatchObject({ counted: { requests: 1, failures: 0 } })
  })

  test('make another circuit of a service that was gone: how earlier requests end says nothing of it', () => {
    const { generation } = circuits.admit(users, clock.now())
    circuits.declare(new Map([['users', circuit]]))
    circuits.declare(new Map())
    circuits.declare(new Map([['users', circuit]]))

    for (let time = 0; time < 9; time += 1) end(generation, { status: 503 })

    expect(circuits.view('users')).toMatchObject({ state: 'closed', counted: { requests: 0 } })
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

describe('a timer', () => {
  test('goes with its circuit, and nothing more is told of it', async () => {
    circuits.declare(new Map([['users', circuit]]))
    failAll()
    circuits.declare(new Map())
    expect(clock.pending).toEqual([])
    await clock.advance(5_000)

    expect(types()).toEqual(['circuit_breaker.opened'])
  })

  test('goes when all of them close', () => {
    failAll()
    circuits.close()

    expect(clock.pending).toEqual([])
  })
})

describe('a view', () => {
  test('says when the next request may pass, where none may now', async () => {
    failAll()
    const openedMs = clock.now()
    expect(circuits.view('users')?.retryAtMs).toBe(openedMs + 5_000)
    await clock.advance(5_000)
    expect(circuits.view('users')).not.toHaveProperty('retryAtMs')
    circuits.admit(users, clock.now())
    expect(circuits.view('users')?.retryAtMs).toBe(openedMs + 6_000)
    circuits.override('users', { override: 'open', reason: 'a test', forMs: 30_000 })

    expect(circuits.view('users')?.retryAtMs).toBe(openedMs + 35_000)
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
