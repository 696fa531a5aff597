import type { TypeCounts } from './batch.ts'
import type { ReaderState } from './log.ts'

/** What a reader has done since its thread began, and how it stands. */
export interface SinkNumbers extends ReaderState {
  /** Whether its last attempt failed. */
  failing: boolean
  /** Events that were delivered. */
  sent: number
  /** Attempts that followed a failed one. */
  retried: number
  /** Events that it misses because the log had no room for them, or was damaged; by type. */
  dropped: TypeCounts
  /** Events that were refused for good; by type. */
  setAside: TypeCounts
}

/** What the thread tells of the log. Counts are since the thread began. */
export interface SpoolNumbers {
  /** On disk, in use. */
  bytes: number
  /** Damaged logs that were set aside. */
  damaged: number
  /** Times that the log could not be written or read. */
  failures: number
  /** By reader. */
  sinks: Readonly<Record<string, SinkNumbers>>
}
