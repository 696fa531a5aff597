import { describe, expect, test } from '@jest/globals'
import { Callers } from './callers.ts'

/** A caller whose answer is what `say` holds; with `hold` each request waits to be let go. */
function puppet(name: string, first: string) {
  const self = {
    name,
    say: first,
    held: undefined as PromiseWithResolvers<void> | undefined,
    async ask() {
      const { held } = self
      await held?.promise
      return self.say
    },
  }
  return self
}

describe('Callers', () => {
  test('counts every answer of every caller, by phase', async () => {
    const [ada, bob] = [puppet('ada', 'yes'), puppet('bob', 'no')]
    await using callers = new Callers([ada, bob], 'first')
    await callers.until((name) => callers.count(name, 'first') >= 2)

    ada.say = 'maybe'
    await callers.enter('second')
    await callers.until((name) => callers.count(name, 'second') >= 2)

    expect(callers.answers('bob', 'first')).toEqual(['no'])
    expect(callers.answers('ada', 'second')).toEqual(['maybe'])
    expect(callers.table(['first', 'second'])).toMatch(
      /^\| caller \| first \| second \|\n\|.*\n\| ada \| yes × \d+.* \| maybe × \d+ \|\n\| bob \| no × \d+ \| no × \d+ \|$/,
    )
  })

  test('counts an answer in the phase in which it was asked for, and waits for it', async () => {
    const ada = puppet('ada', 'late')
    ada.held = Promise.withResolvers()
    await using callers = new Callers([ada], 'first')

    const entered = callers.enter('second')
    const { held } = ada
    ada.held = undefined
    held.resolve()
    await entered

    expect(callers.answers('ada', 'first')).toEqual(['late'])
  })

  test('a request that fails is an answer too', async () => {
    const broken = { name: 'ada', ask: () => Promise.reject(new Error('no route')) }
    await using callers = new Callers([broken], 'first')

    await callers.until(() => callers.last('ada') !== undefined)

    expect(callers.answers('ada', 'first')).toEqual(['error: no route'])
  })

  test('says for whom a condition does not hold, and what they saw', async () => {
    await using callers = new Callers([puppet('ada', 'yes'), puppet('bob', 'no')], 'first')
    await callers.until((name) => callers.last(name) !== undefined)

    const waiting = callers.until((name) => callers.last(name) === 'yes', 1)

    await expect(waiting).rejects.toThrow(/not so within 1 ms in phase "first" for\nbob: no × \d+$/)
  })
})
