import type { EventType } from '../../core/events.ts'
import type { TypeCounts } from './batch.ts'
import type { SinkNumbers, SpoolNumbers } from './numbers.ts'

/** What has happened since it was told last. */
export interface Counts {
  damaged: number
  failures: number
  /** By sink. */
  sinks: ReadonlyMap<string, Pick<SinkNumbers, 'sent' | 'retried' | 'dropped' | 'setAside'>>
}

/** Told of what has happened; for metrics. */
export type OnCounts = (counts: Counts) => void

/** Turns numbers that a thread counts from its beginning into what is new each time. */
export interface Counting {
  tell(numbers: SpoolNumbers): void
  /** The next numbers are those of a new thread. */
  reset(): void
}

const nothing: SpoolNumbers = { bytes: 0, damaged: 0, failures: 0, sinks: {} }
const nothingDone = { sent: 0, retried: 0, dropped: {}, setAside: {} }

/** Makes the counting. */
export function createCounting(onCounts: OnCounts): Counting {
  let last = nothing
  return {
    tell(numbers) {
      const sinks = Object.entries(numbers.sinks).map(([name, sink]) => {
        const before = last.sinks[name] ?? nothingDone
        const since = {
          sent: sink.sent - before.sent,
          retried: sink.retried - before.retried,
          dropped: minus(sink.dropped, before.dropped),
          setAside: minus(sink.setAside, before.setAside),
        }
        return [name, since] as const
      })
      onCounts({
        damaged: numbers.damaged - last.damaged,
        failures: numbers.failures - last.failures,
        sinks: new Map(sinks),
      })
      last = numbers
    },

    reset() {
      last = nothing
    },
  }
}

function minus(counts: TypeCounts, before: TypeCounts): TypeCounts {
  const since = Object.entries(counts).map(([type, count]) => [
    type,
    count - (before[type as EventType] ?? 0),
  ])
  return Object.fromEntries(since)
}
