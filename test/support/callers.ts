import { setTimeout as delay } from 'node:timers/promises'

/** Somebody who sends one request after the other. */
export interface Caller {
  name: string
  /** Sends a request. @returns what came of it, in a word or two. */
  ask(): Promise<string>
}

/** How often a caller got each answer in one phase. */
type Answers = ReadonlyMap<string, number>

/** Between an answer and the next request of the same caller: a steady load, and not one that starves the machine. */
const paceMs = 20

/**
 * Callers who go on while the world changes around them. What they are answered is counted by phase; an answer belongs
 * to the phase in which it was asked for.
 */
export class Callers implements AsyncDisposable {
  readonly #answers = new Map<string, Map<string, Map<string, number>>>()
  readonly #last = new Map<string, string>()
  readonly #loops: Promise<unknown>
  readonly #names: readonly string[]
  /** Questions that were asked in an earlier phase and are still open. */
  readonly #waiting = new Set<Promise<void>>()
  #phase: string
  #stopped = false

  /** Everybody begins at once. @param phase the first one's name. */
  constructor(callers: readonly Caller[], phase: string) {
    this.#phase = phase
    this.#names = callers.map(({ name }) => name)
    this.#loops = Promise.all(callers.map((caller) => this.#goOn(caller)))
  }

  /** Begins a phase. Resolves when every request of the one before has been answered. */
  async enter(phase: string): Promise<void> {
    this.#phase = phase
    await Promise.all(this.#waiting)
  }

  /** The different answers that a caller got in a phase. */
  answers(name: string, phase: string): string[] {
    return [...this.#seen(name, phase).keys()]
  }

  /** How many answers a caller got in a phase. */
  count(name: string, phase: string): number {
    return [...this.#seen(name, phase).values()].reduce((sum, count) => sum + count, 0)
  }

  /** The latest answer of a caller. */
  last(name: string): string | undefined {
    return this.#last.get(name)
  }

  /**
   * Waits until a condition holds for every caller.
   * @throws with those for whom it does not hold within `limitMs`.
   */
  async until(condition: (name: string) => boolean, limitMs = 60_000): Promise<void> {
    const endMs = performance.now() + limitMs
    let missing = this.#names.filter((name) => !condition(name))
    while (missing.length > 0) {
      if (performance.now() > endMs) throw new Error(this.#complaint(missing, limitMs))
      await delay(paceMs)
      missing = this.#names.filter((name) => !condition(name))
    }
  }

  /** Who saw what in which phase: a table in Markdown. */
  table(phases: readonly string[]): string {
    const rows = this.#names.map((name) => [
      name,
      ...phases.map((phase) => describe(this.#seen(name, phase))),
    ])
    return [['caller', ...phases], ['', ...phases].map(() => '---'), ...rows]
      .map((cells) => `| ${cells.join(' | ')} |`)
      .join('\n')
  }

  /** Lets everybody finish. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true
    await this.#loops
  }

  #seen(name: string, phase: string): Answers {
    return this.#answers.get(phase)?.get(name) ?? new Map()
  }

  async #goOn(caller: Caller): Promise<void> {
    while (!this.#stopped) {
      const asked = this.#askOnce(caller)
      this.#waiting.add(asked)
      await asked
      this.#waiting.delete(asked)
      await delay(paceMs)
    }
  }

  async #askOnce({ name, ask }: Caller): Promise<void> {
    const phase = this.#phase
    const answer = await ask().catch((error: Error) => `error: ${error.message}`)
    const byCaller = this.#answers.get(phase) ?? new Map<string, Map<string, number>>()
    const counts = byCaller.get(name) ?? new Map<string, number>()
    counts.set(answer, (counts.get(answer) ?? 0) + 1)
    this.#answers.set(phase, byCaller.set(name, counts))
    this.#last.set(name, answer)
  }

  #complaint(missing: readonly string[], limitMs: number): string {
    const seen = missing.map((name) => `${name}: ${describe(this.#seen(name, this.#phase)) || 'nothing'}`)
    return `Cannot go on: not so within ${limitMs} ms in phase "${this.#phase}" for\n${seen.join('\n')}`
  }
}

function describe(answers: Answers): string {
  return [...answers].map(([answer, count]) => `${answer} × ${count}`).join(', ')
}
