import { describe, expect, test } from '@jest/globals'
import { readSettings } from '../src/config/settings.ts'
import { describeProtection, describeRunningCircuits } from '../src/probes-circuits.ts'

function told(policy: object, env: Record<string, string> = {}): string[] {
  const read = readSettings({ GATEPOST_AUTH: 'none', GATEPOST_POLICY: JSON.stringify(policy), ...env })
  if (read.kind === 'problems') throw new Error(read.problems.join('\n'))
  return describeProtection(read.settings)
}

describe('what is configured', () => {
  test('is not spoken of where there is nothing to say', () => {
    expect(told({})).toEqual([])
    expect(told({ routes: [{ name: 'a', service: 's', circuit: {} }] })).toEqual([])
  })

  test('is warned of where a circuit has no service', () => {
    const routes = Array.from({ length: 7 }, (_, at) => ({ name: `r${at}` }))

    expect(told({ routes }, { GATEPOST_CIRCUIT: 'failures=5' })).toEqual([
      "warning: no service, and so no circuit unless Envoy's route names one: r0, r1, r2, r3, r4, and 2 more",
    ])
  })

  test('is warned of where there is no route that could name one', () => {
    expect(told({}, { GATEPOST_CIRCUIT: 'failures=5' })).toEqual([
      "warning: no service, and so no circuit unless Envoy's route names one: unmatched",
    ])
  })

  test('is warned of where nobody observes', () => {
    const policy = { routes: [{ name: 'a', service: 's', circuit: {} }] }

    expect(told(policy, { GATEPOST_OBSERVER: 'none' })).toEqual([
      expect.stringMatching(/nothing will ever open them$/),
    ])
  })

  test('is said where something only reports', () => {
    const policy = {
      routes: [
        { name: 'a', shadow: ['auth', 'circuit'] },
        { name: 'b', shadow: ['auth'] },
      ],
    }

    expect(told(policy)).toEqual(['shadow mode, nothing is refused by auth on a, b; circuit on a'])
  })
})

test('what runs is told where a circuit is not simply closed', () => {
  const circuits = {
    fine: { state: 'closed' },
    users: { state: 'open' },
    orders: { state: 'closed', unobserved: true },
  }

  expect(describeRunningCircuits(circuits)).toEqual([
    'circuit users: open',
    'warning: circuit orders: requests pass, and nobody tells how they end',
  ])
})
