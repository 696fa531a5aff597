import { exitCodes } from '../core/exit-codes.ts'
import type { ExplainRequest } from '../core/explain-request.ts'
import type { ExplainedLimit, ExplainedStep, Explanation } from '../core/explanation.ts'
import type { Options } from './arguments.ts'

/** An explanation and whose it is. */
export interface Answered {
  explanation: Explanation
  /** Who answered, for people: the Gatepost that runs, or this process from the configuration alone. */
  by: string
}

/** What the command needs of its surroundings. */
export interface ExplainCommandParts {
  /** Or gives the exit code, where nobody can answer and why has been said. */
  ask: (request: ExplainRequest) => Promise<Answered | number>
  answer: (text: string) => void
  complain: (text: string) => void
  /** Whether the answer goes to a terminal that wants colours. */
  colour: boolean
}

/**
 * `gatepost explain METHOD PATH`: the verdict on a request, step by step.
 * @returns the exit code, which does not hang on the verdict.
 */
export async function explainCommand(
  operands: readonly string[],
  options: Options,
  { ask, answer, complain, colour }: ExplainCommandParts,
): Promise<number> {
  const request = readRequest(operands, options)
  if (typeof request === 'string') {
    complain(`${request}. Try gatepost explain --help\n`)
    return exitCodes.usage
  }
  const answered = await ask(request)
  if (typeof answered === 'number') return answered
  const { explanation, by } = answered
  answer(
    options['json']
      ? `${JSON.stringify({ by, ...explanation }, null, 2)}\n`
      : render(explanation, by, colour),
  )
  return exitCodes.ok
}

/** Reads the request that is to be explained, or says what is wrong with it. */
function readRequest([method = '', path = '']: readonly string[], options: Options): ExplainRequest | string {
  if (!path.startsWith('/')) return `The path begins with a slash, not ${JSON.stringify(path)}`
  const headers = pairs(options['header'], ':')
  if (typeof headers === 'string') return `A header is 'name: value', not ${JSON.stringify(headers)}`
  const settings = pairs(options['setting'], '=')
  if (typeof settings === 'string')
    return `A setting of Envoy's route is key=value, not ${JSON.stringify(settings)}`
  return {
    method: method.toUpperCase(),
    path,
    headers: grouped(headers),
    route_settings: Object.fromEntries(settings),
    ...text('host', options['host']),
    ...text('client_address', options['client-address']),
    ...text('principal', options['principal']),
    ...(options['ask'] === true && { ask_issuers: true }),
    ...(options['values'] === true && { show_values: true }),
  }
}

function text(name: string, value: Options[string] | undefined) {
  return typeof value === 'string' && { [name]: value }
}

/** Splits each entry at the first separator. @returns the entry that has none. */
function pairs(entries: Options[string] | undefined, separator: string): [string, string][] | string {
  const list = Array.isArray(entries) ? (entries as readonly string[]) : []
  const bad = list.find((entry) => entry.indexOf(separator) < 1)
  if (bad !== undefined) return bad
  return list.map((entry) => {
    const at = entry.indexOf(separator)
    return [entry.slice(0, at).trim(), entry.slice(at + 1).trim()]
  })
}

function grouped(headers: readonly (readonly [string, string])[]): Record<string, string[]> {
  const byName: Record<string, string[]> = {}
  for (const [name, value] of headers)
    byName[name.toLowerCase()] = [...(byName[name.toLowerCase()] ?? []), value]
  return byName
}

const marks = { passed: '\u2713', refused: '\u2717', reported: '~', fault: '!', skipped: '\u00b7' } as const

const colours = { passed: 32, refused: 31, reported: 33, fault: 35, skipped: 90 } as const

/** Draws an explanation for people. */
function render(explanation: Explanation, by: string, colour: boolean): string {
  const { request, steps, limits, verdict, upstreamHeaders, clientHeaders } = explanation
  const paint = (code: number, shown: string) => (colour ? `\u001b[${code}m${shown}\u001b[0m` : shown)
  const stepLine = ({ step, outcome, says, source }: ExplainedStep) =>
    `${paint(colours[outcome], `${marks[outcome]} ${step.padEnd(9)}`)} ${says}${source ? paint(90, `  (${source})`) : ''}`
  return [
    `${request.method} ${request.path}${request.authority ? ` at ${request.authority}` : ''}`,
    paint(90, `  ${by}`),
    '',
    ...steps.flatMap((step) => [stepLine(step), ...(step.step === 'limits' ? limits.map(limitLine) : [])]),
    '',
    verdictLine(verdict, paint),
    ...(upstreamHeaders?.set.map(([name, value]) => `  to the upstream  ${name}: ${value}`) ?? []),
    ...(upstreamHeaders?.remove.map((name) => `  taken away       ${name}`) ?? []),
    ...clientHeaders.map(([name, value]) => `  to the client    ${name}: ${value}`),
    '',
  ].join('\n')
}

function limitLine({ name, limit, algorithm, by, remaining, retryAfterSeconds }: ExplainedLimit): string {
  const again = retryAfterSeconds === undefined ? '' : `, again in ${retryAfterSeconds} s`
  return `              ${name}: ${limit} by ${by} (${algorithm}), ${remaining} left${again}`
}

function verdictLine(
  { decision, status, reason, detail, cause, shadow = [] }: Explanation['verdict'],
  paint: (code: number, text: string) => string,
): string {
  if (decision === 'allow') {
    const reported = shadow.map(({ part, reason: why }) => `${part} in shadow mode reports ${why}`)
    return [paint(32, 'allowed: the request goes on to the upstream'), ...reported].join('\n  ')
  }
  if (decision === 'fault') return `${paint(35, 'no verdict')}: ${cause ?? ''}\n  ${detail}`
  return `${paint(31, `refused: ${status} ${reason}`)}${cause ? ` (${cause})` : ''}\n  ${detail}`
}
