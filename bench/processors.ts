import { availableParallelism } from 'node:os'
import { run } from '../test/support/process.ts'

/** Which processors Gatepost has, and which everything else: lists as taskset writes them. */
export interface Processors {
  gatepost: string
  rest: string
}

/**
 * Leaves the first processor to Gatepost and the others to this process and all that it starts from now on, so that
 * brokers, proxies and clients cost a verdict no more than if they ran on machines of their own.
 * @throws Error on a machine of one processor.
 */
export async function divideProcessors(): Promise<Processors> {
  const count = availableParallelism()
  if (count < 2)
    throw new Error('Cannot measure here: one processor is for Gatepost, and none is left for the rest')
  const processors = { gatepost: '0', rest: count === 2 ? '1' : `1-${count - 1}` }
  await pin(process.pid, processors.rest)
  return processors
}

/** Keeps a process, with all its threads and those to come, to some processors. */
export async function pin(pid: number, processors: string): Promise<void> {
  const args = ['--all-tasks', '--cpu-list', '--pid', processors, String(pid)]
  await run({ name: 'taskset', command: 'taskset', args })
}
