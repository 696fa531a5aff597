import { join } from 'node:path'
import type { EventType } from '../../src/core/events.ts'
import type { Gatepost } from '../support/gatepost.ts'
import { mountSmallDisk, type SmallDisk } from '../support/small-disk.ts'
import { tempFolder } from '../support/temp.ts'
import { type Account, accountOf, inShort, type Outage } from './account.ts'
import { type Delivered, freshQueue, freshTopics, outOfOrder, readKafka, readRabbit } from './delivered.ts'
import { type Counts, type Fault, type FaultName, faults, type Scene } from './faults.ts'
import { nowMs, type SentRequest, startLoad } from './load.ts'
import { metricsOf, type Stage, untilSettled } from './stage.ts'

/** How much is sent. */
export interface RowOptions {
  requests: number
  perSecond: number
  isShort: boolean
}

/** How the request path fared. Durations in milliseconds, from when a request was due to its answer. */
export interface Path {
  requests: number
  p50Ms: number
  p99Ms: number
  longestMs: number
  /** Requests that were not answered as they had to be. */
  errors: number
}

/** What became of the events of a row at one broker. */
export interface AtBroker extends Account {
  /** Missing ones that the metrics count. */
  counted: number
  /** Missing ones that only the damaged file knew. */
  forgiven: number
}

/** A row of the table. */
export interface Row {
  title: string
  requests: number
  unanswered: number
  kafka: AtBroker
  rabbitmq: AtBroker
  before: Path
  during: Path
  after: Path
  /** Why the row is not as it must be; none where it is. */
  problems: readonly string[]
}

/** Sent before anything counts, so that nothing cold is measured. Their events are held against them as well. */
const warmUp = 1_000

/** Around an outage so many milliseconds belong to it: Envoy finds a new Gatepost when it next tries. */
const aroundOutageMs = 1_500

/** How long Envoy waits for a verdict in the bundled configurations. */
const verdictLimitMs = 1_000

type BrokerName = 'kafka' | 'rabbitmq'

/** Sends requests, lets a fault strike, waits until all is over, and counts. */
export async function runRow(stage: Stage, name: FaultName, options: RowOptions): Promise<Row> {
  const fault: Fault = faults[name]
  await using parts = new AsyncDisposableStack()
  await freshTopics(stage.kafka)
  await freshQueue(stage.rabbit.address)
  const folder = parts.use(await tempFolder('faults'))
  const disk = fault.disk === undefined ? undefined : parts.use(await mountSmallDisk(fault.disk))
  const runner = new Runner(stage, join(disk?.path ?? folder.path, 'data'))
  parts.use(runner)
  await runner.start()

  const plan = { name, keys: stage.keys, perSecond: options.perSecond, padding: fault.padding ?? 0 }
  const warm = await startLoad(stage.origin, { ...plan, name: `${name}-warm`, requests: warmUp }).done
  const load = startLoad(stage.origin, { ...plan, requests: options.requests })
  await load.reached(0.3)
  const fromMs = nowMs()
  await fault.strike(runner.scene({ stage, load, disk, isShort: options.isShort }))
  const untilMs = nowMs()
  const sent = await load.done
  await untilSettled(runner.gatepost)

  await runner.noteDrops()
  const delivered = { kafka: await readKafka(stage.kafka), rabbitmq: await readRabbit(stage.rabbit.address) }
  const requests = [...warm, ...sent]
  const at = (broker: BrokerName) =>
    withCounts(accountOf(requests, delivered[broker].events, runner.outage), broker, runner)
  const row = { kafka: at('kafka'), rabbitmq: at('rabbitmq') }
  const due = (afterMs: number, beforeMs: number) =>
    pathOf(sent.filter(({ dueAtMs }) => dueAtMs >= afterMs && dueAtMs < beforeMs))
  return {
    title: fault.title,
    requests: requests.length,
    unanswered: requests.filter(({ status }) => status === 0).length,
    ...row,
    before: due(0, fromMs),
    during: due(fromMs, untilMs),
    after: due(untilMs, Number.POSITIVE_INFINITY),
    problems: [
      ...problemsAt('Kafka', row.kafka, delivered.kafka, runner.lossOf('kafka')),
      ...problemsAt('RabbitMQ', row.rabbitmq, delivered.rabbitmq, runner.lossOf('rabbitmq')),
      ...outOfOrder(delivered.kafka.events, delivered.rabbitmq.events).map(
        (whose) => `${whose} came to the brokers in different orders`,
      ),
      ...harm(requests, runner.outage),
    ],
  }
}

/** What a broker misses, as far as anybody knows. */
interface Loss {
  counted: Counts
  forgiven: Counts
}

/** Starts and ends Gatepost on one data folder, and keeps what it counted. */
class Runner implements AsyncDisposable {
  outage: Outage | undefined
  readonly #stage: Stage
  readonly #dataFolder: string
  readonly #losses: Record<BrokerName, Loss> = {
    kafka: { counted: {}, forgiven: {} },
    rabbitmq: { counted: {}, forgiven: {} },
  }
  #gatepost: Gatepost | undefined

  constructor(stage: Stage, dataFolder: string) {
    this.#stage = stage
    this.#dataFolder = dataFolder
  }

  get gatepost(): Gatepost {
    if (!this.#gatepost) throw new Error('Cannot use Gatepost: it was not started')
    return this.#gatepost
  }

  async start(): Promise<void> {
    this.#gatepost = await this.#stage.startGatepost(this.#dataFolder)
  }

  scene(parts: { stage: Stage; load: Scene['load']; disk: SmallDisk | undefined; isShort: boolean }): Scene {
    const current = () => this.gatepost
    return {
      ...parts,
      get gatepost() {
        return current()
      },
      restart: (signal, meanwhile) => this.#restart(signal, meanwhile),
      forgive: (broker, events) => addTo(this.lossOf(broker as BrokerName).forgiven, events),
    }
  }

  lossOf(broker: BrokerName): Loss {
    return this.#losses[broker]
  }

  /** Keeps what the running Gatepost has counted as dropped. */
  async noteDrops(): Promise<void> {
    for (const [series, count] of await metricsOf(this.gatepost)) {
      const [, sink, type] =
        /^gateway_events_dropped_total\{sink="(\w+)",type="([\w.]+)"\}$/.exec(series) ?? []
      for (const broker of ['kafka', 'rabbitmq'] as const) {
        // What the bus or the spool drops nobody gets.
        if (sink === broker || sink === 'spool' || sink === 'bus')
          addTo(this.#losses[broker].counted, { [type as EventType]: count })
      }
    }
  }

  async #restart(by: Outage['by'], meanwhile: () => Promise<void> = async () => {}): Promise<void> {
    const old = this.gatepost
    if (by === 'SIGTERM') await this.noteDrops()
    const fromMs = nowMs()
    old.process.signal(by)
    await old.process.ended
    await old.stop()
    await meanwhile()
    await this.start()
    this.outage = { by, fromMs, untilMs: nowMs() }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#gatepost?.stop()
  }
}

function addTo(sum: Counts, more: Counts): void {
  for (const [type, count] of Object.entries(more) as [EventType, number][])
    sum[type] = (sum[type] ?? 0) + count
}

function totalOf(counts: Counts): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}

function withCounts(account: Account, broker: BrokerName, runner: Runner): AtBroker {
  const { counted, forgiven } = runner.lossOf(broker)
  return { ...account, counted: totalOf(counted), forgiven: totalOf(forgiven) }
}

function problemsAt(broker: string, account: Account, { problems }: Delivered, loss: Loss): string[] {
  const types = new Set([...Object.keys(account.lost), ...Object.keys(loss.counted)]) as Set<EventType>
  const uncounted = [...types].flatMap((type) => {
    const { lost, counted, forgiven } = {
      lost: account.lost[type] ?? 0,
      counted: loss.counted[type] ?? 0,
      forgiven: loss.forgiven[type] ?? 0,
    }
    if (lost >= counted && lost <= counted + forgiven) return []
    const known = forgiven > 0 ? `${counted} to ${counted + forgiven}` : `${counted}`
    return [`lost ${lost} of ${type}, where ${known} are accounted for`]
  })
  return inShort([...uncounted, ...account.problems, ...problems]).map((problem) => `${broker}: ${problem}`)
}

function pathOf(requests: readonly SentRequest[]): Path {
  const times = requests.map(({ dueAtMs, answeredAtMs }) => answeredAtMs - dueAtMs).sort((a, b) => a - b)
  const at = (share: number) =>
    times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN
  const errors = requests.filter((request) => !isAsItMust(request)).length
  return { requests: requests.length, p50Ms: at(0.5), p99Ms: at(0.99), longestMs: at(1), errors }
}

function isAsItMust({ client, status }: SentRequest): boolean {
  return status === (client === undefined ? 401 : 200)
}

/**
 * Requests that a fault of events has harmed, which it never may. Not those of an outage, where no Gatepost runs; nor
 * those whose verdict came too late for Envoy: a machine that other work shares does that as well, so they stand in the
 * table beside those of the time before the fault.
 */
function harm(requests: readonly SentRequest[], outage: Outage | undefined): string[] {
  const harmed = requests.filter(
    (request) => !isAsItMust(request) && !isLate(request) && !(outage && isIn(outage, request)),
  )
  const words = harmed.map(({ path, status, dueAtMs, answeredAtMs }) => {
    const afterMs = Math.round(answeredAtMs - dueAtMs)
    return `${path.slice(0, 40)} was answered with ${status || 'nothing'} after ${afterMs} ms`
  })
  return inShort(words)
}

function isLate({ status, dueAtMs, answeredAtMs }: SentRequest): boolean {
  return status === 503 && answeredAtMs - dueAtMs >= verdictLimitMs
}

function isIn({ fromMs, untilMs }: Outage, { dueAtMs, answeredAtMs }: SentRequest): boolean {
  return answeredAtMs >= fromMs - aroundOutageMs && dueAtMs <= untilMs + aroundOutageMs
}
