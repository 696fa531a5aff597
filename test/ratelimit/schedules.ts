import fc from 'fast-check'
import { type Charge, chargeOf, type LimitSpec, limitAlgorithms, type Rate } from '../../src/core/limits.ts'

/** One request: when it comes, whose it is, and what it asks. */
interface Step {
  /** Milliseconds since the step before; negative where the clock was set back. */
  afterMs: number
  /** Who asks. */
  user: number
  /** Which limits are asked, each at most once. */
  asked: readonly number[]
  cost: number
}

/** Limits, and requests in time. */
export interface Schedule {
  limits: readonly LimitSpec[]
  /** The plan of each user; absent for none. */
  plans: readonly (string | undefined)[]
  /** Milliseconds since the epoch at which it begins. */
  startMs: number
  steps: readonly Step[]
}

const windows = [1, 3, 10, 97, 100, 1_000, 60_000]

const rates: fc.Arbitrary<Rate> = fc.record({
  limit: fc.integer({ min: 1, max: 12 }),
  windowMs: fc.oneof(fc.constantFrom(...windows), fc.integer({ min: 1, max: 5_000 })),
})

const users = 3

const limits: fc.Arbitrary<LimitSpec> = fc
  .record({
    rate: rates,
    planned: rates,
    burst: fc.option(fc.integer({ min: 1, max: 15 }), { nil: undefined }),
    algorithm: fc.constantFrom(...limitAlgorithms),
    kind: fc.constantFrom('user' as const, 'route' as const),
    name: fc.constantFrom('a', 'b'),
  })
  .map(({ rate, planned, burst, algorithm, kind, name }) => ({
    name,
    owner: 'defaults',
    rate,
    algorithm,
    by: [{ kind }],
    cost: 1,
    // Users of a route share one counter: a plan would give it several rates.
    ...(kind === 'user' && { plan: { claim: 'plan', rates: new Map([['gold', planned]]) } }),
    ...(burst !== undefined && algorithm === 'gcra' && { burst }),
  }))

/** Steps around the ends of windows and of their tenths, long pauses, and clocks that are set. */
const pauses = fc.oneof(
  { arbitrary: fc.constant(0), weight: 4 },
  { arbitrary: fc.integer({ min: 1, max: 50 }), weight: 3 },
  { arbitrary: fc.tuple(fc.constantFrom(...windows), fc.integer({ min: -1, max: 1 })).map(total), weight: 3 },
  { arbitrary: fc.integer({ min: 0, max: 6_000 }), weight: 3 },
  { arbitrary: fc.integer({ min: 60_000, max: 1_000_000_000 }), weight: 1 },
  { arbitrary: fc.integer({ min: -5_000, max: -1 }), weight: 1 },
)

function total([a, b]: [number, number]): number {
  return a + b
}

const steps = fc.record({
  afterMs: pauses,
  user: fc.nat({ max: users - 1 }),
  asked: fc.uniqueArray(fc.nat({ max: 2 }), { minLength: 1, maxLength: 3 }),
  cost: fc.oneof({ arbitrary: fc.constant(1), weight: 3 }, { arbitrary: fc.nat({ max: 6 }), weight: 2 }),
})

/** Schedules of up to three limits, three users and forty requests. */
export const schedules: fc.Arbitrary<Schedule> = fc.record({
  limits: fc.uniqueArray(limits, {
    minLength: 1,
    maxLength: 3,
    selector: ({ name, by }) => name + by[0]?.kind,
  }),
  plans: fc.array(fc.option(fc.constant('gold'), { nil: undefined }), { minLength: users, maxLength: users }),
  startMs: fc.constantFrom(0, 1, Date.UTC(2030, 0, 1), Date.UTC(2030, 0, 1, 0, 0, 59, 999)),
  steps: fc.array(steps, { minLength: 1, maxLength: 40, size: 'max' }),
})

/** The requests of a schedule, each with what it asks and the time that the clock shows. */
export function* requestsOf({ limits, plans, startMs, steps }: Schedule) {
  let nowMs = startMs
  for (const { afterMs, user, asked, cost } of steps) {
    nowMs = Math.max(0, nowMs + afterMs)
    const specs = asked.flatMap((at) => limits[at] ?? [])
    const charges: Charge[] = specs.map((spec) => ({ ...chargeFor(spec, user, plans[user]), cost }))
    yield { nowMs, charges }
  }
}

/** What a user asks of a limit. Keys are left readable. */
export function chargeFor(spec: LimitSpec, user: number, plan: string | undefined): Charge {
  const claims = plan === undefined ? {} : { plan }
  const caller = {
    kind: 'token',
    issuer: 'https://login.example.com/',
    userId: `${user}`,
    scopes: [],
    claims,
  } as const
  const source = {
    caller,
    request: { headers: new Map(), clientAddress: undefined },
    route: { name: 'users' },
  }
  return chargeOf(spec, source, (text) => text)
}
