import { expect, test } from '@jest/globals'
import { createBacklog } from '../../src/core/backlog.ts'

/** A backlog whose turns a test gives by hand. */
function openBacklog(atOnce: number, alsoDo: (items: readonly number[]) => void = () => undefined) {
  const deferred: (() => void)[] = []
  const done: number[][] = []
  const backlog = createBacklog<number>({
    atOnce,
    defer: (task) => deferred.push(task),
    work(items) {
      done.push([...items])
      alsoDo(items)
    },
  })
  return {
    backlog,
    deferred,
    done,
    giveTurn: () => {
      for (const task of deferred.splice(0)) task()
    },
  }
}

const numbers = (count: number) => Array.from({ length: count }, (_, at) => at)

test('nothing is done at once, and one turn is asked for, however much comes', () => {
  const { backlog, deferred, done } = openBacklog(8)

  for (const one of numbers(3)) backlog.push(one)

  expect(done).toEqual([])
  expect(deferred).toHaveLength(1)
  expect(backlog.length).toBe(3)
})

test('a few are done in each turn, in order, until none waits; then no turn is asked for', () => {
  const { backlog, deferred, done, giveTurn } = openBacklog(4)

  for (const one of numbers(10)) backlog.push(one)
  while (deferred.length > 0) giveTurn()

  expect(done).toEqual([
    [0, 1, 2, 3],
    [4, 5, 6, 7],
    [8, 9],
  ])
  expect(backlog.length).toBe(0)
})

test('of many that wait a quarter is done in a turn, so that as many a turn as may come do not pile up', () => {
  const { backlog, giveTurn } = openBacklog(4)
  let most = 0

  for (let turn = 0; turn < 100; turn++) {
    for (const one of numbers(1_000)) backlog.push(one)
    giveTurn()
    most = Math.max(most, backlog.length)
  }

  expect(most).toBeLessThanOrEqual(3_000)
})

test('what comes while some is done waits for the next turn', () => {
  const { backlog, done, giveTurn } = openBacklog(4, (items) => {
    if (items.includes(1)) backlog.push(2)
  })

  backlog.push(1)
  giveTurn()
  const after = [...done]
  giveTurn()

  expect(after).toEqual([[1]])
  expect(done).toEqual([[1], [2]])
})

test('at the end all that waits is done at once, and the turn that was asked for finds nothing', () => {
  const { backlog, done, giveTurn, deferred } = openBacklog(4)

  for (const one of numbers(10)) backlog.push(one)
  backlog.flush()
  giveTurn()
  backlog.flush()

  expect(done).toEqual([numbers(10)])
  expect(deferred).toHaveLength(0)
})

test('after a flush there are turns again', () => {
  const { backlog, done, giveTurn } = openBacklog(4)

  backlog.push(1)
  backlog.flush()
  backlog.push(2)
  giveTurn()
  backlog.push(3)
  giveTurn()

  expect(done).toEqual([[1], [2], [3]])
})
