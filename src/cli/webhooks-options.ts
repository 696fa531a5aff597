import { exitCodes } from '../core/exit-codes.ts'
import { parseWindow } from '../core/rates.ts'
import { splitList } from '../core/routes.ts'
import type { Options } from './arguments.ts'
import { Refused } from './ask.ts'

/** What reading options takes of the surroundings. */
export interface OptionParts {
  /** Reads a small file, `-` for the standard input. @throws Error where it cannot be read. */
  readFile: (path: string) => string
  now: () => number
}

/** Reads the options of `add` as the body of the request. @throws Refused */
export function readDraft(options: Options, parts: Pick<OptionParts, 'readFile'>): object {
  if (options['url'] === undefined) throw misuse('Say where deliveries go: --url https://…')
  const filters = {
    ...listOf('routes', options['routes']),
    ...listOf('services', options['services']),
  }
  const retryPolicy = {
    ...numberOf('max_retries', 'max-retries', options),
    ...numberOf('backoff_seconds', 'backoff-seconds', options),
  }
  return {
    ...textOf('id', options['id']),
    ...textOf('url', options['url']),
    ...secretOf(options, parts),
    ...listOf('events', options['events']),
    ...(options['inactive'] === true && { active: false }),
    ...whereAny('retry_policy', retryPolicy),
    ...whereAny('headers', headersOf(options['header'])),
    ...textOf('rate_limit', options['rate-limit']),
    ...whereAny('filters', filters),
    ...(options['ordered'] === true && { ordered: true }),
    ...numberOf('concurrency', 'concurrency', options),
    ...numberOf('timeout_seconds', 'timeout-seconds', options),
  }
}

/** Reads the options of `rotate` as the body of the request. @throws Refused */
export function readRotation(options: Options, parts: Pick<OptionParts, 'readFile'>): object {
  return { ...secretOf(options, parts), ...numberOf('grace_seconds', 'grace-seconds', options) }
}

/** Reads which deliveries are meant, as the API's filter. @throws Refused */
export function readFilter(options: Options, { now }: Pick<OptionParts, 'now'>): Record<string, string> {
  return {
    ...textOf('webhook_id', options['webhook']),
    ...textOf('status', options['status']),
    ...textOf('event', options['event']),
    ...timeOf('since', options['since'], now()),
    ...timeOf('until', options['until'], now()),
  }
}

/** Reads which page is meant. @throws Refused */
export function readPage(options: Options): Record<string, string> {
  return { ...textOf('limit', options['limit']), ...textOf('cursor', options['cursor']) }
}

type Given = Options[string] | undefined

function misuse(problem: string): Refused {
  return new Refused(problem, exitCodes.usage)
}

function textOf(member: string, value: Given): Record<string, string> {
  return typeof value === 'string' ? { [member]: value } : {}
}

function listOf(member: string, value: Given): Record<string, readonly string[]> {
  return typeof value === 'string' ? { [member]: splitList(value) } : {}
}

function numberOf(member: string, option: string, options: Options): Record<string, number> {
  const value = options[option]
  if (value === undefined) return {}
  if (typeof value === 'string' && /^\d{1,9}$/.test(value)) return { [member]: Number(value) }
  throw misuse(`--${option} wants a whole number, not ${JSON.stringify(value)}`)
}

/** A time, or how long ago. */
function timeOf(member: string, value: Given, nowMs: number): Record<string, string> {
  if (typeof value !== 'string') return {}
  const agoMs = parseWindow(value)
  const atMs = agoMs === undefined ? Date.parse(value) : nowMs - agoMs
  if (!Number.isNaN(atMs)) return { [member]: new Date(atMs).toISOString() }
  throw misuse(
    `--${member} wants a time such as 2030-01-31T00:00:00Z, or how long ago, such as 2h, not ${JSON.stringify(value)}`,
  )
}

function headersOf(given: Given): Record<string, string> {
  const list = Array.isArray(given) ? (given as readonly string[]) : []
  return Object.fromEntries(
    list.map((header) => {
      const at = header.indexOf(':')
      // What was given may be a secret: it is not quoted.
      if (at < 1) throw misuse("A header is 'name: value'")
      return [header.slice(0, at).trim(), header.slice(at + 1).trim()]
    }),
  )
}

function secretOf({ 'secret-file': path }: Options, { readFile }: Pick<OptionParts, 'readFile'>) {
  if (typeof path !== 'string') return {}
  try {
    return { secret: readFile(path).trim() }
  } catch (error) {
    const { code } = error as { code?: string }
    throw misuse(`--secret-file: cannot read ${JSON.stringify(path)}: ${code ?? 'unreadable'}`)
  }
}

function whereAny(member: string, values: object): Record<string, object> {
  return Object.keys(values).length > 0 ? { [member]: values } : {}
}
