import { describe, expect, test } from '@jest/globals'
import type { EventType, Happening, RequestCompleted } from '../../src/core/events.ts'
import { requestCompleted } from '../../src/core/outcome.ts'
import { eventTypes, examples } from '../../src/events/catalogue.ts'
import { createChoice } from '../../src/events/choice.ts'
import { outcomeWith } from '../support/outcomes.ts'

function happening<T extends EventType>(type: T, more: object = {}): Happening {
  return { type, atMs: 0, requestId: '', data: { ...examples[type], ...more } }
}

function completed(more: Partial<RequestCompleted> = {}): Happening {
  const data = { ...requestCompleted(outcomeWith()), status_code: 200, decision: 'allow' as const, ...more }
  return { type: 'request.completed', atMs: 0, requestId: '', data }
}

/** A choice whose random numbers come in turn from a list, and what it left out. */
function choiceOf(
  sample: number,
  { types = eventTypes, draws = [0] }: { types?: EventType[]; draws?: number[] } = {},
) {
  const leftOut: string[] = []
  let drawn = 0
  const choose = createChoice({
    types,
    sample,
    random: () => {
      drawn += 1
      return draws[(drawn - 1) % draws.length] as number
    },
    onLeftOut: (type, why) => leftOut.push(`${type} ${why}`),
  })
  return { choose, leftOut, drawn: () => drawn }
}

test('where all is told, nothing is left out and no number is drawn', () => {
  const { choose, leftOut, drawn } = choiceOf(1)

  const chosen = eventTypes.map((type) => choose(happening(type)))

  expect(chosen).toEqual(eventTypes.map(() => true))
  expect([leftOut, drawn()]).toEqual([[], 0])
})

test('a type that nobody wants is left out and counted as such', () => {
  const { choose, leftOut } = choiceOf(1, { types: ['rate_limit.exceeded'] })

  const chosen = eventTypes.filter((type) => choose(happening(type)))

  expect(chosen).toEqual(['rate_limit.exceeded'])
  expect(leftOut).toEqual(
    eventTypes.filter((type) => type !== 'rate_limit.exceeded').map((type) => `${type} type`),
  )
})

describe('the sample', () => {
  test('keeps what is drawn below the ratio and leaves out the rest', () => {
    const { choose, leftOut } = choiceOf(0.25, { draws: [0, 0.2499, 0.25, 0.9999] })

    const chosen = Array.from({ length: 4 }, () => choose(completed()))

    expect(chosen).toEqual([true, true, false, false])
    expect(leftOut).toEqual(['request.completed sample', 'request.completed sample'])
  })

  test('of nothing keeps no ordinary request', () => {
    expect(choiceOf(0, { draws: [0] }).choose(completed())).toBe(false)
  })

  test.each<[string, Partial<RequestCompleted>]>([
    ['status 500', { status_code: 500 }],
    ['status 503', { status_code: 503 }],
    ['a denial', { status_code: 403, decision: 'deny' }],
    ['a fault that passed', { decision: 'fault' }],
    ['what shadow mode let pass', { shadow: ['rate_limited'] }],
  ])('always keeps %s, and draws nothing for it', (_what, more) => {
    const { choose, drawn } = choiceOf(0)

    expect([choose(completed(more)), drawn()]).toEqual([true, 0])
  })

  test.each<[string, Partial<RequestCompleted>]>([
    ['status 404', { status_code: 404 }],
    ['status 499', { status_code: 499 }],
    ['no answer', { status_code: 0 }],
    ['what nobody decided on', { decision: 'none' }],
  ])('may leave out %s', (_what, more) => {
    expect(choiceOf(0).choose(completed(more))).toBe(false)
  })

  test('leaves every other type as it is', () => {
    const others = eventTypes.filter((type) => type !== 'request.completed')

    expect(others.filter((type) => choiceOf(0).choose(happening(type)))).toEqual(others)
  })
})
