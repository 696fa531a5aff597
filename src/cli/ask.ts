import { exitCodes } from '../core/exit-codes.ts'

/** What is asked of the admin API. */
export interface AdminRequest {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  path: string
  /** Sent as JSON. */
  body?: unknown
  /** How long the answer may take, in milliseconds. Default: 10 s. */
  limitMs?: number
}

/** What it answered; the body as parsed from JSON, undefined where it is none. */
export interface AdminAnswer {
  status: number
  body: unknown
}

/** Asks the Gatepost that runs on the admin address. @returns undefined where nothing listens there. */
export type AskAdmin = (request: AdminRequest) => Promise<AdminAnswer | undefined>

/** A command could not do what it was asked for. Its message is a sentence for whoever asked. */
export class Refused extends Error {
  readonly exitCode: number

  constructor(message: string, exitCode: number) {
    super(message)
    this.exitCode = exitCode
  }
}

/** Asks, and gives the body of a good answer. @throws Refused */
export type Call = (request: AdminRequest) => Promise<unknown>

const codeOf: Readonly<Record<number, number>> = {
  400: exitCodes.usage,
  503: exitCodes.unavailable,
}

/** Makes {@link Call}. @param address where Gatepost is asked, as people write it. */
function createCall(ask: AskAdmin, address: string): Call {
  return async (request) => {
    const answer = await ask(request)
    if (!answer) {
      throw new Refused(
        `No gatepost runs on ${address}; start one, or set GATEPOST_ADMIN_ADDRESS to where it listens`,
        exitCodes.unavailable,
      )
    }
    if (answer.status < 300) return answer.body
    throw new Refused(whyOf(answer), codeOf[answer.status] ?? exitCodes.failed)
  }
}

function whyOf({ status, body }: AdminAnswer): string {
  const { title, problems } = (body ?? {}) as { title?: unknown; problems?: unknown }
  if (Array.isArray(problems))
    return `It does not do:\n${problems.map((problem) => `- ${problem}`).join('\n')}`
  return typeof title === 'string' ? title : `The gatepost that runs answers with status ${status}`
}

/** What a command about the running Gatepost needs of its surroundings. */
export interface AdminCommandParts {
  ask: AskAdmin
  /** Where it is asked, as people write it. */
  address: string
  answer: (text: string) => void
  complain: (text: string) => void
}

/**
 * Runs a command about the running Gatepost: writes its text, or why it was refused.
 * @returns the exit code.
 */
export async function runAdminCommand(
  name: string,
  { ask, address, answer, complain }: AdminCommandParts,
  run: (call: Call) => Promise<{ text: string; exitCode?: number }>,
): Promise<number> {
  try {
    const { text, exitCode = exitCodes.ok } = await run(createCall(ask, address))
    answer(text)
    return exitCode
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    const hint = error.exitCode === exitCodes.usage ? `. Try gatepost ${name} --help` : ''
    complain(`${printable(error.message)}${error.message.includes('\n') ? '' : hint}\n`)
    return error.exitCode
  }
}

/** Makes a text safe for a terminal: control characters, which a receiver or a client may have put there, are replaced. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
  return text.replaceAll(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, '\ufffd')
}

/** Writes a table for people: columns of equal width, two blanks apart. An empty cell is shown as a dash. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows].map((row) => row.map((cell) => printable(cell).replaceAll('\n', ' ') || '-'))
  const widths = head.map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)))
  return lines
    .map((line) => line.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join('  '))
    .map((line) => `${line.trimEnd()}\n`)
    .join('')
}
