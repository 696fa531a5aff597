import { cpus } from 'node:os'
import type { Progress } from '../test/support/cache.ts'
import { newestEnvoy } from '../test/support/envoy.ts'
import { ghzBinary } from '../test/support/ghz.ts'
import { nginxBinary } from '../test/support/nginx.ts'
import { RunningProcess } from '../test/support/process.ts'
import { wrkBinary } from '../test/support/wrk.ts'

/** One line about what the figures were made with. Installs what is missing. */
export async function describeMachine(progress: Progress): Promise<string> {
  const versions = [
    `Node ${process.versions.node}`,
    `Envoy ${newestEnvoy}`,
    `nginx ${await ask(await nginxBinary(progress), '-v')}`,
    `wrk ${await ask(await wrkBinary(progress), '-v')}`,
    `ghz ${await ask(await ghzBinary(progress), '--version')}`,
  ]
  const day = new Date().toISOString().slice(0, 10)
  return `${day}, ${cpus().length} cores; ${versions.join(', ')}.`
}

/** Asks a tool for its version. wrk ends with 1 after it has told it: the code says nothing. */
async function ask(command: string, flag: string): Promise<string> {
  await using tool = new RunningProcess({ name: command, command, args: [flag] })
  await tool.ended
  return /\d+\.\d+(\.\d+)?/.exec(tool.lines.join(' '))?.[0] ?? '(built from source)'
}
