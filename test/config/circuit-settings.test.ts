import { describe, expect, test } from '@jest/globals'
import { circuitText } from '../../src/config/circuit-settings.ts'
import { readSettings, type Settings } from '../../src/config/settings.ts'

const environment = { GATEPOST_AUTH: 'none' }

function read(env: Record<string, string>): Settings | readonly string[] {
  const result = readSettings({ ...environment, ...env })
  return result.kind === 'settings' ? result.settings : result.problems
}

function circuitsOf(policy: object, env: Record<string, string> = {}) {
  const settings = read({ ...env, GATEPOST_POLICY: JSON.stringify(policy) })
  if (Array.isArray(settings)) throw new Error(settings.join('\n'))
  const { routes } = (settings as Settings).policy.first.routes
  return Object.fromEntries(routes.map(({ spec }) => [spec.name, spec.circuit]))
}

const standard = {
  failures: 5,
  windowMs: 30_000,
  minRequests: 20,
  slowRate: 0.8,
  openMs: 60_000,
  maxOpenMs: 600_000,
  probes: 3,
  probeIntervalMs: 1_000,
  failureOn: { statuses: [], grpcStatuses: [] },
}

describe('the environment’s circuit', () => {
  test('is none by default', () => {
    expect((read({}) as Settings).policy.first.routes.defaults).not.toHaveProperty('circuit')
  })

  test('has a default for whatever is left out', () => {
    expect(circuitText('failures=7')).toEqual({ ...standard, failures: 7 })
  })

  test('may say everything', () => {
    const text =
      'failures=5,window=1m,failure_rate=0.5,min_requests=10,slow=2s,slow_rate=.9,open=10s,max_open=5m,probes=1,probe_interval=250ms,failure_on=500+52x+INTERNAL'

    expect(() => circuitText(text)).toThrow('HTTP statuses such as 500 or 5xx')
    expect(circuitText(text.replace('52x', '5xx'))).toEqual({
      failures: 5,
      windowMs: 60_000,
      failureRate: 0.5,
      minRequests: 10,
      slowMs: 2_000,
      slowRate: 0.9,
      openMs: 10_000,
      maxOpenMs: 300_000,
      probes: 1,
      probeIntervalMs: 250,
      failureOn: {
        statuses: [
          [500, 500],
          [500, 599],
        ],
        grpcStatuses: [13],
      },
    })
  })

  test('stays open for an hour at the most where that is longer than the usual cap', () => {
    expect(circuitText('open=1h')).toMatchObject({ openMs: 3_600_000, maxOpenMs: 3_600_000 })
  })

  test.each([
    ['', '"" is none of failures'],
    ['failure=5', '"failure=5" is none of failures'],
    ['failures', '"failures" is none of failures'],
    ['failures=5;open=3s', 'failures: "5;open=3s" does not do'],
    ['failures=5,failures=6', 'failures is there twice'],
    ['failures=-1', 'failures: "-1" does not do, it must be a whole number from 0 to 1000'],
    ['failures=0', 'failures: with 0 nothing would ever open it'],
    ['failure_rate=1.1', 'failure_rate: "1.1" does not do, it must be a share above 0 and at most 1'],
    ['failure_rate=0', 'a share above 0'],
    ['failure_rate=50%', 'a share above 0'],
    ['slow_rate=0.5', 'slow_rate: it means nothing without slow'],
    ['open=10m,max_open=1m', 'max_open: it must not be shorter than open'],
    ['open=50ms', 'open: "50ms" does not do, it must be a duration from 100ms to 1h'],
    ['window=5', 'window: "5" does not do, it must be a duration'],
    ['failure_on=teapot', 'failure_on: "teapot" does not do'],
    ['failure_on=OK', 'failure_on: "OK" does not do'],
  ])('%j is refused with what is wrong', (text, problem) => {
    expect(() => circuitText(text)).toThrow(problem)
  })

  test('is refused by the name of its variable', () => {
    expect(read({ GATEPOST_CIRCUIT: 'failures=x' })).toEqual([
      expect.stringMatching(/^GATEPOST_CIRCUIT: .*failures/),
    ])
  })
})

describe('the policy’s circuit', () => {
  const routes = [
    { name: 'plain', service: 'a' },
    { name: 'own', service: 'b', circuit: { failures: 2 } },
    { name: 'off', service: 'c', circuit: 'none' },
  ]

  test('replaces what is weaker, setting by setting; none replaces all of it', () => {
    expect(
      circuitsOf({ defaults: { circuit: { open: '10s' } }, routes }, { GATEPOST_CIRCUIT: 'probes=9' }),
    ).toEqual({
      plain: { ...standard, probes: 9, openMs: 10_000 },
      own: { ...standard, probes: 9, openMs: 10_000, failures: 2 },
      off: undefined,
    })
  })

  test('may be the first', () => {
    expect(circuitsOf({ routes })).toEqual({
      plain: undefined,
      own: { ...standard, failures: 2 },
      off: undefined,
    })
  })

  test.each([
    [{ failures: 1.5 }, 'routes.0.circuit'],
    [{ opens: '3s' }, 'opens'],
    [{ open: 3 }, 'routes.0.circuit'],
    [{ open: '3' }, 'open: "3" does not do'],
    [{ failure_on: ['5xx', 'nope'] }, 'failure_on: "5xx+nope" does not do'],
    [{ slow_rate: 0.5 }, 'slow_rate: it means nothing without slow'],
    ['always', 'routes.0.circuit'],
  ])('%j is refused with its place', (circuit, problem) => {
    const policy = JSON.stringify({ routes: [{ name: 'a', service: 'a', circuit }] })

    expect((read({ GATEPOST_POLICY: policy }) as string[]).join('\n')).toContain(problem)
  })

  test('must be the same on every route of a service, or none', () => {
    const route = (name: string, circuit: unknown) => ({ name, service: 'users', circuit })
    const policy = (circuits: unknown[]) =>
      JSON.stringify({ routes: circuits.map((circuit, at) => route(`r${at}`, circuit)) })

    expect(read({ GATEPOST_POLICY: policy([{ failures: 2 }, 'none', { failures: 2 }]) })).not.toBeInstanceOf(
      Array,
    )
    expect(read({ GATEPOST_POLICY: policy([{ failures: 2 }, { failures: 3 }]) })).toEqual([
      expect.stringContaining('the routes "r0" and "r1" lead to the service "users", which has one circuit'),
    ])
  })
})

describe('shadow', () => {
  test('is a list of parts; a stronger one replaces it, an empty one clears it', () => {
    const policy = {
      defaults: { shadow: ['auth', 'circuit'] },
      routes: [
        { name: 'inherits' },
        { name: 'own', shadow: ['rate_limit'] },
        { name: 'enforced', shadow: [] },
      ],
    }
    const settings = read({ GATEPOST_SHADOW: 'auth', GATEPOST_POLICY: JSON.stringify(policy) }) as Settings

    expect(settings.policy.first.routes.routes.map(({ spec }) => spec.shadow)).toEqual([
      ['auth', 'circuit'],
      ['rate_limit'],
      [],
    ])
  })

  test('is empty by default', () => {
    expect((read({}) as Settings).policy.first.routes.defaults.shadow).toEqual([])
  })

  test.each(['everything', 'auth;circuit', 'ratelimit'])('%j is none', (text) => {
    expect(read({ GATEPOST_SHADOW: text })).toEqual([
      expect.stringContaining('it must be some of auth, rate_limit, circuit, by commas'),
    ])
  })
})
