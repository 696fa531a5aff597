import { setPriority } from 'node:os'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { type Plan, startLoad } from '../test/faults/load.ts'

/** Requests through Envoy that a thread of its own sends. */
export interface LoadJob extends Plan {
  origin: string
}

/**
 * Sends requests from a thread of its own, so that whoever times verdicts meanwhile has nothing else to do. This module
 * is that thread's main.
 * @returns how many were not answered as they must be: 200 with a good key, 401 with a bad one.
 */
export async function sendLoad(job: LoadJob): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const worker = new Worker(new URL(import.meta.url), { workerData: { benchLoad: job } })
  worker.once('message', resolve)
  worker.once('error', reject)
  const wrong = await promise
  await worker.terminate()
  return wrong
}

function jobOf(data: unknown): LoadJob | undefined {
  return (data as { benchLoad?: LoadJob } | null)?.benchLoad
}

const job = isMainThread ? undefined : jobOf(workerData)
if (job) {
  // The thread that times verdicts may have given itself a higher one.
  setPriority(0, 0)
  const { origin, ...plan } = job
  const sent = await startLoad(origin, plan).done
  const isWrong = ({ client, status }: (typeof sent)[number]) => status !== (client === undefined ? 401 : 200)
  parentPort?.postMessage(sent.filter(isWrong).length)
}
