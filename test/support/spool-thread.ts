import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { createThreadLogger, serveSpool } from '../../src/events/spool/thread.ts'
import { systemClock } from '../../src/surroundings.ts'
import { createFakeBroker, idsOf } from './spool.ts'

/** How the thread of a test keeps its spool. */
export interface SpoolThreadJob {
  folder: string
  maxBytes?: number
}

/**
 * Starts a real thread with a real log and a broker that writes the ids it gets into a file, fails while there is a file
 * called `fail`, and ends the thread on the spot where there is one called `die`. This module is its own thread's main.
 */
export function startSpoolThread(job: SpoolThreadJob): Worker {
  return new Worker(new URL(import.meta.url), { workerData: job })
}

/** The ids that the broker got, in order. */
export function deliveredIn(folder: string): string[] {
  const file = join(folder, 'delivered')
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : []
}

if (!isMainThread && parentPort) {
  const { folder, maxBytes = 64 * 1024 * 1024 } = workerData as SpoolThreadJob
  const broker = createFakeBroker('kafka')
  broker.answer = async (events) => {
    if (existsSync(join(folder, 'die'))) process.exit(3)
    if (existsSync(join(folder, 'fail'))) throw new Error('told to fail')
    const ids = idsOf(events).map((id) => `${id}\n`)
    appendFileSync(join(folder, 'delivered'), ids.join(''))
    return []
  }
  serveSpool(parentPort, createThreadLogger(parentPort), {
    folder,
    maxBytes,
    sync: 'normal',
    readers: [{ kind: 'broker', broker }],
    clock: systemClock,
    random: Math.random,
  })
}
