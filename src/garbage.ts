import { readdirSync, readFileSync } from 'node:fs'
import { setPriority } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'

/*
 * V8's garbage collections cost the slowest verdicts more than anything else. Where Gatepost has one processor, V8's four
 * helpers work beside the thread that gives verdicts and take turns with it, three milliseconds at a time.
 */

/** One helper marks at a time: it takes as much of the processor in all, and leaves half of it meanwhile. */
const markingHelpers = 1

/**
 * Percent by which a heap may grow before all of it is collected. V8's own is less at a moderate load, where it collects
 * often, and more at full load, where it takes more memory.
 */
const heapGrowth = 100

/**
 * How far helpers step back behind the thread that gives verdicts. What they do, collecting in the background and
 * compiling, has time; where there is never a moment to spare they still get a tenth of the processor.
 */
const helpersNiceness = 10

/** The system's name of such a thread, as Node gives it since 22. */
const helpersName = 'V8Worker\n'

const threads = '/proc/self/task'

/**
 * Bids V8 collect the garbage of all heaps of this process evenly and with less haste, and lets its helpers step back.
 * To be called before it serves.
 */
export function calmGarbageCollections(): void {
  setFlagsFromString(`--concurrent-marking-max-worker-num=${markingHelpers}`)
  setFlagsFromString(`--heap-growing-percent=${heapGrowth}`)
  // V8 notes which places of the code make objects that live long, and lets theirs begin among the old. Which these are
  // differs from process to process, and where it takes calls for long-lived it collects twice to four times as much.
  setFlagsFromString('--no-allocation-site-pretenuring')
  // A minor collection is a millisecond's work: to wait for helpers that have stepped back takes longer.
  setFlagsFromString('--no-parallel-scavenge')
  stepHelpersBack()
}

/** Only Linux has priorities of threads, and a sandbox may forbid them: then all stays as it is. */
function stepHelpersBack(): void {
  try {
    for (const id of readdirSync(threads)) {
      if (readFileSync(join(threads, id, 'comm'), 'utf8') === helpersName)
        setPriority(Number(id), helpersNiceness)
    }
  } catch {
    // No such folder, or not allowed.
  }
}
