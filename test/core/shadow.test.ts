import { describe, expect, test } from '@jest/globals'
import { createCircuits } from '../../src/circuit/circuits.ts'
import { type Circuits, unguarded } from '../../src/core/circuits.ts'
import { type DenialReason, deny } from '../../src/core/denials.ts'
import type { Happening } from '../../src/core/events.ts'
import { type Authenticate, createGateway } from '../../src/core/gateway.ts'
import { anonymous, type Caller } from '../../src/core/identity.ts'
import { createQuota, type Quota } from '../../src/core/quota.ts'
import { createRoutes, type RouteSpec } from '../../src/core/routes.ts'
import { isShadowed, type ShadowPart } from '../../src/core/shadow.ts'
import { MemoryLimiter } from '../../src/ratelimit/memory.ts'
import { specWith } from '../support/circuit-specs.ts'
import { noCircuits } from '../support/circuits.ts'
import { alice } from '../support/decisions.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { createLogLines } from '../support/log-lines.ts'
import { outcomeWith } from '../support/outcomes.ts'
import { requestWith } from '../support/requests.ts'

const ignore = () => undefined

interface SetUp {
  shadow?: readonly ShadowPart[]
  authenticate?: Authenticate
  scopes?: readonly string[]
  circuits?: Circuits
  quota?: Pick<Quota, 'take'>
  limits?: RouteSpec['limits']
  tellsShadow?: boolean
  allowPreflight?: boolean
}

function setUp(asked: SetUp) {
  const {
    shadow = [],
    authenticate = () => anonymous,
    scopes = [],
    limits,
    allowPreflight = false,
    ...more
  } = asked
  const told: Happening[] = []
  const faults: unknown[] = []
  const publish = (happening: Happening) => told.push(happening)
  const spec: RouteSpec = {
    name: 'orders',
    service: 'order-service',
    auth: 'required',
    scopes,
    shadow,
    circuit: specWith(),
    allowPreflight,
    ...(limits && { limits }),
  }
  const quota = createQuota({ limiter: new MemoryLimiter(), hash: (text) => text, publish, events: 'all' })
  const gateway = createGateway({
    routes: createRoutes({ defaults: spec, routes: [{ match: {}, spec }] }),
    authenticate,
    credentialHeaders: [],
    circuits: noCircuits,
    quota,
    publish,
    onOutcome: ignore,
    onShadowFault: (error) => faults.push(error),
    tellsShadow: false,
    randomId: () => 'id',
    now: () => Date.UTC(2030, 0, 1),
    ...more,
  })
  return { ...gateway, told, faults }
}

const missing = deny('missing_token', 'This route asks for a bearer token.')
const lone = [
  {
    name: 'lone',
    owner: 'defaults',
    rate: { limit: 1, windowMs: 60_000 },
    algorithm: 'gcra' as const,
    by: [{ kind: 'route' as const }],
    cost: 1,
  },
]

describe('authentication in shadow mode', () => {
  const shadow = ['auth'] as const

  test('lets pass as nobody whom it would refuse, and tells so', async () => {
    const { decide, told } = setUp({ shadow, authenticate: () => missing })

    const decision = await decide(requestWith({ 'x-user-id': 'admin' }))

    expect(decision).toMatchObject({
      kind: 'allow',
      caller: anonymous,
      shadow: [{ part: 'auth', reason: 'missing_token' }],
      upstreamHeaders: { set: [], remove: expect.arrayContaining(['x-user-id']) },
    })
    expect(told).toMatchObject([{ type: 'auth.failed', data: { reason: 'missing_token', shadow: true } }])
  })

  test('lets pass as who they are callers that lack a scope', async () => {
    const { decide } = setUp({ shadow, authenticate: () => alice, scopes: ['write:orders'] })

    expect(await decide(requestWith())).toMatchObject({
      kind: 'allow',
      caller: { userId: 'alice' },
      shadow: [{ part: 'auth', reason: 'insufficient_scope' }],
    })
  })

  test('tells of one refusal once: nobody without a token lacks a scope as well', async () => {
    const { decide, told } = setUp({ shadow, authenticate: () => missing, scopes: ['write:orders'] })

    expect(await decide(requestWith())).toMatchObject({ shadow: [{ reason: 'missing_token' }] })
    expect(told).toHaveLength(1)
  })

  test('lets pass as nobody where the issuer cannot tell, and the fault is heard', async () => {
    const down = new Error('Cannot fetch the keys')
    const { decide, faults } = setUp({ shadow, authenticate: () => Promise.reject(down), scopes: ['a'] })

    expect(await decide(requestWith())).toMatchObject({
      kind: 'allow',
      caller: anonymous,
      shadow: [{ part: 'auth', reason: 'fault' }],
    })
    expect(faults).toEqual([down])
  })

  test.each<[DenialReason, string | undefined, boolean]>([
    ['missing_token', undefined, true],
    ['unsupported_scheme', 'unsupported_scheme', true],
    ['invalid_token', 'expired', true],
    ['invalid_token', 'not_yet_valid', true],
    ['invalid_token', 'wrong_audience', true],
    ['invalid_token', 'unknown_issuer', true],
    ['invalid_token', 'unknown_key', true],
    ['invalid_token', 'inactive', true],
    ['invalid_api_key', 'unknown_key', true],
    ['invalid_api_key', 'expired', true],
    ['insufficient_scope', undefined, true],
    ['insufficient_claims', undefined, true],
    ['invalid_token', 'bad_signature', false],
    ['invalid_token', 'unsupported_algorithm', false],
    ['invalid_token', 'malformed', false],
    ['invalid_request', 'repeated_authorization', false],
    ['invalid_request', 'malformed_authorization', false],
    ['invalid_request', 'repeated_certificate', false],
    ['invalid_api_key', 'wrong_secret', false],
    ['invalid_api_key', 'repeated_key', false],
  ])('of %s (%s): only reported %p', (reason, cause, isOnlyReported) => {
    const denial = deny(reason, 'No.', cause === undefined ? {} : { cause })

    expect(isShadowed('auth', { shadow }, denial)).toBe(isOnlyReported)
    expect(isShadowed('auth', { shadow: ['rate_limit'] }, denial)).toBe(false)
  })

  test('refuses a forgery, and tells of it as of any', async () => {
    const forged = deny('invalid_token', 'No.', { cause: 'bad_signature' })
    const { decide, told } = setUp({ shadow, authenticate: () => forged })

    expect(await decide(requestWith())).toMatchObject({ kind: 'deny', denial: forged })
    expect(told[0]?.data).not.toHaveProperty('shadow')
  })
})

describe('limits in shadow mode', () => {
  const shadow = ['rate_limit'] as const

  test('count, tell and let pass, and clients see none of their headers', async () => {
    const { decide, told } = setUp({ shadow, authenticate: () => alice, limits: lone })

    const first = await decide(requestWith())
    const second = await decide(requestWith())

    expect(first).toMatchObject({ kind: 'allow', shadow: [], clientHeaders: [] })
    expect(second).toMatchObject({
      kind: 'allow',
      shadow: [{ part: 'rate_limit', reason: 'rate_limited' }],
      clientHeaders: [],
    })
    expect(told).toMatchObject([{ type: 'rate_limit.exceeded', data: { name: 'lone', shadow: true } }])
  })

  test('count an unverified caller by their address, with auth in shadow mode too', async () => {
    const taken: Caller[] = []
    const quota: Pick<Quota, 'take'> = {
      take({ caller }) {
        taken.push(caller)
        return { kind: 'granted', headers: [] }
      },
    }
    const { decide } = setUp({ shadow: ['auth', 'rate_limit'], authenticate: () => missing, quota })

    await decide(requestWith())

    expect(taken).toEqual([anonymous])
  })

  test('let pass where the counter cannot tell', async () => {
    const quota: Pick<Quota, 'take'> = { take: () => Promise.reject(new Error('Cannot reach the counter')) }
    const { decide, faults } = setUp({ shadow, authenticate: () => alice, quota })

    expect(await decide(requestWith())).toMatchObject({ shadow: [{ part: 'rate_limit', reason: 'fault' }] })
    expect(faults).toHaveLength(1)
  })
})

describe('a part that is not in shadow mode', () => {
  test('refuses, whatever else only reports', async () => {
    const { decide, told } = setUp({ shadow: ['rate_limit', 'circuit'], authenticate: () => missing })

    expect(await decide(requestWith())).toMatchObject({ kind: 'deny', denial: { reason: 'missing_token' } })
    expect(told[0]?.data).not.toHaveProperty('shadow')
  })

  test('throws its fault', async () => {
    const { decide, faults } = setUp({
      shadow: ['rate_limit'],
      authenticate: () => Promise.reject(new Error('Cannot fetch the keys')),
    })

    await expect(decide(requestWith())).rejects.toThrow('Cannot fetch the keys')
    expect(faults).toEqual([])
  })
})

describe('a circuit', () => {
  function open(): Circuits {
    const circuits = createCircuits({
      clock: new FakeClock(),
      publish: ignore,
      logger: createLogLines().logger,
      random: () => 0,
      replica: 'gatepost-1',
    })
    circuits.declare(new Map([['order-service', specWith()]]))
    circuits.override('order-service', { override: 'open', reason: 'a test', forMs: 60_000 })
    return circuits
  }

  test('that is open refuses before the quota is asked', async () => {
    const taken: unknown[] = []
    const quota: Pick<Quota, 'take'> = {
      take(asked) {
        taken.push(asked)
        return { kind: 'granted', headers: [] }
      },
    }
    const { decide } = setUp({ authenticate: () => alice, circuits: open(), quota })

    expect(await decide(requestWith())).toMatchObject({ kind: 'deny', denial: { reason: 'circuit_open' } })
    expect(taken).toEqual([])
  })

  test('in shadow mode reports, and its outcome will count', async () => {
    const { decide } = setUp({ shadow: ['circuit'], authenticate: () => alice, circuits: open() })

    expect(await decide(requestWith())).toMatchObject({
      kind: 'allow',
      shadow: [{ part: 'circuit', reason: 'circuit_open' }],
      admission: { generation: 1, probe: false },
    })
  })

  test('is not asked of a preflight, whose end tells it nothing', async () => {
    const preflight = { origin: 'https://app.example.com', 'access-control-request-method': 'GET' }
    const { decide } = setUp({ authenticate: () => alice, circuits: open(), allowPreflight: true })

    expect(await decide(requestWith(preflight, { method: 'OPTIONS' }))).toMatchObject({
      kind: 'allow',
      admission: unguarded,
    })
  })

  test('learns of an end when it is told, however long ago the request was', () => {
    const learnt: number[] = []
    const circuits: Circuits = { ...noCircuits, record: (_outcome, nowMs) => learnt.push(nowMs) }

    setUp({ circuits }).observe(outcomeWith({ startedAtMs: Date.UTC(2029, 11, 31) }))

    expect(learnt).toEqual([Date.UTC(2030, 0, 1)])
  })

  test('loses no probe to a request that its quota stops', async () => {
    const calls: string[] = []
    const circuits: Circuits = {
      ...noCircuits,
      peek: () => ({ generation: 2, probe: true }),
      admit() {
        calls.push('admit')
        return { generation: 2, probe: true }
      },
    }
    const { decide } = setUp({ authenticate: () => alice, circuits, limits: lone })

    await decide(requestWith())
    await decide(requestWith())

    expect(calls).toEqual(['admit'])
  })

  test('refuses where somebody took the probe’s turn meanwhile', async () => {
    const denial = deny('circuit_open', 'Not now.')
    const circuits: Circuits = {
      ...noCircuits,
      peek: () => ({ generation: 2, probe: true }),
      admit: () => ({ generation: 2, probe: false, denial }),
    }

    expect(await setUp({ authenticate: () => alice, circuits }).decide(requestWith())).toMatchObject({
      denial,
    })
  })
})

describe('the header', () => {
  test('tells the client what would have refused the request, where it is asked for', async () => {
    const parts = { shadow: ['auth', 'rate_limit'] as const, authenticate: () => missing, limits: lone }
    const { decide } = setUp({ ...parts, tellsShadow: true })

    await decide(requestWith())

    expect(await decide(requestWith())).toMatchObject({
      clientHeaders: [['x-gatepost-shadow', 'auth=missing_token, rate_limit=rate_limited']],
    })
    expect(await setUp(parts).decide(requestWith())).toMatchObject({ clientHeaders: [] })
  })
})
