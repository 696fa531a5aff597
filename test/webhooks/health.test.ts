import { expect, test } from '@jest/globals'
import { goodHealth, type Health, judge, type Verdict } from '../../src/webhooks/health.ts'

const hour = 3_600_000

/** What is said of an endpoint that fails at each of these hours. */
function verdicts(hours: readonly number[], from: Health = goodHealth): Verdict[] {
  let health = from
  return hours.map((at) => {
    const judged = judge(health, false, at * hour)
    health = judged.health
    return judged.verdict
  })
}

const everyHour = (until: number) => Array.from({ length: until + 1 }, (_, at) => at)

test('a day of nothing but failures is worth a warning, three days another, five the end', () => {
  const found = verdicts(everyHour(120))

  const told = found.map((verdict, at) => [at, verdict]).filter(([, verdict]) => verdict !== 'nothing')
  expect(told).toEqual([
    [24, 'warn'],
    [72, 'warn'],
    [120, 'disable'],
  ])
})

test('a few failures are no reason to disable, however long ago the first was', () => {
  const days = Array.from({ length: 20 }, (_, at) => at * 24)

  expect(verdicts(days).slice(0, 19)).not.toContain('disable')
  expect(verdicts(days).at(-1)).toBe('disable')
})

test('one warning is given where both are due at once', () => {
  expect(verdicts([0, 80, 81])).toEqual(['nothing', 'warn', 'nothing'])
})

test('a success is a new beginning', () => {
  const { health } = judge({ failingSinceMs: 0, failures: 500, warnings: 2 }, true, 200 * hour)

  expect(health).toEqual(goodHealth)
  expect(verdicts([200, 223], health)).toEqual(['nothing', 'nothing'])
})
