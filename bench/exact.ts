import { createReadStream, existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import type { RunningProcess } from '../test/support/process.ts'
import { envoyCounters } from './counters.ts'
import { type LoadResult, startWrkOf, wrkResult } from './load.ts'
import type { RunningSetup } from './setups.ts'
import type { Stack } from './stack.ts'

/** What each side counted of the same requests. */
export interface ExactCount {
  title: string
  wrk: number
  failures: number
  /** Envoy's `downstream_rq_completed`. */
  envoy: number
  /** `request.completed` events that tell of a request that was allowed and answered with 200. */
  events: number
  /** Any other events of the setup. */
  strays: number
}

/** The longest time for all requests of one setup. */
const limitSeconds = 180

/** How long events may take once Envoy has answered the last request. */
const eventsLimitMs = 10_000

/** Sends exactly so many requests through a setup and counts them three times: at wrk, at Envoy, and by their events. */
export async function countExactly(stack: Stack, setup: RunningSetup, requests: number): Promise<ExactCount> {
  const { envoy, traffic } = stack
  const counter = `http.${setup.name}.downstream_rq_completed`
  const completed = async () => (await envoyCounters(envoy.adminAddress, [counter]))[counter] ?? 0
  const eventsOf = () => countEvents(setup.eventsFile)

  const completedBefore = await completed()
  // The two requests by which the stack has proved that it works have events too, which may still be on their way.
  await waitFor(async () => (await eventsOf()).completed >= completedBefore, eventsLimitMs)
  const before = await eventsOf()

  const seen = await sendExactly(await startWrkOf(setup.url, traffic, { requests, limitSeconds }), () =>
    completed().then((count) => count - completedBefore >= requests),
  )
  await waitFor(async () => (await eventsOf()).completed - before.completed >= requests, eventsLimitMs)
  // One too many is a fault as well: let it come.
  await delay(1_000)

  const after = await eventsOf()
  const good = after.good - before.good
  return {
    title: setup.title,
    wrk: seen.requests,
    failures: seen.failures,
    envoy: (await completed()) - completedBefore,
    events: good,
    strays: after.all - before.all - good,
  }
}

/** Whether all have counted the same, without a failure. */
export function isExact({ wrk, failures, envoy, events, strays }: ExactCount, requests: number): boolean {
  return failures === 0 && strays === 0 && [wrk, envoy, events].every((count) => count === requests)
}

/** Interrupts wrk once all requests are answered; what it has sent by then is all that it ever sends. */
async function sendExactly(wrk: RunningProcess, done: () => Promise<boolean>): Promise<LoadResult> {
  await using running = wrk
  await Promise.race([waitFor(done, limitSeconds * 1_000), running.ended])
  running.signal('SIGINT')
  return await wrkResult(running)
}

interface EventCounts {
  all: number
  completed: number
  /** Allowed, and answered with 200. */
  good: number
}

async function countEvents(file: string | undefined): Promise<EventCounts> {
  const counts = { all: 0, completed: 0, good: 0 }
  if (file === undefined || !existsSync(file)) return counts
  for await (const line of createInterface({ input: createReadStream(file) })) {
    const { event_type, data } = parseEvent(line)
    counts.all += 1
    if (event_type !== 'request.completed') continue
    counts.completed += 1
    if (data?.decision === 'allow' && data.status_code === 200) counts.good += 1
  }
  return counts
}

interface LoggedEvent {
  event_type?: string
  data?: { decision?: string; status_code?: number }
}

/** The last line may be half there while Gatepost writes it; one that stays so counts among the other events. */
function parseEvent(line: string): LoggedEvent {
  try {
    return JSON.parse(line) as LoggedEvent
  } catch {
    return {}
  }
}

/** Asks every 100 ms, and gives up in silence: what is missing then is missing in the counts. */
async function waitFor(condition: () => Promise<boolean>, limitMs: number): Promise<void> {
  const endMs = performance.now() + limitMs
  while (performance.now() < endMs && !(await condition())) await delay(100)
}
