/** How long to wait between attempts. */
export interface Backoff {
  /** Before the second attempt at most, in milliseconds; doubles with each further one. */
  firstMs: number
  /** At most before any attempt. */
  mostMs: number
}

/**
 * Milliseconds to wait after so many failures in a row: anything up to twice as long each time, so that those who
 * failed together do not come back together (full jitter).
 * @param failures at least 1.
 * @param random from 0 to 1.
 */
export function backoffMs({ firstMs, mostMs }: Backoff, failures: number, random: number): number {
  return Math.ceil(random * Math.min(mostMs, firstMs * 2 ** (failures - 1)))
}
