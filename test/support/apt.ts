import type { Progress } from './cache.ts'
import { findOnPath } from './on-path.ts'
import { run } from './process.ts'

/**
 * The path of a command: the one on PATH, else it is installed from a package of Debian or Ubuntu, which takes root.
 * @throws with all that was tried and what to do.
 */
export async function aptCommand(command: string, debian: string, progress: Progress): Promise<string> {
  const there = findOnPath(command)
  if (there !== undefined) return there
  progress(`${command}: installing the package ${debian}`)
  const failure = await install(debian).catch((error: Error) => error)
  const installed = findOnPath(command)
  if (installed !== undefined) return installed
  throw new Error(
    `Cannot get ${command}: it is not on PATH, and \`apt-get install ${debian}\` failed. Install it by the means of ` +
      `your system and put it on PATH.\n${failure?.message ?? ''}`,
    { cause: failure },
  )
}

async function install(debian: string): Promise<void> {
  await run({
    name: `apt-get install ${debian}`,
    command: 'apt-get',
    args: ['install', '--yes', '--no-install-recommends', debian],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    limitMs: 300_000,
  })
}
