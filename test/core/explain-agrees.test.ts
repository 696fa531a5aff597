import { expect, jest, test } from '@jest/globals'
import fc from 'fast-check'
import { createCircuits } from '../../src/circuit/circuits.ts'
import type { CircuitSpec } from '../../src/core/circuits.ts'
import { type Decision, decisionReason, decisionStatus } from '../../src/core/decision.ts'
import { deny } from '../../src/core/denials.ts'
import { explain } from '../../src/core/explain.ts'
import type { Explanation } from '../../src/core/explanation.ts'
import { type Authenticate, createGateway } from '../../src/core/gateway.ts'
import { anonymous } from '../../src/core/identity.ts'
import type { LimitSpec } from '../../src/core/limits.ts'
import { createQuota } from '../../src/core/quota.ts'
import type { RequestContext } from '../../src/core/request.ts'
import { createRoutes, type PolicyRoute, type RouteSpec } from '../../src/core/routes.ts'
import { type ShadowPart, shadowParts } from '../../src/core/shadow.ts'
import { MemoryLimiter } from '../../src/ratelimit/memory.ts'
import { specWith } from '../support/circuit-specs.ts'
import { alice } from '../support/decisions.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { createLogLines } from '../support/log-lines.ts'
import { outcomeWith } from '../support/outcomes.ts'
import { requestWith } from '../support/requests.ts'

// Hundreds of histories, on machines that may be busy.
jest.setTimeout(60_000)

const ignore = () => undefined

/** What authenticating comes to, by the word that a request carries in a header. */
const callers: Readonly<Record<string, () => ReturnType<Authenticate>>> = {
  nobody: () => anonymous,
  alice: () => alice,
  missing: () => deny('missing_token', 'No.'),
  expired: () => deny('invalid_token', 'No.', { cause: 'expired' }),
  forged: () => deny('invalid_token', 'No.', { cause: 'bad_signature' }),
  repeated: () => deny('invalid_request', 'No.', { cause: 'repeated_authorization' }),
  unknown: () => {
    throw new Error('Cannot fetch the keys')
  },
}

const limits: fc.Arbitrary<readonly LimitSpec[]> = fc
  .array(fc.record({ limit: fc.integer({ min: 1, max: 3 }), by: fc.constantFrom('client', 'route') }), {
    maxLength: 2,
  })
  .map((rates) =>
    rates.map(({ limit, by }, at) => ({
      name: `limit-${at}`,
      owner: 'defaults',
      rate: { limit, windowMs: 60_000 },
      algorithm: 'gcra',
      by: [{ kind: by as 'client' | 'route' }],
      cost: 1,
    })),
  )

const circuit: CircuitSpec = specWith({ failures: 1 })

const spec: fc.Arbitrary<Omit<RouteSpec, 'name'>> = fc
  .record({
    service: fc.constantFrom(undefined, 'orders', 'orders', 'orders', 'users'),
    auth: fc.constantFrom('required', 'optional', 'none'),
    scopes: fc.constantFrom([], [], ['read:orders'], ['write:orders']),
    claims: fc.constantFrom(undefined, undefined, [{ claim: 'tier', values: ['gold'] }]),
    limits,
    circuit: fc.constantFrom(undefined, circuit, circuit),
    shadow: fc.subarray<ShadowPart>([...shadowParts]),
    allowPreflight: fc.boolean(),
  })
  .map(({ service, claims, circuit: guard, ...rest }) => ({
    ...rest,
    ...(service !== undefined && { service }),
    ...(claims && { claims }),
    ...(guard && { circuit: guard }),
    claimHeaders: [{ header: 'x-tier', claim: 'tier' }],
  }))

const paths = ['/a', '/a', '/a', '/a', '/b', '/b', '/elsewhere', '/a%2Fb']

const policy = fc.record({ defaults: spec, a: spec, b: spec }).map(({ defaults, a, b }) => ({
  defaults: { ...defaults, name: 'unmatched' },
  routes: [
    { match: { path: '/a' }, spec: { ...a, name: 'a' } },
    { match: { path: '/b', methods: ['GET'] }, spec: { ...b, name: 'b' } },
  ] satisfies PolicyRoute[],
}))

const request = fc.record({
  kind: fc.constant('request' as const),
  path: fc.constantFrom(...paths),
  method: fc.constantFrom('GET', 'GET', 'GET', 'GET', 'POST', 'OPTIONS'),
  who: fc.constantFrom(...Array.from(Object.keys(callers), () => 'alice'), ...Object.keys(callers)),
  overrides: fc.constantFrom<Readonly<Record<string, string>>>(
    {},
    {},
    {},
    {},
    {},
    {},
    {},
    {},
    { service: 'search' },
    { route: 'b' },
    { auth: 'none' },
    { scopes: 'write:orders' },
    { rate_limit: '1/1m' },
    { rate_limit: 'often' },
  ),
  limiterIsDown: fc.constantFrom(false, false, false, false, true),
  fails: fc.boolean(),
})

const step = fc.oneof(
  { weight: 6, arbitrary: request },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(1, 999, 1_000, 5_000, 70_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('override' as const),
      service: fc.constantFrom('orders', 'users'),
      to: fc.constantFrom('open' as const, 'closed' as const, 'none' as const),
    }),
  },
)

type Step = typeof step extends fc.Arbitrary<infer S> ? S : never
type Policy = typeof policy extends fc.Arbitrary<infer P> ? P : never

const tally: Record<string, number> = {}

/** A gateway and what explains it, over the same parts. */
class World {
  readonly #clock = new FakeClock()
  readonly #limiter = new MemoryLimiter()
  readonly #circuits = createCircuits({
    clock: this.#clock,
    publish: ignore,
    logger: createLogLines().logger,
    random: () => 0,
    replica: 'gatepost-1',
  })
  #limiterIsDown = false
  readonly #explainParts: Parameters<typeof explain>[0]
  readonly #gateway: ReturnType<typeof createGateway>

  constructor(settings: Policy) {
    const limiter = () => {
      if (this.#limiterIsDown) throw new Error('Cannot reach the counters')
      return this.#limiter
    }
    const quota = createQuota({
      limiter: {
        take: (charges, nowMs) => limiter().take(charges, nowMs),
        peek: (charges, nowMs) => limiter().peek(charges, nowMs),
      },
      hash: (text) => text,
      publish: ignore,
      events: 'all',
    })
    const parts = {
      routes: createRoutes(settings),
      authenticate: ({ headers }: Pick<RequestContext, 'headers'>) =>
        callers[headers.get('x-who') ?? '']?.() ?? anonymous,
      credentialHeaders: ['x-api-key'],
      circuits: this.#circuits,
      quota,
    }
    this.#explainParts = parts
    this.#gateway = createGateway({
      ...parts,
      publish: ignore,
      onOutcome: ignore,
      onShadowFault: ignore,
      tellsShadow: false,
      randomId: () => 'id',
      now: this.#clock.now,
    })
    this.#circuits.declare(
      new Map(
        settings.routes.flatMap(({ spec: { service, circuit: own } }) =>
          service && own ? [[service, own]] : [],
        ),
      ),
    )
  }

  async go(one: Step): Promise<void> {
    if (one.kind === 'wait') return this.#clock.advance(one.ms)
    if (one.kind === 'override') return this.#override(one)
    await this.#compare(one)
  }

  close(): void {
    this.#circuits.close()
  }

  #override({ service, to }: Extract<Step, { kind: 'override' }>): void {
    this.#circuits.override(
      service,
      to === 'none' ? { override: to } : { override: to, reason: 'a test', forMs: 3_000 },
    )
  }

  async #compare(one: Extract<Step, { kind: 'request' }>): Promise<void> {
    const { path, method, who, overrides, fails } = one
    this.#limiterIsDown = one.limiterIsDown
    const context = requestWith(
      {
        'x-who': who,
        'x-user-id': 'forged',
        'x-tier': 'forged',
        origin: 'https://a.example',
        'access-control-request-method': 'GET',
      },
      { path, method, overrides, receivedAtMs: this.#clock.now() },
    )
    const before = this.#circuits.list()

    const explained = await explain(this.#explainParts, context, { showValues: false })
    const again = await explain(this.#explainParts, context, { showValues: false })
    const after = this.#circuits.list()
    const decided = await this.#gateway.decide(context).catch(() => 'fault' as const)

    expect(after).toEqual(before)
    expect(again).toEqual(explained)
    expect(verdictOf(explained)).toEqual(decided === 'fault' ? { decision: 'fault' } : summaryOf(decided))
    note(explained)
    if (decided !== 'fault') this.#end(decided, fails)
  }

  #end(decision: Decision, fails: boolean): void {
    if (decision.kind === 'deny' || decision.admission.generation === 0) return
    const { route, admission } = decision
    this.#gateway.observe(
      outcomeWith({
        status: fails ? 503 : 200,
        decision: {
          kind: 'allow',
          route: route.name,
          service: route.service as string,
          circuitGeneration: admission.generation,
        },
      }),
    )
  }
}

/** What an explanation comes to, in the words of a decision. */
function verdictOf({ verdict, route, caller, clientHeaders, upstreamHeaders }: Explanation) {
  if (verdict.decision === 'fault') return { decision: 'fault' }
  const base = {
    decision: verdict.decision,
    reason: verdict.reason,
    route: route.name,
    status: verdict.status ?? 0,
  }
  if (verdict.decision === 'deny') return { ...base, detail: verdict.detail, cause: verdict.cause }
  return {
    ...base,
    shadow: verdict.shadow ?? [],
    headers: namesOf(clientHeaders),
    upstreamHeaders,
    caller: [caller.kind, caller.userId],
  }
}

function summaryOf(decision: Decision) {
  const { kind, route, caller } = decision
  const base = {
    decision: kind,
    reason: decisionReason(decision),
    route: route.name,
    status: decisionStatus(decision),
  }
  if (kind === 'deny') return { ...base, detail: decision.denial.detail, cause: decision.denial.cause }
  const { shadow, clientHeaders, upstreamHeaders } = decision
  const userId = caller.kind === 'anonymous' ? undefined : caller.userId
  return { ...base, shadow, headers: namesOf(clientHeaders), upstreamHeaders, caller: [caller.kind, userId] }
}

/** An explanation takes nothing, so its headers tell what is left before the request, and a decision's after it. */
function namesOf(headers: Explanation['clientHeaders']): string[] {
  return headers.map(([name]) => name)
}

function note({ verdict, steps }: Explanation): void {
  const kinds = [
    `${verdict.decision} ${verdict.reason}`,
    ...(verdict.shadow ?? []).map(({ part, reason }) => `shadow ${part} ${reason}`),
    ...steps.map(({ step: name, outcome }) => `${name} ${outcome}`),
  ]
  for (const kind of kinds) tally[kind] = (tally[kind] ?? 0) + 1
}

test('an explanation says what the decision will be, whatever the policy, the circuits and the shadow', async () => {
  await fc.assert(
    fc.asyncProperty(
      policy,
      fc.array(step, { minLength: 1, maxLength: 25, size: 'max' }),
      async (settings, steps) => {
        const world = new World(settings)
        for (const one of steps) await world.go(one)
        world.close()
      },
    ),
    { numRuns: 150 },
  )

  // Requests that all end the same way would prove nothing.
  for (const kind of [
    'allow ok',
    'deny circuit_open',
    'deny rate_limited',
    'deny insufficient_scope',
    'deny invalid_path',
    'deny method_not_allowed',
    'fault fault',
    'shadow auth missing_token',
    'shadow auth fault',
    'shadow circuit circuit_open',
    'shadow rate_limit rate_limited',
    'shadow rate_limit fault',
    'circuit passed',
    'identity reported',
    'scopes reported',
    'claims reported',
  ])
    expect([kind, tally[kind] ?? 0]).not.toEqual([kind, 0])
})
