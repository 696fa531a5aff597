/** What a label says of every value that has no name of its own. */
export const otherLabel = 'other'

/** Keeps a label that clients can invent from growing without bound. */
export interface LabelBudget {
  /** @returns the value itself where it is among the most frequent ones, else `other`. */
  labelOf(value: string): string
}

/** Longer values have no name, however frequent: a client must not fill the memory with a few of them. */
const maxValueLength = 256

/** Between two halvings of all counts, so that what was frequent yesterday can make room. */
const countsPerHalving = 100_000

/** How often a value without a name was seen: surely, and at the most. */
interface Candidate {
  seen: number
  atMost: number
}

/**
 * Gives the most frequent values a name, at most `size` at a time. Candidates are counted by the Space-Saving
 * algorithm (Metwally, Agrawal, El Abbadi 2005), and one takes the name of another only for what was surely seen of it:
 * a flood of values that come once each displaces nothing that is really used.
 * @param onDemoted told of a value that has lost its name, so that its series can be removed.
 */
export function createLabelBudget(size: number, onDemoted: (value: string) => void): LabelBudget {
  const named = new Map<string, number>()
  const candidates = new Map<string, Candidate>()
  let counted = 0

  function age(): void {
    counted = 0
    for (const [value, count] of named) named.set(value, count / 2)
    for (const candidate of candidates.values()) {
      candidate.seen /= 2
      candidate.atMost /= 2
    }
  }

  /** Counts a value without a name, and gives it that of the rarest named one once it is surely more frequent. */
  function nominate(value: string): string {
    const candidate = candidates.get(value) ?? { seen: 0, atMost: makeRoom(candidates, 2 * size) }
    candidate.seen += 1
    candidate.atMost += 1
    candidates.set(value, candidate)
    const [rarest, least] = leastOf(named, (count) => count)
    if (candidate.seen <= least + 1) return otherLabel
    candidates.delete(value)
    named.delete(rarest)
    named.set(value, candidate.seen)
    onDemoted(rarest)
    return value
  }

  return {
    labelOf(value) {
      if (value.length > maxValueLength) return otherLabel
      counted += 1
      if (counted >= countsPerHalving) age()
      const count = named.get(value)
      if (count === undefined && named.size >= size) return nominate(value)
      named.set(value, (count ?? 0) + 1)
      return value
    },
  }
}

/** Sends the rarest candidate away where there are too many. @returns how often the newcomer may have been seen. */
function makeRoom(candidates: Map<string, Candidate>, most: number): number {
  if (candidates.size < most) return 0
  const [rarest, least] = leastOf(candidates, ({ atMost }) => atMost)
  candidates.delete(rarest)
  return least
}

function leastOf<V>(map: ReadonlyMap<string, V>, countOf: (value: V) => number): readonly [string, number] {
  let rarest = ''
  let least = Number.POSITIVE_INFINITY
  for (const [key, value] of map) {
    const count = countOf(value)
    if (count >= least) continue
    rarest = key
    least = count
  }
  return [rarest, least]
}
