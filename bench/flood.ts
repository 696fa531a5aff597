import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { checkToken, describeOutcome } from '../test/support/check-outcome.ts'
import { startGatepost } from '../test/support/gatepost.ts'
import { connectGrpc, type GrpcClient } from '../test/support/grpc-client.ts'
import { RunningProcess } from '../test/support/process.ts'
import { quantile } from './statistics.ts'

/** How long the good callers' verdicts took in one phase, in milliseconds, and what else came of them. */
export interface FloodPhase {
  phase: 'calm' | 'flood'
  goodCalls: number
  /** Good callers that were not allowed. */
  notAllowed: number
  p50Ms: number
  p99Ms: number
  badCalls: number
  /** Calls that the provider got. */
  introspections: number
  /** The most of them at once. */
  mostAtOnce: number
}

/** Good calls per second, in the calm and in the flood. */
const goodPerSecond = 200

const warmUpSeconds = 5

/** Bad tokens per second: 10,000 in a minute. */
const badPerSecond = 10_000 / 60

/**
 * Measures what a flood of distinct bad opaque tokens does to callers with good ones: one phase without it and one
 * with it, in turns. Tokens are judged by introspection; good ones are in the cache but for one renewal in 30 s.
 */
export async function measureFlood(
  seconds: number,
  rounds: number,
  progress: (line: string) => void,
): Promise<FloodPhase[]> {
  const introspector = fileURLToPath(new URL('introspector.ts', import.meta.url))
  await using provider = new RunningProcess({
    name: 'introspector',
    command: process.execPath,
    args: [introspector],
  })
  const origin = `http://127.0.0.1:${(await provider.line((line) => /^\d+$/.test(line))).trim()}`
  await using gatepost = await startGatepost({
    GATEPOST_EVENTS_LOG: '',
    OKTA_DOMAIN: origin,
    OKTA_AUDIENCE: 'https://api.example.com',
    OKTA_VALIDATION: 'introspection',
    OKTA_CLIENT_ID: 'gatepost',
    OKTA_CLIENT_SECRET: 'gatepost-secret',
  })
  using client = connectGrpc(gatepost.grpcAddress)
  const good = Array.from({ length: 20 }, (_, at) => `good-${at}`)
  await runGood(client, good, warmUpSeconds)

  const phases: FloodPhase[] = []
  for (let round = 1; round <= rounds; round += 1) {
    for (const phase of ['calm', 'flood'] as const) {
      progress(`round ${round} of ${rounds}: ${phase}`)
      const before = await countsOf(origin)
      const [calls, badCalls] = await Promise.all([
        runGood(client, good, seconds),
        phase === 'flood' ? runBad(client, `${round}`, seconds) : 0,
      ])
      const after = await countsOf(origin)
      const times = calls.map(({ tookMs }) => tookMs).sort((a, b) => a - b)
      phases.push({
        phase,
        goodCalls: calls.length,
        notAllowed: calls.filter(({ outcome }) => outcome !== 'allow').length,
        p50Ms: quantile(times, 0.5),
        p99Ms: quantile(times, 0.99),
        badCalls,
        introspections: after.introspections - before.introspections,
        mostAtOnce: after.mostAtOnce,
      })
    }
  }
  return phases
}

async function countsOf(origin: string): Promise<{ introspections: number; mostAtOnce: number }> {
  const response = await fetch(`${origin}/counts`)
  return (await response.json()) as { introspections: number; mostAtOnce: number }
}

/** Sends good tokens at a steady rate, whatever becomes of the earlier ones. */
async function runGood(client: GrpcClient, tokens: readonly string[], seconds: number) {
  return await steadily(goodPerSecond, seconds, async (at) => {
    const startedMs = performance.now()
    const outcome = describeOutcome(await checkToken(client, tokens[at % tokens.length] as string))
    return { outcome, tookMs: performance.now() - startedMs }
  })
}

async function runBad(client: GrpcClient, name: string, seconds: number): Promise<number> {
  const outcomes = await steadily(badPerSecond, seconds, (at) => checkToken(client, `bad-${name}-${at}`))
  return outcomes.length
}

async function steadily<T>(
  perSecond: number,
  seconds: number,
  call: (at: number) => Promise<T>,
): Promise<T[]> {
  const calls: Promise<T>[] = []
  const startedMs = performance.now()
  for (let at = 0; at < perSecond * seconds; at += 1) {
    const dueMs = startedMs + (at / perSecond) * 1_000
    const waitMs = dueMs - performance.now()
    if (waitMs > 1) await sleep(waitMs)
    calls.push(call(at))
  }
  return Promise.all(calls)
}

/** Writes the phases as a table in Markdown. */
export function floodTable(phases: readonly FloodPhase[]): string {
  const rows = phases.map(
    ({ phase, goodCalls, notAllowed, p50Ms, p99Ms, badCalls, introspections, mostAtOnce }) =>
      `| ${phase} | ${goodCalls} | ${notAllowed} | ${p50Ms.toFixed(2)} | ${p99Ms.toFixed(2)} | ${badCalls} | ${introspections} | ${mostAtOnce} |`,
  )
  return [
    '| phase | good calls | not allowed | p50 ms | p99 ms | bad calls | introspections | most at once |',
    '|---|---|---|---|---|---|---|---|',
    ...rows,
  ].join('\n')
}
