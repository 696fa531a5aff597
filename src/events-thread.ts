import { setPriority } from 'node:os'
import { isMainThread, type MessagePort, parentPort, Worker, workerData } from 'node:worker_threads'
import { type BrokerSettings, createBrokers } from './brokers.ts'
import type { Settings } from './config/settings.ts'
import type { Logger } from './core/log.ts'
import type { FromThread } from './events/spool/messages.ts'
import { createThreadLogger, serveSpool } from './events/spool/thread.ts'
import type { ReaderSpec } from './events/spool/turns.ts'
import { systemClock } from './surroundings.ts'
import { createWebhooks, type WebhooksJob } from './webhooks-thread.ts'

/** What the thread is told: plain data, for nothing else can be handed over. */
interface Job {
  gatepostEvents: EventsJob
  /** By which webhooks are managed. */
  webhooksPort: MessagePort
}

/** What the thread of events works with. */
export interface EventsJob extends BrokerSettings, Pick<Settings, 'spool'> {
  /** The data folder, which is locked for this process. */
  folder: string
  webhooks: Omit<WebhooksJob, 'folder' | 'maxBytes' | 'port'>
}

/** The share of the spool that deliveries may take; the rest is for events that are on their way. */
const webhooksShare = 0.5

/** More than the thread ever needs: a batch in hand for each broker, deliveries under way, and what libraries keep. */
const maxHeapMiB = 256

/**
 * What the thread allocates before a minor collection, three times over. Brokers' libraries fill buffers outside the heap
 * meanwhile: by V8's own size of 96 MiB they were so many that it collected the whole heap each time instead.
 */
const maxYoungHeapMiB = 48

/**
 * How far the thread steps back where it shares a processor with the one that gives verdicts: it then waits for that one
 * and not the other way round, and where there is never a moment to spare it still gets a tenth of the processor, which
 * is more than committing takes.
 */
const niceness = 10

/**
 * Starts the thread that owns the spool, the brokers and webhooks, so that neither a disk nor a library costs a verdict
 * any time. This module is its own thread's main.
 * @param webhooksPort one end of a channel by which webhooks are managed.
 */
export function startEventsThread(job: EventsJob, webhooksPort: MessagePort): Worker {
  const data: Job = { gatepostEvents: job, webhooksPort }
  return new Worker(new URL(import.meta.url), {
    name: 'events',
    workerData: data,
    transferList: [webhooksPort],
    resourceLimits: { maxOldGenerationSizeMb: maxHeapMiB, maxYoungGenerationSizeMb: maxYoungHeapMiB },
  })
}

function isJob(data: unknown): data is Job {
  return typeof data === 'object' && data !== null && 'gatepostEvents' in data
}

if (!isMainThread && parentPort && isJob(workerData)) {
  const port = parentPort
  stepBack()
  const { folder, spool } = workerData.gatepostEvents
  const logger = createThreadLogger(port)
  // A library's promise that nobody waited for costs no event: readers go by what brokers answer.
  process.on('unhandledRejection', (error) => logger.error({ exception: error }, 'unforeseen fault'))
  try {
    const readers = await createReaders(workerData, logger)
    serveSpool(port, logger, { ...spool, folder, readers, clock: systemClock, random: Math.random })
  } catch (error) {
    // What cannot be read of this replica's webhooks is as good a reason not to start as a spool that cannot be had.
    port.postMessage({ kind: 'unusable', why: (error as Error).message } satisfies FromThread)
    port.close()
  }
}

async function createReaders({ gatepostEvents, webhooksPort }: Job, logger: Logger): Promise<ReaderSpec[]> {
  const { folder, spool, webhooks, ...rest } = gatepostEvents
  const maxBytes = spool.maxBytes * webhooksShare
  const deliveries = createWebhooks({ ...webhooks, folder, maxBytes, port: webhooksPort }, logger)
  const brokers = await createBrokers(rest, { clock: systemClock, logger })
  return [deliveries, ...brokers.map((broker) => ({ kind: 'broker' as const, broker }))]
}

/** Elsewhere than on Linux a priority is the whole process's. Where the system forbids it, all stays as it is. */
function stepBack(): void {
  if (process.platform !== 'linux') return
  try {
    setPriority(0, niceness)
  } catch {
    // A sandbox that knows no setpriority(2): events are more than how soon they are told.
  }
}
