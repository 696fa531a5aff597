import { setImmediate as nextTurn } from 'node:timers/promises'

/**
 * Waits for a condition, looking at it once each turn of the event loop.
 * @throws Error where it does not hold within `limitMs`.
 */
export async function until(condition: () => boolean, limitMs = 10_000): Promise<void> {
  const endMs = performance.now() + limitMs
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`Cannot go on: not so within ${limitMs} ms: ${condition}`)
    await nextTurn()
  }
}
