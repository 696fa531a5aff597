/** Work that is put off and done a little at a time, so that verdicts have their turn in between. */
export interface Backlog<T> {
  /** Items that wait. */
  readonly length: number
  push(item: T): void
  /** Does all that waits, at once; for the end. */
  flush(): void
}

/** What a backlog is made of. */
export interface BacklogParts<T> {
  /** Items of one turn. */
  atOnce: number
  /** Runs `task` soon, after what is being done now. */
  defer: (task: () => void) => void
  /** Does the next items, in order. It may not throw. */
  work: (items: readonly T[]) => void
}

/** Of many that wait, this share in one turn: however many each turn of the event loop adds, the rest does not grow. */
const shareAtOnce = 1 / 4

/** Makes a backlog of nothing yet. */
export function createBacklog<T>({ atOnce, defer, work }: BacklogParts<T>): Backlog<T> {
  const waiting: T[] = []

  function workSome(): void {
    const items = waiting.splice(0, Math.max(atOnce, Math.ceil(waiting.length * shareAtOnce)))
    if (waiting.length > 0) defer(workSome)
    if (items.length > 0) work(items)
  }

  return {
    get length() {
      return waiting.length
    },

    push(item) {
      waiting.push(item)
      if (waiting.length === 1) defer(workSome)
    },

    flush() {
      if (waiting.length > 0) work(waiting.splice(0))
    },
  }
}
