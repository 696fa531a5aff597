import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'

const KEPT_LINES = 2000
const TERMINATE_LIMIT_MS = 10_000

/** How a process is started; `name` is what errors call it. */
export interface ProcessOptions {
  name: string
  command: string
  args: readonly string[]
  /** The whole environment: nothing is inherited but what stands here. Default: the parent's. */
  env?: NodeJS.ProcessEnv
  cwd?: string
}

type LineListener = (line: string) => void

/**
 * A running child process. It ends with `stop()`, at the end of an `await using` scope, and when its parent dies,
 * however the parent dies.
 */
export class RunningProcess implements AsyncDisposable {
  readonly name: string
  readonly pid: number
  /** Settles when the child and its output have ended, with what ended it. Never rejects. */
  readonly ended: Promise<string>
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  readonly #listeners = new Set<LineListener>()
  #end: string | undefined

  constructor({ name, command, args, env, cwd }: ProcessOptions) {
    this.name = name
    // A group of its own: Ctrl-C in the terminal reaches the parent alone, which then ends its children in order.
    this.#child = spawn(command, args, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(env && { env }),
      ...(cwd && { cwd }),
    })
    this.ended = this.#watchEnd(command)
    this.pid = this.#child.pid ?? 0
    for (const output of [this.#child.stdout, this.#child.stderr]) {
      if (output) createInterface({ input: output }).on('line', (line) => this.#keep(line))
    }
    if (this.#child.pid !== undefined) guard(this.#child, this.#child.pid)
  }

  /** The last 2,000 lines of stdout and stderr, as they came. */
  get lines(): readonly string[] {
    return this.#lines
  }

  /** Calls `listener` with every line from now on. Returns the function that stops it. */
  onLine(listener: LineListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Waits for a line that `match` accepts, among those already there and those to come.
   * @throws when the process ends first or `limitMs` pass, with its last lines.
   */
  async line(match: (line: string) => boolean, limitMs = 15_000): Promise<string> {
    let found = this.#lines.find(match)
    const stopListening = this.onLine((line) => {
      if (found === undefined && match(line)) found = line
    })
    try {
      return await this.until(() => found, limitMs)
    } finally {
      stopListening()
    }
  }

  /**
   * Asks `probe` again and again until it gives something; a probe that throws has given nothing yet.
   * @throws when the process ends first or `limitMs` pass, with its last lines.
   */
  async until<T>(probe: () => T | undefined | Promise<T | undefined>, limitMs = 15_000): Promise<T> {
    const deadlineMs = performance.now() + limitMs
    let lastError: unknown
    while (this.#end === undefined && performance.now() < deadlineMs) {
      try {
        const answer = await probe()
        if (answer !== undefined) return answer
      } catch (error) {
        lastError = error
      }
      await delay(20)
    }
    const state = this.#end ?? `not ready after ${limitMs} ms`
    throw new Error(`Cannot use ${this.name}: ${state}\n${this.lastWords()}`, { cause: lastError })
  }

  /** The last lines of output, for an error message. */
  lastWords(): string {
    return this.#lines.slice(-30).join('\n')
  }

  /** Sends a signal to the process and to what it started itself; nothing happens once it has ended. */
  signal(name: NodeJS.Signals): void {
    if (this.#end !== undefined) return
    try {
      process.kill(-this.pid, name)
    } catch {
      // It has just ended: there is nobody left to tell.
    }
  }

  /** Ends the process: SIGTERM, and SIGKILL for one that is still there after ten seconds. */
  async stop(): Promise<void> {
    this.signal('SIGTERM')
    const forced = setTimeout(() => this.signal('SIGKILL'), TERMINATE_LIMIT_MS)
    await this.ended
    clearTimeout(forced)
  }

  /** Ends the process when an `await using` scope closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #watchEnd(command: string): Promise<string> {
    return new Promise((resolve) => {
      const end = (how: string) => {
        this.#end ??= how
        resolve(this.#end)
      }
      this.#child.once('error', (error) => end(`cannot start ${command}: ${error.message}`))
      this.#child.once('close', (code, signal) => end(signal ? `ended by ${signal}` : `exit code ${code}`))
    })
  }

  #keep(line: string): void {
    this.#lines.push(line)
    if (this.#lines.length > KEPT_LINES) this.#lines.shift()
    for (const listener of this.#listeners) listener(line)
  }
}

/**
 * Ties a child's life to ours: a tiny shell reads from a pipe that only we hold, so that it wakes when we are gone,
 * even by SIGKILL, and ends the child. Handlers in this process could not do that, and jest keeps them from running.
 */
function guard(child: ChildProcess, pid: number): void {
  const script = 'read -r _; kill -TERM "-$1" && sleep 3; kill -KILL "-$1"'
  const shell = spawn('/bin/sh', ['-c', script, 'guard', String(pid)], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  shell.on('error', () => child.kill('SIGKILL'))
  shell.unref()
  child.once('exit', () => shell.kill('SIGKILL'))
}

/**
 * Runs a command to its end.
 * @returns its output, stdout and stderr together.
 * @throws when it ends with another code than 0 or does not end within `limitMs`, with its last lines.
 */
export async function run(options: ProcessOptions & { limitMs?: number }): Promise<string> {
  const limitMs = options.limitMs ?? 60_000
  await using child = new RunningProcess(options)
  const timer = setTimeout(() => child.signal('SIGKILL'), limitMs)
  const end = await child.ended
  clearTimeout(timer)
  if (end !== 'exit code 0') {
    throw new Error(`Cannot run ${options.name}: ${end} (limit ${limitMs} ms)\n${child.lastWords()}`)
  }
  return child.lines.join('\n')
}
