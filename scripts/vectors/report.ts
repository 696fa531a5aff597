import { readFileSync } from 'node:fs'

/** How one vector ended. */
export interface Outcome {
  name: string
  /** What was wrong; absent where it passed. */
  problem?: string | undefined
}

/** What one file or folder of vectors gave. */
export interface Report {
  outcomes: Outcome[]
  /** Vectors that were left out on purpose, by name and with the reason. */
  leftOut?: { name: string; why: string }[]
  /** Files below the folder that nothing reads yet. */
  unused?: string[]
}

/** One file or folder of public vectors, and what runs them. */
export interface VectorSet {
  /** Its name within the folder of vectors. */
  entry: string
  run(path: string): Promise<Report>
}

/** Runs one vector: it passes unless the check tells a problem or throws. */
export async function outcomeOf(
  name: string,
  check: () => string | undefined | Promise<string | undefined>,
): Promise<Outcome> {
  try {
    return { name, problem: await check() }
  } catch (error) {
    return { name, problem: `threw ${error}` }
  }
}

/** Tells a problem unless `actual` is `expected`. */
export function unless(actual: unknown, expected: unknown): string | undefined {
  return actual === expected
    ? undefined
    : `got ${JSON.stringify(actual)}, expected ${JSON.stringify(expected)}`
}

/** Reads a file of JSON, taken to be of the shape that its runner knows. */
export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, 'utf8')) as T
}
