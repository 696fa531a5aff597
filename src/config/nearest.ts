import { distance } from 'fastest-levenshtein'

/** The candidate that takes the fewest changes; the first of several, and the empty text where there is none. */
export function nearest(name: string, candidates: readonly string[]): string {
  const [first = ''] = candidates
    .map((candidate) => ({ candidate, steps: distance(name, candidate) }))
    .sort((one, other) => one.steps - other.steps)
    .map(({ candidate }) => candidate)
  return first
}
