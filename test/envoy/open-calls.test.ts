import { expect, test } from '@jest/globals'
import { isUnderWay, OpenCalls } from '../../src/envoy/open-calls.ts'

/** Calls, and the names of those that were ended, in order. */
function begin(...names: readonly string[]) {
  const calls = new OpenCalls()
  const ended: string[] = []
  return { calls, ended, begun: names.map((name) => calls.begin(() => ended.push(name))) }
}

test('ends those that are under way, each once', () => {
  const { calls, ended, begun } = begin('a', 'b', 'c', 'd')
  const [, b] = begun

  expect(b && calls.finish(b)).toBe(true)
  calls.endAll()
  calls.endAll()

  expect(ended.toSorted()).toEqual(['a', 'c', 'd'])
})

test('a call is finished once, in whatever order they finish', () => {
  const { calls, ended, begun } = begin('a', 'b', 'c', 'd')
  const [a, b, c, d] = begun

  const finished = [c, a, d, b, a, d].map((call) => call && calls.finish(call))

  expect(finished).toEqual([true, true, true, true, false, false])
  calls.endAll()
  expect(ended).toEqual([])
})

test('a call is under way until it is finished, or ended with the others', () => {
  const { calls, begun } = begin('a', 'b')
  const [a, b] = begun
  if (!a || !b) throw new Error('no calls')
  expect([a, b].map(isUnderWay)).toEqual([true, true])

  calls.finish(a)
  expect([a, b].map(isUnderWay)).toEqual([false, true])

  calls.endAll()
  expect([a, b].map(isUnderWay)).toEqual([false, false])
  expect(calls.finish(b)).toBe(false)
})

test('one that begins while the others are ended stays', () => {
  const calls = new OpenCalls()
  const ended: string[] = []
  calls.begin(() => {
    ended.push('first')
    calls.begin(() => ended.push('second'))
  })

  calls.endAll()
  expect(ended).toEqual(['first'])

  calls.endAll()
  expect(ended).toEqual(['first', 'second'])
})
