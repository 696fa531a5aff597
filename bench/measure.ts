import { cpus } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import type { Envoy } from '../test/support/envoy.ts'
import type { Gatepost } from '../test/support/gatepost.ts'
import { counterSum, envoyCounters } from './counters.ts'
import { cpuMs, machineCpuMs, ownCpuMs } from './cpu.ts'
import { ghzFor, type LoadResult, wrkFor } from './load.ts'
import type { RunningSetup, SetupName } from './setups.ts'
import type { Stack } from './stack.ts'

/** CPU milliseconds per 1,000 requests, user and system; undefined for a process that is not there. */
export interface Cpu {
  gatepost: number | undefined
  envoy: number | undefined
  upstream: number | undefined
  total: number
}

/** One round of one setup. */
export interface Round extends Pick<LoadResult, 'requests' | 'p50Ms' | 'p99Ms' | 'failures'> {
  requestsPerSecond: number
  cpu: Cpu
  /** The share of the machine's CPU that was neither ours nor the load generator's, from 0 to 1. */
  othersShare: number
}

type Part = Exclude<keyof Cpu, 'total'>
type Pids = Partial<Record<Part, number>>

/** Several flush intervals of the access log: what it costs to take the last entries belongs to the round. */
const settleMs = 400

/** Measures a setup by wrk, through Envoy. Envoy's own count tells every answer that is no 2xx. */
export async function measureSetup(
  { envoy, upstream, traffic }: Stack,
  { name, url, gatepost }: RunningSetup,
  seconds: number,
): Promise<Round> {
  const pids = {
    envoy: envoy.process.pid,
    upstream: upstream.process.pid,
    ...(gatepost && { gatepost: gatepost.process.pid }),
  }
  return measure(pids, async () => {
    const before = await notGood(envoy, name)
    const result = await wrkFor(url, seconds, traffic)
    const refused = (await notGood(envoy, name)) - before
    return { ...result, failures: Math.max(result.failures, refused) }
  })
}

async function notGood({ adminAddress }: Envoy, name: SetupName): Promise<number> {
  const [all, good] = [`http.${name}.downstream_rq_completed`, `http.${name}.downstream_rq_2xx`] as const
  const counters = await envoyCounters(adminAddress, [all, good])
  return (counters[all] ?? 0) - (counters[good] ?? 0)
}

/** Measures Check by ghz. A denial is a good answer to ghz: Gatepost's own count of allows tells the failures. */
export async function measureCheck(gatepost: Gatepost, seconds: number, { traffic }: Stack): Promise<Round> {
  return measure({ gatepost: gatepost.process.pid }, async () => {
    const before = await allowed(gatepost)
    const result = await ghzFor(gatepost.grpcAddress, seconds, traffic)
    const passed = (await allowed(gatepost)) - before
    return { ...result, failures: Math.max(result.failures, result.requests - passed) }
  })
}

function allowed({ adminAddress }: Gatepost): Promise<number> {
  return counterSum(adminAddress, 'gateway_decisions_total', { decision: 'allow' })
}

async function measure(pids: Pids, load: () => Promise<LoadResult>): Promise<Round> {
  const before = await readAll(pids)
  const { requests, seconds, p50Ms, p99Ms, failures } = await load()
  await delay(settleMs)
  const after = await readAll(pids)

  const usedMs = (part: Part) => {
    const [from, to] = [before.parts[part], after.parts[part]]
    return from === undefined || to === undefined ? undefined : to - from
  }
  const parts = { gatepost: usedMs('gatepost'), envoy: usedMs('envoy'), upstream: usedMs('upstream') }
  const totalMs = Object.values(parts).reduce<number>((sum, used) => sum + (used ?? 0), 0)
  const othersMs = after.machineMs - before.machineMs - (after.ownMs - before.ownMs) - totalMs
  const perThousand = (ms: number | undefined) => ms && (ms / requests) * 1_000
  return {
    requests,
    p50Ms,
    p99Ms,
    failures,
    requestsPerSecond: requests / seconds,
    cpu: {
      gatepost: perThousand(parts.gatepost),
      envoy: perThousand(parts.envoy),
      upstream: perThousand(parts.upstream),
      total: (totalMs / requests) * 1_000,
    },
    othersShare: Math.max(0, othersMs) / ((after.atMs - before.atMs) * cpus().length),
  }
}

interface Reading {
  atMs: number
  /** By part, in milliseconds of CPU. */
  parts: Partial<Record<Part, number>>
  ownMs: number
  machineMs: number
}

async function readAll(pids: Pids): Promise<Reading> {
  const entries = Object.entries(pids).map(async ([part, pid]) => [part, await cpuMs(pid)] as const)
  return {
    atMs: performance.now(),
    parts: Object.fromEntries(await Promise.all(entries)),
    ownMs: await ownCpuMs(),
    machineMs: await machineCpuMs(),
  }
}
