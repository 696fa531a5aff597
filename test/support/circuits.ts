import { type Circuits, unguarded } from '../../src/core/circuits.ts'

/** No circuit anywhere. */
export const noCircuits: Circuits = {
  peek: () => unguarded,
  pass: () => unguarded,
  admit: () => unguarded,
  record: () => undefined,
}
