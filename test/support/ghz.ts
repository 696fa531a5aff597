import { join } from 'node:path'
import { cached, type Progress } from './cache.ts'
import { findOnPath } from './on-path.ts'
import { run } from './process.ts'

const version = '0.93.0'

/**
 * The path of ghz, which drives gRPC: the one on PATH, else the cached one, else it is built by Go.
 * @throws with all that was tried and what to do.
 */
export async function ghzBinary(progress: Progress = () => {}): Promise<string> {
  const there = findOnPath('ghz')
  if (there !== undefined) return there
  try {
    return join(await cached('ghz', version, (folder) => build(folder, progress)), 'ghz')
  } catch (cause) {
    throw new Error(
      `Cannot get ghz ${version}: it is neither on PATH nor in the cache, and \`go install\` failed. Put ghz on ` +
        `PATH, or install Go.\n${(cause as Error).message}`,
      { cause },
    )
  }
}

async function build(folder: string, progress: Progress): Promise<void> {
  progress(`ghz ${version}: building, once; it takes about a minute`)
  await run({
    name: `go install ghz@v${version}`,
    command: 'go',
    args: ['install', `github.com/bojand/ghz/cmd/ghz@v${version}`],
    env: { ...process.env, GOBIN: folder },
    limitMs: 600_000,
  })
}
