import { exitCodes } from '../core/exit-codes.ts'

/** How one probe ended. `unreachable` is a dependency that does not answer; `note` is neither good nor bad. */
export interface ProbeResult {
  outcome: 'ok' | 'note' | 'failed' | 'unreachable'
  /** What was found; a second line and further ones are shown below the first. */
  detail: string
}

/** One thing that `gatepost check` tries. */
export interface Probe {
  subject: string
  run: () => Promise<ProbeResult>
}

const marks = { ok: 'ok', note: '-', failed: 'FAILED', unreachable: 'FAILED' } as const

/**
 * Runs all probes at once and writes one line for each, in order.
 * @returns the exit code: 69 where a dependency is unreachable, else 1 where a probe failed, else 0.
 */
export async function runChecks(probes: readonly Probe[], write: (text: string) => void): Promise<number> {
  const results = await Promise.all(probes.map(attempt))
  const width = Math.max(...probes.map(({ subject }) => subject.length))
  for (const [at, { outcome, detail }] of results.entries()) {
    const indented = detail.replaceAll('\n', `\n${' '.repeat(width + 10)}`)
    write(`${probes[at]?.subject.padEnd(width)}  ${marks[outcome].padEnd(6)}  ${indented}\n`)
  }
  if (results.some(({ outcome }) => outcome === 'unreachable')) return exitCodes.unavailable
  return results.some(({ outcome }) => outcome === 'failed') ? exitCodes.failed : exitCodes.ok
}

async function attempt({ run }: Probe): Promise<ProbeResult> {
  try {
    return await run()
  } catch (error) {
    return { outcome: 'failed', detail: (error as Error).message }
  }
}
