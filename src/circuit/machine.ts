import type { Totals, Trip } from '../core/circuit-view.ts'
import type { CircuitSpec } from '../core/circuits.ts'
import type { Evidence } from '../core/upstream-fitness.ts'
import { add, slide, totals, type Window } from './window.ts'

interface Common {
  /** Goes up with every change of state. */
  generation: number
  /** When this state began; milliseconds since the epoch. */
  sinceMs: number
  /** How often it has opened without staying closed for a window in between. */
  openings: number
}

/** Requests pass, and their outcomes are counted. */
export interface Closed extends Common {
  kind: 'closed'
  /** Failures since the last success. */
  inRow: number
  lastFailureMs: number
  window: Window
}

/** Nothing passes until `untilMs`. */
export interface Open extends Common {
  kind: 'open'
  untilMs: number
  trip: Trip
}

/** One request passes in each interval. */
export interface HalfOpen extends Common {
  kind: 'half_open'
  /** When the next probe may go. */
  nextProbeMs: number
  /** Good outcomes so far. */
  successes: number
}

/** A circuit at one moment. Nothing here reads a clock: every function is told the time. */
export type Machine = Closed | Open | HalfOpen

/** A circuit that nothing is known against. @param generation its first one; default 1. */
export function newMachine(nowMs: number, generation = 1): Closed {
  return closed({ generation, openings: 0 }, nowMs)
}

/** Moves on what moves on by itself: an open circuit whose time is up is half open. */
export function advance(machine: Machine, nowMs: number): Machine {
  return machine.kind === 'open' && nowMs >= machine.untilMs ? halfOpen(machine, nowMs) : machine
}

/** Half opens a circuit whose time is up. */
export function halfOpen({ generation, openings }: Open, nowMs: number): HalfOpen {
  return {
    kind: 'half_open',
    generation: generation + 1,
    openings,
    sinceMs: nowMs,
    nextProbeMs: nowMs,
    successes: 0,
  }
}

/** When the next request passes, in milliseconds since the epoch: `nowMs` or before it for "at once". */
export function passesAtMs(machine: Machine, nowMs: number): number {
  switch (machine.kind) {
    case 'closed':
      return nowMs
    case 'open':
      return machine.untilMs
    case 'half_open':
      return machine.nextProbeMs
  }
}

/** Sends a probe: the next one must wait for its turn, whatever becomes of this one. */
export function sendProbe(machine: HalfOpen, { probeIntervalMs }: CircuitSpec, nowMs: number): HalfOpen {
  return { ...machine, nextProbeMs: nowMs + probeIntervalMs }
}

/** What learning an outcome is made of. */
export interface Learning {
  spec: CircuitSpec
  /** The generation that admitted the request. */
  generation: number
  evidence: Evidence
  nowMs: number
  /** From 0 up to 1. */
  random: () => number
}

/** Learns an outcome. One of an earlier generation is ignored: it tells of an upstream that was. */
export function learn(machine: Machine, learning: Learning): Machine {
  if (learning.generation !== machine.generation) return machine
  switch (machine.kind) {
    case 'closed':
      return learnClosed(machine, learning)
    case 'open':
      return machine
    case 'half_open':
      return learnHalfOpen(machine, learning)
  }
}

/** What a closed circuit has counted in its window; nothing in another state. */
export function counted(machine: Machine, { windowMs }: CircuitSpec, nowMs: number): Totals {
  return totals(machine.kind === 'closed' ? slide(machine.window, windowMs, nowMs) : [])
}

function learnClosed(machine: Closed, { spec, evidence, nowMs, random }: Learning): Machine {
  const isSameRow = nowMs - machine.lastFailureMs <= spec.windowMs
  const next: Closed = {
    ...machine,
    inRow: evidence.failed ? (isSameRow ? machine.inRow : 0) + 1 : 0,
    lastFailureMs: evidence.failed ? nowMs : machine.lastFailureMs,
    window: add(machine.window, evidence, spec.windowMs, nowMs),
  }
  const trip = tripOf(next, spec)
  if (!trip) return next
  const isSoon = machine.openings > 0 && nowMs - machine.sinceMs < spec.windowMs
  return open({ ...machine, openings: isSoon ? machine.openings : 0 }, trip, spec, nowMs, random)
}

function learnHalfOpen(machine: HalfOpen, { spec, evidence, nowMs, random }: Learning): Machine {
  if (evidence.failed || evidence.slow) {
    return open(machine, { cause: 'probe_failed', count: 1, threshold: 1 }, spec, nowMs, random)
  }
  const successes = machine.successes + 1
  if (successes < spec.probes) return { ...machine, successes }
  return closed({ generation: machine.generation + 1, openings: machine.openings }, nowMs)
}

/** The first thing that is too much; undefined while nothing is. */
function tripOf({ inRow, window }: Closed, spec: CircuitSpec): Trip | undefined {
  if (spec.failures > 0 && inRow >= spec.failures)
    return { cause: 'consecutive_failures', count: inRow, threshold: spec.failures }
  const { requests, failures, slow } = totals(window)
  if (requests < spec.minRequests) return undefined
  const isTooMuch = (count: number, rate: number) => count / requests >= rate
  // The least count that would have been too much, by the same division.
  const threshold = (rate: number) => {
    const near = Math.max(1, Math.floor(rate * requests))
    return isTooMuch(near, rate) ? near : near + 1
  }
  const { failureRate, slowMs, slowRate } = spec
  if (failureRate !== undefined && isTooMuch(failures, failureRate))
    return { cause: 'failure_rate', count: failures, threshold: threshold(failureRate) }
  return slowMs !== undefined && isTooMuch(slow, slowRate)
    ? { cause: 'slow_rate', count: slow, threshold: threshold(slowRate) }
    : undefined
}

function closed({ generation, openings }: Pick<Common, 'generation' | 'openings'>, nowMs: number): Closed {
  return {
    kind: 'closed',
    generation,
    openings,
    sinceMs: nowMs,
    inRow: 0,
    lastFailureMs: Number.NEGATIVE_INFINITY,
    window: [],
  }
}

function open(
  { generation, openings }: Pick<Common, 'generation' | 'openings'>,
  trip: Trip,
  spec: CircuitSpec,
  nowMs: number,
  random: () => number,
): Open {
  return {
    kind: 'open',
    generation: generation + 1,
    openings: openings + 1,
    sinceMs: nowMs,
    untilMs: nowMs + openTimeMs(spec, openings, random),
    trip,
  }
}

/** By how much a repeated opening may fall short of its length, so that replicas do not probe in step. */
const jitter = 0.2

/** The first opening lasts exactly `openMs`; each further one twice as long as the last, less the jitter. */
function openTimeMs({ openMs, maxOpenMs }: CircuitSpec, earlier: number, random: () => number): number {
  if (earlier === 0) return openMs
  const longest = Math.min(openMs * 2 ** earlier, maxOpenMs)
  return Math.max(openMs, Math.round(longest * (1 - jitter * random())))
}
