import { setFlagsFromString } from 'node:v8'

/*
 * A full garbage collection costs the slowest verdicts more than anything else: where Gatepost has one processor, V8's four
 * helpers mark beside the thread that gives verdicts and leave it a fifth of the processor for as long as that takes.
 */

/** One helper marks at a time: it takes as much of the processor in all, and leaves half of it meanwhile. */
const markingHelpers = 1

/**
 * Percent by which a heap may grow before all of it is collected. V8's own is less at a moderate load, where it collects
 * often, and more at full load, where it takes more memory.
 */
const heapGrowth = 100

/** Bids V8 collect the garbage of all heaps of this process evenly, and with less haste. To be called before it serves. */
export function calmGarbageCollections(): void {
  setFlagsFromString(`--concurrent-marking-max-worker-num=${markingHelpers}`)
  setFlagsFromString(`--heap-growing-percent=${heapGrowth}`)
}
