import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals'
import {
  CallRejected,
  createOutward,
  type Outward,
  type OutwardObserver,
  PassingFailure,
  type ResilienceOptions,
} from '../../src/outward/resilience.ts'

const passing = () => Promise.reject(new PassingFailure('status 503'))
const final = () => Promise.reject(new Error('status 400'))
const good = () => Promise.resolve('answer')
const never = () => new Promise<never>(() => undefined)

beforeEach(() => {
  jest.useFakeTimers()
})
afterEach(() => {
  jest.useRealTimers()
})

/** What the observer was told, one line a call. */
function recorder() {
  const told: string[] = []
  const observer: OutwardObserver = {
    ended: (target, result, tookMs) => told.push(`${target} ${result} ${tookMs}`),
    retried: (target) => told.push(`${target} retried`),
  }
  return { told, observer }
}

/** A way out whose every option matters; `more` replaces some. */
function outward(more: Partial<ResilienceOptions> = {}, { observer } = recorder()): Outward {
  const options = {
    target: 'okta.introspection',
    timeoutMs: 2_000,
    attempts: 2,
    backoffMs: 50,
    maxBackoffMs: 250,
    maxConcurrent: 2,
    maxQueued: 3,
    breakAfter: 3,
    openMs: 5_000,
    ...more,
  }
  return createOutward(options, observer, Date.now)
}

/** Runs a piece of work to its end, moving the time on as far as that takes. */
async function outcomeOf<T>(running: Promise<T>): Promise<unknown> {
  const outcome = running.catch((error: unknown) => error)
  await jest.runAllTimersAsync()
  return outcome
}

/** Opens the circuit. */
async function fail(way: Outward, times: number): Promise<void> {
  for (let at = 0; at < times; at += 1) await outcomeOf(way.run(passing))
}

/** Work that stays under way until it is told to end. */
function held() {
  const ends: (() => void)[] = []
  return {
    get started() {
      return ends.length
    },
    work: () => new Promise<string>((resolve) => ends.push(() => resolve('answer'))),
    endAll: () => {
      for (const end of ends.splice(0)) end()
    },
  }
}

describe('a failed call', () => {
  test('is tried again where the failure may pass', async () => {
    const work = jest
      .fn(passing)
      .mockImplementationOnce(passing)
      .mockResolvedValueOnce('answer' as never)

    expect(await outcomeOf(outward().run(work))).toBe('answer')
    expect(work).toHaveBeenCalledTimes(2)
  })

  test('is tried no more often than told, and fails with the last failure', async () => {
    const work = jest.fn(passing)

    const outcome = await outcomeOf(outward({ attempts: 3, breakAfter: 10 }).run(work))

    expect(outcome).toBeInstanceOf(PassingFailure)
    expect(work).toHaveBeenCalledTimes(3)
  })

  test('is not tried again where the other side meant it', async () => {
    const work = jest.fn(final)

    expect(await outcomeOf(outward().run(work))).toEqual(new Error('status 400'))
    expect(work).toHaveBeenCalledTimes(1)
  })

  test('is not tried again where one attempt is all there is', async () => {
    const work = jest.fn(passing)

    await outcomeOf(outward({ attempts: 1 }).run(work))

    expect(work).toHaveBeenCalledTimes(1)
  })

  test('waits before it is tried again, no longer than the most', async () => {
    const work = jest.fn(passing)
    const running = outward()
      .run(work)
      .catch(() => undefined)

    await jest.advanceTimersByTimeAsync(0)
    const atOnce = work.mock.calls.length
    await jest.advanceTimersByTimeAsync(250)
    const later = work.mock.calls.length

    expect({ atOnce, later }).toEqual({ atOnce: 1, later: 2 })
    await running
  })
})

describe('a call without an answer', () => {
  test('is given up at its time, its signal aborted, and counts as a failure that may pass', async () => {
    const signals: AbortSignal[] = []
    const work = (signal: AbortSignal) => {
      signals.push(signal)
      return never()
    }

    const outcome = await outcomeOf(outward({ attempts: 1 }).run(work))

    expect(outcome).toBeInstanceOf(PassingFailure)
    expect(outcome).toMatchObject({ message: 'no answer within 2000 ms' })
    expect(signals.map(({ aborted }) => aborted)).toEqual([true])
  })

  test('has the whole time: not a moment before is it given up', async () => {
    let aborted = false
    const running = outward({ attempts: 1 }).run((signal) => {
      signal.addEventListener('abort', () => {
        aborted = true
      })
      return never()
    })
    running.catch(() => undefined)

    await jest.advanceTimersByTimeAsync(1_999)
    const before = aborted
    await jest.advanceTimersByTimeAsync(1)

    expect({ before, after: aborted }).toEqual({ before: false, after: true })
    await expect(running).rejects.toThrow('no answer')
  })

  test('is tried again, each attempt with a time of its own', async () => {
    const work = jest.fn(never)

    await outcomeOf(outward().run(work))

    expect(work).toHaveBeenCalledTimes(2)
  })
})

describe('the circuit', () => {
  test('opens after so many failures in a row: nothing is sent any more', async () => {
    const way = outward({ attempts: 1 })
    await fail(way, 2)
    const before = way.isOpen
    await fail(way, 1)
    const work = jest.fn(good)

    const outcome = await outcomeOf(way.run(work))

    expect({ before, after: way.isOpen }).toEqual({ before: false, after: true })
    expect(outcome).toBeInstanceOf(CallRejected)
    expect(outcome).toMatchObject({ message: 'its last 3 calls failed' })
    expect(work).not.toHaveBeenCalled()
  })

  test('counts every attempt, retries too', async () => {
    const way = outward({ attempts: 3 })

    await fail(way, 1)

    expect(way.isOpen).toBe(true)
  })

  test('opens by calls that have no answer', async () => {
    const way = outward({ attempts: 1 })

    for (let at = 0; at < 3; at += 1) await outcomeOf(way.run(never))

    expect(way.isOpen).toBe(true)
  })

  test('stays closed where a success lies between the failures', async () => {
    const way = outward({ attempts: 1 })

    await fail(way, 2)
    await outcomeOf(way.run(good))
    await fail(way, 2)

    expect(way.isOpen).toBe(false)
  })

  test('is not opened by what the other side says on purpose', async () => {
    const way = outward({ attempts: 1 })

    for (let at = 0; at < 10; at += 1) await outcomeOf(way.run(final))

    expect(way.isOpen).toBe(false)
  })

  test('lets one call through after its time, and closes by its success', async () => {
    const way = outward({ attempts: 1 })
    await fail(way, 3)
    await jest.advanceTimersByTimeAsync(4_999)
    const early = await outcomeOf(way.run(good))
    await jest.advanceTimersByTimeAsync(1)

    const probe = await outcomeOf(way.run(good))
    const next = await outcomeOf(way.run(good))

    expect(early).toBeInstanceOf(CallRejected)
    expect([probe, next]).toEqual(['answer', 'answer'])
    expect(way.isOpen).toBe(false)
  })

  test('opens again by the failure of that call, for its whole time', async () => {
    const way = outward({ attempts: 1 })
    await fail(way, 3)
    await jest.advanceTimersByTimeAsync(5_000)
    const probe = await outcomeOf(way.run(passing))

    await jest.advanceTimersByTimeAsync(4_999)
    const early = await outcomeOf(way.run(good))
    await jest.advanceTimersByTimeAsync(1)
    const late = await outcomeOf(way.run(good))

    expect(probe).toBeInstanceOf(PassingFailure)
    expect(early).toBeInstanceOf(CallRejected)
    expect(late).toBe('answer')
  })

  test('lets no more than that one through until it has ended', async () => {
    const way = outward({ attempts: 1, maxConcurrent: 10 })
    await fail(way, 3)
    await jest.advanceTimersByTimeAsync(5_000)
    const probe = held()
    const others = jest.fn(good)

    const probing = way.run(probe.work)
    const waiting = [way.run(others), way.run(others)]
    await jest.advanceTimersByTimeAsync(0)
    const meanwhile = others.mock.calls.length
    probe.endAll()

    expect(await outcomeOf(Promise.all([probing, ...waiting]))).toEqual(['answer', 'answer', 'answer'])
    expect(meanwhile).toBe(0)
  })

  test('is asked when a call’s turn comes: what waited while it opened is never sent', async () => {
    const way = outward({ attempts: 1, maxConcurrent: 1, maxQueued: 10 })
    const failing = [1, 2, 3].map(() => way.run(never))
    const work = jest.fn(good)
    const waiting = [1, 2, 3].map(() => way.run(work))

    const outcomes = (await outcomeOf(Promise.allSettled([...failing, ...waiting]))) as {
      reason?: unknown
    }[]

    expect(outcomes.slice(3).map(({ reason }) => reason)).toEqual([
      expect.any(CallRejected),
      expect.any(CallRejected),
      expect.any(CallRejected),
    ])
    expect(work).not.toHaveBeenCalled()
  })
})

describe('calls at the same time', () => {
  test('are no more than told; so many wait, and those beyond fail at once', async () => {
    const way = outward({ attempts: 1 })
    const calls = held()
    const running = Array.from({ length: 6 }, () => way.run(calls.work))
    const settled = Promise.allSettled(running)
    await jest.advanceTimersByTimeAsync(0)
    const first = calls.started
    await expect(running[5]).rejects.toThrow('too many calls are under way')
    await expect(running[5]).rejects.toBeInstanceOf(CallRejected)
    calls.endAll()
    await jest.advanceTimersByTimeAsync(0)
    const second = calls.started
    calls.endAll()
    await jest.advanceTimersByTimeAsync(0)
    calls.endAll()

    const results = await settled

    expect([first, second]).toEqual([2, 2])
    expect(results.map(({ status }) => status)).toEqual([...Array(5).fill('fulfilled'), 'rejected'])
  })

  test('that were too many neither open the circuit nor are tried again', async () => {
    const { told, observer } = recorder()
    const way = outward({ maxConcurrent: 1, maxQueued: 0 }, { told, observer })
    const calls = held()
    const first = way.run(calls.work)

    for (let at = 0; at < 10; at += 1) await way.run(good).catch(() => undefined)

    expect(way.isOpen).toBe(false)
    expect(told).toEqual(Array(10).fill('okta.introspection rejected 0'))
    calls.endAll()
    await first
  })
})

test('each target stands apart: one’s open circuit and full queue are not another’s', async () => {
  const [down, up] = [outward({ attempts: 1 }), outward({ attempts: 1 })]

  await fail(down, 3)

  expect(await outcomeOf(up.run(good))).toBe('answer')
  expect([down.isOpen, up.isOpen]).toEqual([true, false])
})

describe('the observer is told', () => {
  test('of each call once, by its end, and of each further attempt', async () => {
    const { told, observer } = recorder()
    const way = outward({ breakAfter: 4, backoffMs: 1, maxBackoffMs: 1 }, { told, observer })

    await outcomeOf(way.run(good))
    await outcomeOf(way.run(final))
    await outcomeOf(way.run(passing))
    await outcomeOf(way.run(passing))
    await outcomeOf(way.run(good))

    expect(told.map((line) => line.replace(/ \d+$/, ''))).toEqual([
      'okta.introspection ok',
      'okta.introspection failed',
      'okta.introspection retried',
      'okta.introspection failed',
      'okta.introspection retried',
      'okta.introspection failed',
      'okta.introspection rejected',
    ])
  })

  test('how long the whole call took, attempts and the wait between them', async () => {
    const { told, observer } = recorder()
    const way = outward({ attempts: 1 }, { told, observer })

    await outcomeOf(way.run(never))

    expect(told).toEqual(['okta.introspection failed 2000'])
  })
})
