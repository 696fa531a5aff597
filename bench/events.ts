import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { newApiKey } from '../src/auth/api-keys.ts'
import { freshQueue, freshTopics } from '../test/faults/delivered.ts'
import type { Progress } from '../test/support/cache.ts'
import { startEnvoy } from '../test/support/envoy.ts'
import { bundledConfig } from '../test/support/envoy-config.ts'
import { type Gatepost, startGatepost, waitUntilReady } from '../test/support/gatepost.ts'
import { startKafka } from '../test/support/kafka.ts'
import { startNginx } from '../test/support/nginx.ts'
import { startRabbitMq } from '../test/support/rabbitmq.ts'
import { tempFolder } from '../test/support/temp.ts'
import { checkRequest } from '../test/support/verdicts.ts'
import { counterSum } from './counters.ts'
import { cpuMs, mainThreadCpuMs } from './cpu.ts'
import { ghzSteadily, wrkSteadily } from './load.ts'
import { divideProcessors, pin } from './processors.ts'
import { type Estimate, medianOf, quantile, quantileRatio, together } from './statistics.ts'

/** What the measurement of events is asked for. */
export interface EventsOptions {
  /** Where events go, beside nowhere. */
  places: readonly Place[]
  seconds: number
  rounds: number
  /** Gateposts for each place. */
  processes: number
  /** Requests through Envoy in a second, each of which becomes an event; `Infinity` for as many as are answered. */
  rate: number
  /** The environment of every Gatepost beside its settings, such as NODE_OPTIONS. */
  environment: Readonly<Record<string, string>>
  progress: Progress
}

/** Where events can go. */
export const places = ['log', 'kafka', 'rabbitmq', 'both'] as const

export type Place = (typeof places)[number]

/** What one place for events cost. */
export interface EventsRow {
  title: string
  /** The rounds of each Gatepost. */
  processes: EventsRound[][]
}

interface EventsRound {
  /** Answered ones through Envoy. */
  requestsPerSecond: number
  /** Seconds of Gatepost's CPU, all threads, user and system, for 1,000 requests. */
  cpuSeconds: number
  /** The same of the thread alone that gives verdicts. */
  mainCpuSeconds: number
  /** How long each verdict took at Gatepost's own door, ascending. */
  timesMs: readonly number[]
  /** Requests and calls that were not answered as they must be. */
  failures: number
}

/** The share of verdicts that come before the slowest hundredth. */
const slowest = 0.99

/** Calls beside the requests, whose verdicts are timed. */
const probesPerSecond = 300

/** Before the first round: until V8 has found how large the heap is to be. */
const warmUpSeconds = 15

/** Before each round: what was put off while the process stood still is done. */
const wakeUpSeconds = 3

const titles: Readonly<Record<'none' | Place, string>> = {
  none: 'no sink',
  log: 'the log, a file',
  kafka: 'Kafka',
  rabbitmq: 'RabbitMQ',
  both: 'Kafka and RabbitMQ',
}

/** A Gatepost whose events go to one place, and the Envoy before it. */
interface Subject {
  title: string
  gatepost: Gatepost
  origin: string
}

/**
 * Measures what events cost, by where they go: Gatepost's CPU, and how long verdicts take meanwhile. Each place has
 * several Gateposts, for one process differs from the next of its kind and keeps to that. They take turns in each round,
 * and stand still while it is not theirs: V8 tidies up where it is idle. Gatepost has one processor, all its threads
 * together, and everything else has the others.
 */
export async function measureEvents(options: EventsOptions): Promise<EventsRow[]> {
  const { seconds, rounds, rate, progress } = options
  await using parts = new AsyncDisposableStack()
  const { subjects, key } = await startSubjects(parts, options)
  for (const subject of subjects) {
    progress(`warming up: ${subject.title}`)
    await inTurn(subject, () => measureRound(subject, { key, rate, seconds: warmUpSeconds }))
  }
  const measured = new Map(subjects.map((subject) => [subject, [] as EventsRound[]]))
  for (let round = 1; round <= rounds; round += 1) {
    for (const subject of rotated(subjects, round)) {
      const result = await inTurn(subject, async () => {
        await measureRound(subject, { key, rate, seconds: wakeUpSeconds })
        return measureRound(subject, { key, rate, seconds })
      })
      const p99 = quantile(result.timesMs, slowest).toFixed(1)
      progress(`round ${round} of ${rounds}: ${subject.title}: p99 ${p99} ms`)
      measured.get(subject)?.push(result)
    }
  }
  const byTitle = Map.groupBy(measured, ([{ title }]) => title)
  return Array.from(byTitle, ([title, all]) => ({ title, processes: all.map(([, each]) => each) }))
}

/** Lets one run meanwhile, and stand still afterwards. */
async function inTurn<T>({ gatepost }: Subject, meanwhile: () => Promise<T>): Promise<T> {
  gatepost.process.signal('SIGCONT')
  const result = await meanwhile()
  gatepost.process.signal('SIGSTOP')
  return result
}

/** Another one begins each round: what comes after what is no advantage of any. */
function rotated<T>(rows: readonly T[], by: number): T[] {
  const at = by % rows.length
  return [...rows.slice(at), ...rows.slice(0, at)]
}

async function startSubjects(
  parts: AsyncDisposableStack,
  { places, processes, environment, progress }: EventsOptions,
) {
  const processors = await divideProcessors()
  const folder = parts.use(await tempFolder('bench-events'))
  const { key, id, hash } = newApiKey()
  const keysFile = join(folder.path, 'keys.yaml')
  await writeFile(keysFile, JSON.stringify({ keys: [{ id, client_id: 'client-0', hash }] }))
  const kafka = parts.use(await startKafka({ progress }))
  const rabbit = parts.use(await startRabbitMq(progress))
  await freshTopics(kafka)
  await freshQueue(rabbit.address)
  const upstream = parts.use(await startNginx(progress))

  const toKafka = { KAFKA_BROKERS: kafka.address('plain') }
  const toRabbit = { AMQP_URL: `amqp://guest:guest@${rabbit.address}` }
  const settingsOf: Readonly<Record<'none' | Place, (copy: number) => Record<string, string>>> = {
    none: () => ({}),
    log: (copy) => ({ GATEPOST_EVENTS_LOG: join(folder.path, `events-${copy}.jsonl`) }),
    kafka: () => toKafka,
    rabbitmq: () => toRabbit,
    both: () => ({ ...toKafka, ...toRabbit }),
  }
  const startSubject = async (title: string, settings: Record<string, string>): Promise<Subject> => {
    const gatepost = parts.use(
      await startGatepost({
        GATEPOST_EVENTS_LOG: '',
        GATEPOST_API_KEYS_FILE: keysFile,
        ...environment,
        ...settings,
      }),
    )
    parts.defer(() => gatepost.process.signal('SIGCONT'))
    await waitUntilReady(gatepost)
    await pin(gatepost.process.pid, processors.gatepost)
    const clusters = {
      gatepost: gatepost.grpcAddress,
      user_service: upstream.address,
      order_service: upstream.address,
    }
    const config = await bundledConfig('ext-authz', { listenerPort: 0, adminPort: 0, clusters })
    const envoy = parts.use(await startEnvoy(config, { progress }))
    gatepost.process.signal('SIGSTOP')
    return { title, gatepost, origin: `http://${envoy.listeners['ingress']}` }
  }
  const subjects: Subject[] = []
  for (let copy = 1; copy <= processes; copy += 1) {
    for (const place of ['none', ...places] as const)
      subjects.push(await startSubject(titles[place], settingsOf[place](copy)))
  }
  return { subjects, key }
}

interface RoundPlan {
  key: string
  seconds: number
  rate: number
}

async function measureRound(
  { gatepost, origin }: Subject,
  { key, seconds, rate }: RoundPlan,
): Promise<EventsRound> {
  const { pid } = gatepost.process
  const before = { all: await cpuMs(pid), main: await mainThreadCpuMs(pid), ...(await verdicts(gatepost)) }
  const check = checkRequest({ path: '/users/42', headers: [['x-api-key', key]] }, 'map')
  const [{ requests, refused, broken }, timesMs] = await Promise.all([
    wrkSteadily(origin, { key, perSecond: rate, seconds }),
    ghzSteadily(gatepost.grpcAddress, { check, perSecond: probesPerSecond, seconds }),
  ])
  // What it costs to deliver the last of them belongs to the round.
  await untilDelivered(gatepost)
  const after = { all: await cpuMs(pid), main: await mainThreadCpuMs(pid), ...(await verdicts(gatepost)) }
  // To ghz a denial is a good answer, and wrk does not tell which key was refused: Gatepost's own counts do.
  const wronglyRefused = refused - (after.deny - before.deny)
  const notAllowed = timesMs.length + (requests - refused) - (after.allow - before.allow)
  return {
    requestsPerSecond: requests / seconds,
    // Milliseconds for one are seconds for a thousand.
    cpuSeconds: (after.all - before.all) / requests,
    mainCpuSeconds: (after.main - before.main) / requests,
    timesMs: timesMs.sort((a, b) => a - b),
    failures: broken + Math.max(0, wronglyRefused) + Math.max(0, notAllowed),
  }
}

async function verdicts({ adminAddress }: Gatepost): Promise<Record<'allow' | 'deny', number>> {
  const count = (decision: string) => counterSum(adminAddress, 'gateway_decisions_total', { decision })
  return { allow: await count('allow'), deny: await count('deny') }
}

/** Several of the access log's flush intervals; and between two looks at how sinks stand, which cost CPU themselves. */
const settleMs = 500

async function untilDelivered({ adminAddress, process }: Gatepost): Promise<void> {
  await process.until(async () => {
    await delay(settleMs)
    const { sinks } = (await (await fetch(`http://${adminAddress}/readyz`)).json()) as Readiness
    return Object.values(sinks).every(({ queued }) => queued === 0) || undefined
  }, 60_000)
}

interface Readiness {
  sinks: Record<string, { queued: number }>
}

/** The rows as a table of Markdown; ratios are those of medians, to the first row's, but for the last one. */
export function eventsCostTable(rows: readonly EventsRow[]): string {
  const measured = rows.map(({ title, processes }) => {
    return {
      title,
      summaries: processes.map(summaryOf),
      times: processes.flat().map(({ timesMs }) => timesMs),
    }
  })
  const [base = { summaries: [], times: [] }] = measured
  const lines = measured.map(({ title, summaries, times }) => {
    const values = (name: keyof Summary, of = summaries) => of.map((each) => each[name])
    const figure = (name: keyof Summary, digits: number) => figureOf(values(name), digits)
    const ratio = (name: keyof Summary) =>
      (medianOf(values(name)) / medianOf(values(name, base.summaries))).toFixed(2)
    return [
      title,
      figure('requestsPerSecond', 0),
      figure('cpuSeconds', 3),
      ratio('cpuSeconds'),
      figure('mainCpuSeconds', 3),
      ratio('mainCpuSeconds'),
      figure('p50Ms', 2),
      ratio('p50Ms'),
      figure('p99Ms', 2),
      ratio('p99Ms'),
      quantile(together(times), slowest).toFixed(2),
      times === base.times ? '1.00' : estimateOf(quantileRatio(times, base.times, slowest)),
      String(summaries.reduce((sum, { failures }) => sum + failures, 0)),
    ]
  })
  return [
    '| events go to | requests/s | CPU s per 1,000 requests | ratio | main thread alone | ratio | verdict p50 ms | ratio | verdict p99 ms | ratio | p99 ms of all together | ratio (95 %) | failures |',
    '|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|',
    ...lines.map((cells) => `| ${cells.join(' | ')} |`),
  ].join('\n')
}

function estimateOf({ ratio, low, high }: Estimate): string {
  return `${ratio.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`
}

type Summary = Record<
  'requestsPerSecond' | 'cpuSeconds' | 'mainCpuSeconds' | 'p50Ms' | 'p99Ms' | 'failures',
  number
>

/** One process, over all its rounds. */
function summaryOf(rounds: readonly EventsRound[]): Summary {
  const times = together(rounds.map(({ timesMs }) => timesMs))
  const median = (read: (round: EventsRound) => number) => medianOf(rounds.map(read))
  return {
    requestsPerSecond: median(({ requestsPerSecond }) => requestsPerSecond),
    cpuSeconds: median(({ cpuSeconds }) => cpuSeconds),
    mainCpuSeconds: median(({ mainCpuSeconds }) => mainCpuSeconds),
    p50Ms: quantile(times, 0.5),
    p99Ms: quantile(times, slowest),
    failures: rounds.reduce((sum, { failures }) => sum + failures, 0),
  }
}

/** The median, with the least and the most in parentheses. */
function figureOf(values: readonly number[], digits: number): string {
  const show = (value: number) => value.toFixed(digits)
  return `${show(medianOf(values))} (${show(Math.min(...values))}–${show(Math.max(...values))})`
}
