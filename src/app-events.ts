import { randomUUID } from 'node:crypto'
import { hasWebhooks, openWebhooks, type Webhooks, webhooksJob } from './app-webhooks.ts'
import type { SubKeys } from './config/secret-key.ts'
import type { Settings } from './config/settings.ts'
import { CannotStart } from './core/cannot-start.ts'
import type { EventType } from './core/events.ts'
import type { Logger } from './core/log.ts'
import { type Bus, createBus, type OnDrop, type Sink } from './events/bus.ts'
import { createChoice } from './events/choice.ts'
import { type LogSink, openLogSink } from './events/log-sink.ts'
import { createRedactor } from './events/privacy.ts'
import type { Counts } from './events/spool/counting.ts'
import { openSpool, type Spool } from './events/spool/spool.ts'
import { startEventsThread } from './events-thread.ts'
import type { Metrics, SinkGauges } from './observability/metrics.ts'
import type { Surroundings } from './surroundings.ts'

/** The most events between the request path and the sinks. */
const busCapacity = 100_000

/** How long the end waits for the event log, in milliseconds. */
const eventLogCloseMs = 2_000

/** The way of events from the request path to whoever wants them. */
export interface Events {
  bus: Bus
  log: LogSink | undefined
  /** Where events for brokers and webhooks are kept; undefined while there is neither. */
  readonly spool: Spool | undefined
  webhooks: Webhooks
  /** How each broker's sink stands. */
  sinkGauges(): [name: string, SinkGauges][]
  /** The same for people, with what it has done since its thread began. */
  describeSinks(): Record<string, unknown>
  /** Commits what has come, delivers what can be within the limit, and closes everything. */
  close(withinMs: number): Promise<void>
}

/** Whether events must be kept on disk from the start: for a broker, or for webhooks. */
export function needsSpool(settings: Pick<Settings, 'kafka' | 'amqp' | 'webhooks' | 'dataDir'>): boolean {
  return settings.kafka !== undefined || settings.amqp !== undefined || hasWebhooks(settings)
}

/**
 * Opens the way of events.
 * @param takeFolder gives the data folder, which is taken where it is not yet; it throws CannotStart.
 * @throws CannotStart
 */
export async function openEvents(
  settings: Settings,
  { clock, loggers }: Surroundings,
  metrics: Metrics,
  takeFolder: () => string,
): Promise<Events> {
  const logger = loggers.named('events')
  const onDrop: OnDrop = (sink, type) => metrics.eventsDropped.inc({ sink, type })
  const log = settings.eventsLog === undefined ? undefined : openEventLog(settings.eventsLog, onDrop, logger)
  const sinks: Sink[] = log ? [log] : []
  let opening: Promise<Spool> | undefined
  let spool: Spool | undefined
  const webhooks = openWebhooks({
    clock,
    metrics,
    publish: (happening) => bus.publish(happening),
    isWanted: needsSpool(settings),
    start: startSpool,
  })

  /** Starts it, unless it runs or is being started; after a failure it can be tried again. */
  function startSpool(): Promise<Spool> {
    opening ??= openThreadedSpool().catch((error: unknown) => {
      opening = undefined
      throw error
    })
    return opening
  }

  async function openThreadedSpool(): Promise<Spool> {
    const job = threadJob(settings, takeFolder())
    spool = await openSpool({
      startThread: () => startEventsThread(job, webhooks.connect()),
      clock,
      random: Math.random,
      logger,
      onDrop,
      onCounts: (counts) => countInto(metrics, counts),
      onRestart: () => metrics.spoolRestarts.inc(),
    })
    sinks.push(spool)
    return spool
  }

  const bus = createBus({
    sinks,
    capacity: busCapacity,
    newId: randomUUID,
    ...thrift(settings, metrics),
    defer: setImmediate,
    onPublished: (type) => metrics.events.inc({ type }),
    onDrop,
  })

  if (needsSpool(settings)) await startSpool()

  function sinkGauges(): [string, SinkGauges][] {
    return Object.entries(spool?.sinks ?? {}).map(([name, { queued, oldestAtMs, failing }]) => {
      const age = oldestAtMs === undefined ? {} : { ageMs: Math.max(0, clock.now() - oldestAtMs) }
      return [name, { queued, failing, ...age }]
    })
  }

  return {
    bus,
    log,
    get spool() {
      return spool
    },
    webhooks,
    sinkGauges,

    describeSinks() {
      const described = sinkGauges().map(([name, { queued, failing, ageMs = 0 }]) => {
        const { sent, retried, dropped, setAside } = spool?.sinks[name] ?? nothingDone
        return [
          name,
          {
            queued,
            oldest_age_seconds: ageMs / 1_000,
            failing,
            sent,
            retried,
            dropped,
            set_aside: setAside,
          },
        ]
      })
      return Object.fromEntries(described)
    },

    async close(withinMs) {
      bus.flush()
      const [unwritten = 0] = await Promise.all([log?.close(eventLogCloseMs), spool?.close(withinMs)])
      if (unwritten > 0) logger.error({ bytes: unwritten }, 'the last events could not be written')
    },
  }
}

const nothingDone = { sent: 0, retried: 0, dropped: {}, setAside: {} }

function threadJob(settings: Settings, folder: string) {
  const {
    kafka,
    amqp,
    spool,
    webhooks: { rabbit },
  } = settings
  return {
    folder,
    spool,
    webhooks: webhooksJob(settings),
    ...(kafka && { kafka }),
    ...(amqp && { amqp }),
    ...(rabbit && { webhookQueue: rabbit }),
  }
}

/** Adds what the spool has done to the metrics of sinks. */
export function countInto(metrics: Metrics, { damaged, failures, sinks }: Counts): void {
  metrics.spoolDamaged.inc(damaged)
  metrics.spoolFailures.inc(failures)
  for (const [sink, { sent, retried, dropped, setAside }] of sinks) {
    metrics.sinkSent.inc({ sink }, sent)
    metrics.sinkRetries.inc({ sink }, retried)
    for (const [type, events] of entriesOf(dropped)) metrics.eventsDropped.inc({ sink, type }, events)
    for (const [type, events] of entriesOf(setAside)) metrics.sinkSetAside.inc({ sink, type }, events)
  }
}

function entriesOf(types: Readonly<Partial<Record<EventType, number>>>): [EventType, number][] {
  return Object.entries(types) as [EventType, number][]
}

/** Which events are told, and what is left of personal data in them. */
function thrift({ eventChoice: { privacy, ...choice }, subKeys }: Settings, metrics: Metrics) {
  return {
    choose: createChoice({
      ...choice,
      random: Math.random,
      onLeftOut: (type, why) => metrics.eventsLeftOut.inc({ type, why }),
    }),
    // Where fields are hashed and there is no secret key, the settings were refused.
    redactor: createRedactor(privacy, () => (subKeys as SubKeys)('events.privacy')),
  }
}

function openEventLog(target: string, onDrop: OnDrop, logger: Logger): LogSink {
  try {
    return openLogSink(target, onDrop, (error) => logger.error({ exception: error }, 'event log not written'))
  } catch (error) {
    throw new CannotStart(`GATEPOST_EVENTS_LOG: cannot open ${JSON.stringify(target)}`, error)
  }
}
