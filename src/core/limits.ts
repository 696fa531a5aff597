import { addressNetwork } from './address.ts'
import { claimValues } from './claims.ts'
import type { Caller } from './identity.ts'
import type { RequestContext } from './request.ts'

/** How a limit counts; the guarantees of each are stated and kept in `ratelimit/algorithms.ts`. */
export const limitAlgorithms = ['gcra', 'fixed-window', 'sliding-window'] as const

/** One of {@link limitAlgorithms}. */
export type LimitAlgorithm = (typeof limitAlgorithms)[number]

/** So many units in so much time. Both are whole numbers from 1 on. */
export interface Rate {
  limit: number
  windowMs: number
}

/** What tells one caller's counter from another's. A header's name is lower-case. */
export type KeyPart =
  | { kind: 'client' | 'user' | 'ip' | 'route' }
  | { kind: 'header' | 'claim'; name: string }

/** Rates by the value of a claim, for callers who have it. */
export interface PlanRates {
  /** Its name, or a path of names joined by dots. Of a list of values the first that is a plan counts. */
  claim: string
  rates: ReadonlyMap<string, Rate>
}

/** One limit of a route, as configured. */
export interface LimitSpec {
  /** Its name, unique within its owner; clients see it in `RateLimit`. */
  name: string
  /** Whose counter it is: `defaults`, shared by all routes that inherit it, or `route:NAME`. */
  owner: string
  /** The rate where no plan says otherwise. */
  rate: Rate
  /** The most units at once, for `gcra` alone; by default the limit of the rate that applies, a plan's as well. */
  burst?: number
  algorithm: LimitAlgorithm
  /** The parts of the key, in order; at least one. */
  by: readonly KeyPart[]
  /** Units that a request takes: a whole number from 0 on, where 0 only looks. */
  cost: number
  plan?: PlanRates
}

/** What one request asks of one limit. */
export interface Charge {
  spec: LimitSpec
  /** The rate that applies to this caller. */
  rate: Rate
  /** The counter, by {@link limitKey}. */
  key: string
  /** Units asked for: a whole number from 0 on, where 0 only looks. */
  cost: number
}

/** Where one limit stands for one caller. */
export interface LimitState {
  name: string
  /** Units in `windowMs`, by the rate that applies to the caller. */
  limit: number
  windowMs: number
  /** Units left, rounded down; with a burst above the limit it may be more than the limit. */
  remaining: number
  /** Milliseconds until the whole quota is there again; of a fixed window, until it ends. */
  resetMs: number
  /**
   * 0 unless this limit refused. Then the exact milliseconds until the same request would be admitted if nobody else
   * asks; for a cost that can never be admitted, the window.
   */
  retryAfterMs: number
}

/** The answer to several charges, which are taken together or not at all. */
export interface LimitVerdict {
  allowed: boolean
  /** One for each charge, in order; after what was taken, where something was. */
  states: readonly LimitState[]
}

/**
 * Counts. A store takes all charges of a request in one call, so that a shared one needs one round trip.
 * @throws Fault, or rejects with one, where the store cannot tell.
 */
export interface Limiter {
  /**
   * Takes every charge, or none if one limit refuses.
   * @param nowMs milliseconds since the epoch. A clock that goes back admits nothing more: time stands still until it
   * has caught up.
   */
  take(charges: readonly Charge[], nowMs: number): LimitVerdict | Promise<LimitVerdict>
  /** Tells whether `take` would be allowed, and takes nothing: what remains is what is there now. */
  peek(charges: readonly Charge[], nowMs: number): LimitVerdict | Promise<LimitVerdict>
}

/** The largest number that can stand in a field (RFC 9651 §3.3.1: fifteen digits). */
const maxInteger = 999_999_999_999_999

/** GCRA counts in whole fractions of a millisecond; twice this is the largest that a double holds exactly. */
const maxTicks = 2 ** 52

/**
 * What is wrong with a rate and its burst, for whoever parses them; undefined if nothing is. Whole numbers from 1 to
 * fifteen digits, and for GCRA such that its arithmetic is exact: a limit with a large factor in common with the
 * window always is.
 */
export function rateProblem({ limit, windowMs }: Rate, burst = limit): string | undefined {
  const isCount = (value: number) => Number.isInteger(value) && value >= 1 && value <= maxInteger
  if (!isCount(limit)) return `the limit must be a whole number from 1 to ${maxInteger}`
  if (!isCount(windowMs)) return 'the window must be a whole number of milliseconds, at least 1'
  if (!isCount(burst)) return `the burst must be a whole number from 1 to ${maxInteger}`
  const { perUnit } = tickRate({ limit, windowMs })
  return burst * perUnit <= maxTicks
    ? undefined
    : `${burst} at once of ${limit} in ${windowMs} ms is too fine to count exactly: choose a rounder limit`
}

/**
 * A rate in whole numbers: time in ticks of such a length that a millisecond and the time of one unit both have a
 * whole number of them.
 */
export function tickRate({ limit, windowMs }: Rate): { perMs: number; perUnit: number } {
  const divisor = greatestCommonDivisor(limit, windowMs)
  return { perMs: limit / divisor, perUnit: windowMs / divisor }
}

function greatestCommonDivisor(a: number, b: number): number {
  let [larger, smaller] = [a, b]
  while (smaller > 0) [larger, smaller] = [smaller, larger % smaller]
  return larger
}

/** The rate of the plan that the caller's claim names, else the limit's own. Only a verified caller has claims. */
export function rateFor({ plan, rate }: Pick<LimitSpec, 'plan' | 'rate'>, caller: Caller): Rate {
  if (!plan) return rate
  for (const value of claimValues(caller, plan.claim)) {
    const planned = plan.rates.get(value)
    if (planned) return planned
  }
  return rate
}

/** Where the parts of a key come from. */
export interface KeySource {
  caller: Caller
  request: Pick<RequestContext, 'headers' | 'clientAddress'>
  /** The route's label. */
  route: { name: string }
}

/** What a request asks of one limit. */
export function chargeOf(spec: LimitSpec, source: KeySource, hash: (text: string) => string): Charge {
  const rate = rateFor(spec, source.caller)
  return { spec, rate, key: limitKey(spec, rate, source, hash), cost: spec.cost }
}

/**
 * Names the counter of a request for one limit: a hash of whose limit it is, its name, its algorithm, and every part of
 * its key with the issuer that vouches for it. No two different tuples give one text to hash, whatever a client sends.
 *
 * A changed limit or plan keeps the counter; a changed algorithm, or another length of a window, is a new one.
 * @param hash must be free of collisions, as SHA-256 is: clients choose much of the text.
 */
export function limitKey(
  spec: Pick<LimitSpec, 'owner' | 'name' | 'algorithm' | 'by'>,
  { windowMs }: Rate,
  source: KeySource,
  hash: (text: string) => string,
): string {
  const { owner, name, algorithm, by } = spec
  // GCRA has no window of its own: it carries what was taken over from rate to rate.
  const window = algorithm === 'gcra' ? 0 : windowMs
  return hash(JSON.stringify([owner, name, algorithm, window, ...by.map((part) => partOf(part, source))]))
}

/** JSON keeps the parts apart. An absent value is a shorter list, which no value can equal. */
function partOf(part: KeyPart, { caller, request, route }: KeySource): readonly unknown[] {
  switch (part.kind) {
    case 'client':
      return identityPart('client', caller) ?? identityPart('user', caller) ?? addressPart(request)
    case 'user':
      return identityPart('user', caller) ?? addressPart(request)
    case 'ip':
      return addressPart(request)
    case 'route':
      return ['route', route.name]
    case 'header':
      return headerPart(part.name, request)
    case 'claim':
      return claimPart(part.name, caller)
  }
}

function identityPart(kind: 'client' | 'user', caller: Caller): readonly unknown[] | undefined {
  if (caller.kind === 'anonymous') return undefined
  const id = kind === 'client' ? caller.clientId : caller.userId
  return id === undefined ? undefined : [kind, caller.issuer, id]
}

function addressPart({ clientAddress }: KeySource['request']): readonly unknown[] {
  return clientAddress === undefined ? ['ip'] : ['ip', addressNetwork(clientAddress)]
}

function headerPart(name: string, { headers }: KeySource['request']): readonly unknown[] {
  const value = headers.get(name)
  return value === undefined ? ['header', name] : ['header', name, value]
}

function claimPart(name: string, caller: Caller): readonly unknown[] {
  if (caller.kind === 'anonymous') return ['claim', name]
  return ['claim', name, caller.issuer, ...claimValues(caller, name)]
}
