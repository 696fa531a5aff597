import { fileURLToPath } from 'node:url'
import { ghzBinary } from '../test/support/ghz.ts'
import { RunningProcess, run } from '../test/support/process.ts'
import { wrkBinary } from '../test/support/wrk.ts'
import type { Traffic } from './traffic.ts'

/** Requests under way at any time: connections of wrk, calls of ghz. */
const concurrency = 32

/** What a load generator saw. */
export interface LoadResult {
  /** Answered ones. */
  requests: number
  seconds: number
  p50Ms: number
  p99Ms: number
  /** Requests that were refused or had no answer. */
  failures: number
}

const lua = fileURLToPath(new URL('wrk.lua', import.meta.url))
const pacedLua = fileURLToPath(new URL('paced.lua', import.meta.url))
const protoFolder = fileURLToPath(new URL('../proto', import.meta.url))

/** Lets wrk send for some seconds. */
export async function wrkFor(url: string, seconds: number, traffic: Traffic): Promise<LoadResult> {
  await using wrk = await startWrk(url, seconds, [traffic.tokensFile])
  return await wrkResult(wrk)
}

/**
 * Lets wrk send exactly so many requests, then wait for an interrupt (SIGINT), at most so many seconds.
 * Read the result with {@link wrkResult}.
 */
export function startWrkOf(
  url: string,
  { tokensFile }: Traffic,
  { requests, limitSeconds }: { requests: number; limitSeconds: number },
): Promise<RunningProcess> {
  return startWrk(url, limitSeconds, [tokensFile, String(requests)])
}

async function startWrk(
  url: string,
  seconds: number,
  args: readonly string[],
  { script, connections }: { script: string; connections: number } = {
    script: lua,
    connections: concurrency,
  },
): Promise<RunningProcess> {
  const options = ['--threads', '1', '--connections', String(connections), '--timeout', '10s']
  return new RunningProcess({
    name: 'wrk',
    command: await wrkBinary(),
    args: [...options, '--duration', `${seconds}s`, '--script', script, url, '--', ...args],
  })
}

/** Connections of a load at a rate of its own; each waits for its answer before it sends the next request. */
const pacedConnections = 64

/**
 * Lets wrk send a few less than so many requests a second, one in twenty with a bad API key; with `Infinity` each
 * connection sends its next one when the last is answered.
 */
export async function wrkSteadily(
  url: string,
  { key, perSecond, seconds }: { key: string; perSecond: number; seconds: number },
): Promise<PacedResult> {
  const meanMs = Math.round((pacedConnections / perSecond) * 1_000)
  await using wrk = await startWrk(url, seconds, [key, String(meanMs)], {
    script: pacedLua,
    connections: pacedConnections,
  })
  const { requests, refused, broken } = await seenByWrk(wrk)
  return { requests, refused, broken }
}

/** What came of a load at a rate of its own. */
export interface PacedResult {
  /** Answered ones. */
  requests: number
  /** Of these, with a status of 400 or more. */
  refused: number
  /** Requests that had no answer. */
  broken: number
}

/** Waits for the end of wrk and reads what it saw. */
export async function wrkResult(wrk: RunningProcess): Promise<LoadResult> {
  const seen = await seenByWrk(wrk)
  return {
    requests: seen.requests,
    seconds: seen.durationUs / 1e6,
    p50Ms: seen.p50Us / 1_000,
    p99Ms: seen.p99Us / 1_000,
    failures: seen.refused + seen.broken,
  }
}

type SeenByWrk = Record<'requests' | 'durationUs' | 'p50Us' | 'p99Us' | 'refused' | 'broken', number>

async function seenByWrk(wrk: RunningProcess): Promise<SeenByWrk> {
  const end = await wrk.ended
  const mark = 'result '
  const line = wrk.lines.find((text) => text.startsWith(mark))
  if (line === undefined) throw new Error(`Cannot read the result of wrk: ${end}\n${wrk.lastWords()}`)
  return JSON.parse(line.slice(mark.length)) as SeenByWrk
}

interface GhzReport {
  count: number
  /** Nanoseconds, as all durations here. */
  total: number
  latencyDistribution: { percentage: number; latency: number }[]
  statusCodeDistribution: Record<string, number>
  /** Each call. */
  details: { latency: number }[]
}

/** Lets ghz send Checks for some seconds, over one connection, as a worker of Envoy does. */
export async function ghzFor(grpcAddress: string, seconds: number, traffic: Traffic): Promise<LoadResult> {
  const report = await ghz(grpcAddress, seconds, { 'data-file': traffic.checksFile })
  const latencyMs = (percentage: number) =>
    (report.latencyDistribution.find((row) => row.percentage === percentage)?.latency ?? 0) / 1e6
  return {
    requests: report.count,
    seconds: report.total / 1e9,
    p50Ms: latencyMs(50),
    p99Ms: latencyMs(99),
    failures: report.count - (report.statusCodeDistribution['OK'] ?? 0),
  }
}

/** Lets ghz send the same Check so many times a second, however late the answers are. @returns milliseconds of each. */
export async function ghzSteadily(
  grpcAddress: string,
  { check, perSecond, seconds }: { check: object; perSecond: number; seconds: number },
): Promise<number[]> {
  const { details } = await ghz(
    grpcAddress,
    seconds,
    { data: JSON.stringify(check), rps: String(perSecond) },
    '--async',
  )
  return details.map(({ latency }) => latency / 1e6)
}

async function ghz(
  grpcAddress: string,
  seconds: number,
  more: Readonly<Record<string, string>>,
  ...switches: readonly string[]
): Promise<GhzReport> {
  const flags = {
    'import-paths': protoFolder,
    proto: 'envoy/service/auth/v3/external_auth.proto',
    call: 'envoy.service.auth.v3.Authorization.Check',
    connections: '1',
    concurrency: String(concurrency),
    duration: `${seconds}s`,
    // Calls under way at the end are waited for: cut off they would count as errors.
    'duration-stop': 'wait',
    format: 'json',
    ...more,
  }
  const options = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`)
  const output = await run({
    name: 'ghz',
    command: await ghzBinary(),
    args: ['--insecure', ...switches, ...options, grpcAddress],
    limitMs: (seconds + 60) * 1_000,
  })
  return JSON.parse(output) as GhzReport
}
