import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Report, VectorSet } from './report.ts'

/** How many vectors passed and failed. */
export interface Sum {
  passed: number
  failed: number
}

/**
 * Runs every set of vectors in `dir` and prints a line for each, with its failures below. A set that is not there is
 * a failure; what no set reads is listed. The last line is the sum.
 */
export async function runVectors(
  dir: string,
  sets: readonly VectorSet[],
  print: (line: string) => void,
): Promise<Sum> {
  const sum = { passed: 0, failed: 0 }
  for (const set of sets) {
    const { passed, failed } = await runSet(dir, set, print)
    sum.passed += passed
    sum.failed += failed
  }
  const known = new Set(sets.map(({ entry }) => entry))
  for (const entry of readdirSync(dir).sort()) if (!known.has(entry)) print(`not used yet: ${entry}`)
  print(`${sum.passed} passed, ${sum.failed} failed`)
  return sum
}

async function runSet(dir: string, { entry, run }: VectorSet, print: (line: string) => void): Promise<Sum> {
  const path = join(dir, entry)
  if (!existsSync(path)) {
    print(`${entry}: Cannot run these vectors: ${dir} has no ${entry}`)
    return { passed: 0, failed: 1 }
  }
  try {
    return tell(entry, await run(path), print)
  } catch (error) {
    print(`${entry}: Cannot run these vectors: ${error}`)
    return { passed: 0, failed: 1 }
  }
}

function tell(
  entry: string,
  { outcomes, leftOut = [], unused = [] }: Report,
  print: (line: string) => void,
): Sum {
  const failures = outcomes.filter(({ problem }) => problem !== undefined)
  // A set without vectors has proven nothing.
  const failed = outcomes.length === 0 ? 1 : failures.length
  const sum = { passed: outcomes.length - failures.length, failed }
  const parts = [`${sum.passed} passed`, `${sum.failed} failed`]
  if (leftOut.length > 0) parts.push(`${leftOut.length} left out`)
  print(`${entry}: ${parts.join(', ')}`)
  if (outcomes.length === 0) print('  failed: it holds no vector')
  for (const { name, problem } of failures) print(`  failed: ${name}: ${problem}`)
  for (const { name, why } of leftOut) print(`  left out: ${name} (${why})`)
  for (const name of unused) print(`not used yet: ${entry}/${name}`)
  return sum
}
