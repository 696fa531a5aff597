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

/** What the measurement of events is asked for. */
export interface EventsOptions {
  seconds: number
  rounds: number
  /** Requests through Envoy in a second of the moderate load, each of which becomes an event. */
  rate: number
  /** The environment of every Gatepost beside its settings, such as NODE_OPTIONS. */
  environment: Readonly<Record<string, string>>
  progress: Progress
}

/** What events cost at one load. */
export interface EventsCost {
  /** Says which load. */
  title: string
  rows: EventsRow[]
}

/** What one place for events cost, in each round. */
interface EventsRow {
  title: string
  rounds: EventsRound[]
}

interface EventsRound {
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

/** Calls beside the requests, whose verdicts are timed. */
const probesPerSecond = 300

/** Before the first round: until V8 has found how large the heap is to be. */
const warmUpSeconds = 15

/** Before each round: what was put off while the process stood still is done. */
const wakeUpSeconds = 3

/** A Gatepost whose events go to one place, and the Envoy before it. */
interface Subject {
  title: string
  gatepost: Gatepost
  origin: string
}

/**
 * Measures what events cost, by where they go: Gatepost's CPU, and how long verdicts take meanwhile, first at a moderate
 * load, then with as many requests as are answered. Subjects take turns
 * in each round, and stand still while it is not theirs: V8 tidies up where it is idle. Gatepost has one processor, all
 * its threads together, and everything else has the others. The second subject is as the first: how far these two
 * differ is what cannot be told apart here.
 */
export async function measureEvents(options: EventsOptions): Promise<EventsCost[]> {
  await using parts = new AsyncDisposableStack()
  const { subjects, key } = await startSubjects(parts, options)
  for (const subject of subjects) {
    options.progress(`warming up: ${subject.title}`)
    await inTurn(subject, [{ key, seconds: warmUpSeconds, rate: options.rate }])
  }
  const costs: EventsCost[] = []
  for (const [title, rate] of [
    [`Some ${options.rate} requests in a second`, options.rate],
    ['As many requests as are answered', Number.POSITIVE_INFINITY],
  ] as const) {
    options.progress(title)
    costs.push({ title, rows: await measureLoad(subjects, { ...options, key, rate }) })
  }
  return costs
}

async function measureLoad(
  subjects: readonly Subject[],
  { seconds, rounds, progress, ...plan }: EventsOptions & Pick<RoundPlan, 'key'>,
): Promise<EventsRow[]> {
  const rows = subjects.map((subject) => ({ title: subject.title, subject, rounds: [] as EventsRound[] }))
  for (let round = 1; round <= rounds; round += 1) {
    for (const row of rotated(rows, round)) {
      progress(`round ${round} of ${rounds}: ${row.title}`)
      const lengths = [wakeUpSeconds, seconds]
      const results = await inTurn(
        row.subject,
        lengths.map((length) => ({ ...plan, seconds: length })),
      )
      row.rounds.push(...results.slice(-1))
    }
  }
  return rows
}

/** Lets one run for some rounds, and stand still afterwards. */
async function inTurn(subject: Subject, plans: readonly RoundPlan[]): Promise<EventsRound[]> {
  const { process } = subject.gatepost
  process.signal('SIGCONT')
  const results: EventsRound[] = []
  for (const plan of plans) results.push(await measureRound(subject, plan))
  process.signal('SIGSTOP')
  return results
}

/** Another one begins each round: what comes after what is no advantage of any. */
function rotated<T>(rows: readonly T[], by: number): T[] {
  const at = by % rows.length
  return [...rows.slice(at), ...rows.slice(0, at)]
}

async function startSubjects(parts: AsyncDisposableStack, { environment, progress }: EventsOptions) {
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

  const places: Readonly<Record<string, Record<string, string>>> = {
    'no sink': {},
    'no sink, again': {},
    'the log, a file': { GATEPOST_EVENTS_LOG: join(folder.path, 'events.jsonl') },
    Kafka: { KAFKA_BROKERS: kafka.address('plain') },
    RabbitMQ: { AMQP_URL: `amqp://guest:guest@${rabbit.address}` },
    'Kafka and RabbitMQ': {
      KAFKA_BROKERS: kafka.address('plain'),
      AMQP_URL: `amqp://guest:guest@${rabbit.address}`,
    },
  }
  const subjects: Subject[] = []
  for (const [title, settings] of Object.entries(places)) {
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
    const envoy = parts.use(
      await startEnvoy(await bundledConfig('ext-authz', { listenerPort: 0, adminPort: 0, clusters }), {
        progress,
      }),
    )
    gatepost.process.signal('SIGSTOP')
    subjects.push({ title, gatepost, origin: `http://${envoy.listeners['ingress']}` })
  }
  return { subjects, key }
}

interface RoundPlan {
  key: string
  seconds: number
  /** Requests in a second; `Infinity` for as many as are answered. */
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

/** A table of Markdown; ratios are to the first row's, round by round. */
export function eventsCostTable({ title: load, rows }: EventsCost): string {
  const [base] = rows
  const lines = rows.map(({ title, rounds }) => {
    const figure = (read: (round: EventsRound) => number, digits: number) =>
      figureOf(rounds.map(read), digits)
    const ratio = (read: (round: EventsRound) => number) =>
      figureOf(
        rounds.map((round, at) => read(round) / read(base?.rounds[at] ?? round)),
        2,
      )
    return [
      title,
      figure(({ requestsPerSecond }) => requestsPerSecond, 0),
      figure(({ cpuSeconds }) => cpuSeconds, 3),
      ratio(({ cpuSeconds }) => cpuSeconds),
      figure(({ mainCpuSeconds }) => mainCpuSeconds, 3),
      ratio(({ mainCpuSeconds }) => mainCpuSeconds),
      figure(p50Of, 2),
      ratio(p50Of),
      figure(p99Of, 2),
      ratio(p99Of),
      (p99Of(together(rounds)) / p99Of(together(base?.rounds ?? rounds))).toFixed(2),
      String(rounds.reduce((sum, { failures }) => sum + failures, 0)),
    ]
  })
  return [
    `${load}:`,
    '',
    '| events go to | requests/s | CPU s per 1,000 requests | ratio | main thread alone | ratio | verdict p50 ms | ratio | verdict p99 ms | ratio | ratio of all rounds together | failures |',
    '|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|',
    ...lines.map((cells) => `| ${cells.join(' | ')} |`),
  ].join('\n')
}

type Times = Pick<EventsRound, 'timesMs'>

const p50Of = ({ timesMs }: Times) => quantile(timesMs, 0.5)
const p99Of = ({ timesMs }: Times) => quantile(timesMs, 0.99)

function together(rounds: readonly Times[]): Times {
  return { timesMs: rounds.flatMap(({ timesMs }) => timesMs).sort((a, b) => a - b) }
}

/** The median, with the least and the most in parentheses. */
function figureOf(values: readonly number[], digits: number): string {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number) => (quantile(sorted, share) ?? 0).toFixed(digits)
  return `${at(0.5)} (${at(0)}–${at(1)})`
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}
