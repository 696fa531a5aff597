/** Time as an argument: tests move it, nothing reads the machine's clock behind their back. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number
  /** Runs `action` once after `delayMs`; the returned function calls it off. It never keeps the process alive. */
  after(delayMs: number, action: () => void): () => void
}
