import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const limitMs = 30_000
const mainFile = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** How a command ended, and what it said. */
export interface CommandResult {
  /** The exit code; null where a signal ended it. */
  code: number | null
  stdout: string
  stderr: string
}

/**
 * Runs Node.js with arguments to its end, and keeps stdout and stderr apart.
 * @param env the whole environment of the command; only PATH is added.
 * @param cwd default: the parent's.
 */
export async function runCommand(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  cwd?: string,
): Promise<CommandResult> {
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], ...env },
    timeout: limitMs,
    killSignal: 'SIGKILL',
    ...(cwd !== undefined && { cwd }),
  })
  const closed = Promise.withResolvers<number | null>()
  child.once('close', closed.resolve)
  child.once('error', closed.reject)
  const [stdout, stderr, code] = await Promise.all([
    child.stdout.setEncoding('utf8').toArray(),
    child.stderr.setEncoding('utf8').toArray(),
    closed.promise,
  ])
  return { code, stdout: stdout.join(''), stderr: stderr.join('') }
}

/** Runs `gatepost ARGS` from its sources to its end. */
export function runGatepost(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  cwd?: string,
): Promise<CommandResult> {
  return runCommand([mainFile, ...args], env, cwd)
}
