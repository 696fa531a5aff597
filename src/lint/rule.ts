import type { Cursor } from './cursor.ts'
import type { Scope } from './scope.ts'

/** Where a rule found its trap, and what stands or is missing there: the end of a sentence without its full stop. */
export interface Spot {
  at: Cursor
  says: string
}

/** A trap that validation passes in silence. To add one: write it into the table of its kind, with a trap file in test/. */
export interface Rule {
  /** Kebab-case and stable: people name it in comments that silence it. */
  id: string
  /** What is wrong, for the list of rules: one line. */
  title: string
  /** Why it bites: whole sentences. */
  why: string
  /** What to do: whole sentences. */
  mend: string
  /** Finds the trap; pure. */
  check: (scope: Scope) => Iterable<Spot>
}

/** One spot where the trap is there, else none. */
export function spotIf(isTrap: boolean, at: Cursor, says: string): Spot[] {
  return isTrap ? [{ at, says }] : []
}
