import { aptCommand } from './apt.ts'
import type { Progress } from './cache.ts'

/**
 * The path of wrk, which drives HTTP/1.1: the one on PATH, else it is installed by apt-get.
 * @throws with all that was tried and what to do.
 */
export function wrkBinary(progress: Progress = () => {}): Promise<string> {
  return aptCommand('wrk', 'wrk', progress)
}
