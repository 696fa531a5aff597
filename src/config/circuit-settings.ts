import Type from 'typebox'
import type { CircuitSpec, FailureClasses } from '../core/circuits.ts'
import { durationMs, type Parser, Unfit } from './parsers.ts'

const hour = 3_600_000

const gRpcStatuses: Readonly<Record<string, number>> = {
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
}

function count(least: number, most: number): Parser<number> {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
    if (value >= least && value <= most) return value
    throw new Unfit(`a whole number from ${least} to ${most}`)
  }
}

function share(text: string): number {
  const value = /^\d{0,3}(\.\d{1,9})?$/.test(text) ? Number(text) : Number.NaN
  if (value > 0 && value <= 1) return value
  throw new Unfit('a share above 0 and at most 1, such as 0.5')
}

/** Statuses by plus signs: `500`, `5xx`, or a gRPC status by its name. */
function failureClasses(text: string): FailureClasses {
  const words = text.split('+')
  const isHttp = (word: string) => /^[1-5](xx|\d\d)$/.test(word)
  if (words.some((word) => !isHttp(word) && gRpcStatuses[word] === undefined))
    throw new Unfit('HTTP statuses such as 500 or 5xx, or gRPC statuses such as INTERNAL, by +')
  return {
    statuses: words.filter(isHttp).map((word) => [firstOf(word), lastOf(word)]),
    grpcStatuses: words.flatMap((word) => gRpcStatuses[word] ?? []),
  }
}

function firstOf(word: string): number {
  return Number(word.replaceAll('x', '0'))
}

function lastOf(word: string): number {
  return Number(word.replaceAll('x', '9'))
}

/** One setting of a circuit: what it is in the policy file, and how its text is read. */
const settings = {
  failures: {
    parse: count(0, 1_000),
    schema: Type.Integer({
      minimum: 0,
      maximum: 1_000,
      description: 'Failures in a row that open it; 0 for never. Default: 5.',
    }),
  },
  window: {
    parse: durationMs(1_000, hour),
    schema: Type.String({ description: 'Length of the sliding window, 1s to 1h. Default: 30s.' }),
  },
  failure_rate: {
    parse: share,
    schema: Type.Number({
      exclusiveMinimum: 0,
      maximum: 1,
      description: 'Share of failures in the window that opens it. Default: none does.',
    }),
  },
  min_requests: {
    parse: count(1, 1_000_000),
    schema: Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      description: 'Requests in the window before a share says anything. Default: 20.',
    }),
  },
  slow: {
    parse: durationMs(1, hour),
    schema: Type.String({ description: 'An answer that takes longer is slow. Default: none is.' }),
  },
  slow_rate: {
    parse: share,
    schema: Type.Number({
      exclusiveMinimum: 0,
      maximum: 1,
      description: 'Share of slow answers in the window that opens it. Default: 0.8.',
    }),
  },
  open: {
    parse: durationMs(100, hour),
    schema: Type.String({ description: 'How long it stays open the first time, 100ms to 1h. Default: 60s.' }),
  },
  max_open: {
    parse: durationMs(100, 24 * hour),
    schema: Type.String({
      description: 'Each further time it stays open twice as long, up to this. Default: 10m.',
    }),
  },
  probes: {
    parse: count(1, 1_000),
    schema: Type.Integer({
      minimum: 1,
      maximum: 1_000,
      description: 'Good answers in a row that close it when half open. Default: 3.',
    }),
  },
  probe_interval: {
    parse: durationMs(10, hour),
    schema: Type.String({ description: 'While half open, one request passes in so long. Default: 1s.' }),
  },
  failure_on: {
    parse: failureClasses,
    schema: Type.Union([Type.String(), Type.Array(Type.String(), { minItems: 1 })], {
      description:
        'What counts as a failure beside 502, 503, 504, resets, failed connections, timeouts and the gRPC statuses UNAVAILABLE and DEADLINE_EXCEEDED: 500, 5xx, INTERNAL and the like.',
    }),
  },
} as const

type SettingName = keyof typeof settings

/** The circuit of a route in the policy file. */
export const circuitSchema = Type.Union(
  [
    Type.Literal('none'),
    Type.Object(
      Object.fromEntries(
        Object.entries(settings).map(([name, { schema }]) => [name, Type.Optional(schema)]),
      ) as { [N in SettingName]: ReturnType<typeof Type.Optional<(typeof settings)[N]['schema']>> },
      { additionalProperties: false },
    ),
  ],
  {
    description:
      'When requests to the service are refused because it is not answering well. Default: inherited.',
  },
)

/** What a circuit says, each setting as text or as the policy file has it. */
type Written = Partial<Readonly<Record<SettingName, string | number | readonly string[]>>>

/** What a circuit does of which nothing more is said. */
const standard: CircuitSpec = {
  failures: 5,
  windowMs: 30_000,
  minRequests: 20,
  slowRate: 0.8,
  openMs: 60_000,
  maxOpenMs: 600_000,
  probes: 3,
  probeIntervalMs: 1_000,
  failureOn: { statuses: [], grpcStatuses: [] },
}

/**
 * Reads the settings of a circuit.
 * @param complain told of each setting that does not do.
 * @param base what holds where a setting is left out.
 */
export function readCircuit(
  written: Written,
  complain: (setting: SettingName, problem: string) => void,
  base: CircuitSpec = standard,
): CircuitSpec {
  function value<N extends SettingName>(name: N): ReturnType<(typeof settings)[N]['parse']> | undefined {
    const given = written[name]
    if (given === undefined) return undefined
    const text = Array.isArray(given) ? given.join('+') : String(given)
    try {
      return settings[name].parse(text) as ReturnType<(typeof settings)[N]['parse']>
    } catch (error) {
      if (!(error instanceof Unfit)) throw error
      complain(name, `${JSON.stringify(text)} does not do, it must be ${error.message}`)
      return undefined
    }
  }

  const openMs = value('open') ?? base.openMs
  const given: Partial<Record<keyof CircuitSpec, unknown>> = {
    failures: value('failures'),
    windowMs: value('window'),
    failureRate: value('failure_rate'),
    minRequests: value('min_requests'),
    slowMs: value('slow'),
    slowRate: value('slow_rate'),
    maxOpenMs: value('max_open') ?? Math.max(openMs, base.maxOpenMs),
    probes: value('probes'),
    probeIntervalMs: value('probe_interval'),
    failureOn: value('failure_on'),
  }
  const set = Object.entries(given).filter(([, setting]) => setting !== undefined)
  const spec: CircuitSpec = { ...base, openMs, ...Object.fromEntries(set) }
  checkTogether(spec, written, complain)
  return spec
}

function checkTogether(
  spec: CircuitSpec,
  written: Written,
  complain: (setting: SettingName, problem: string) => void,
): void {
  if (spec.maxOpenMs < spec.openMs) complain('max_open', 'it must not be shorter than open')
  if (written.slow_rate !== undefined && spec.slowMs === undefined)
    complain('slow_rate', 'it means nothing without slow')
  if (spec.failures === 0 && spec.failureRate === undefined && spec.slowMs === undefined)
    complain('failures', 'with 0 nothing would ever open it: set failure_rate or slow')
}

const form = 'none, or settings such as failures=5,window=30s,failure_rate=0.5,open=60s'

/** Reads a circuit as the environment spells it: `name=value` by commas, or `none`. */
export function circuitText(text: string): CircuitSpec | 'none' {
  if (text === 'none') return 'none'
  const written: Record<string, string> = {}
  for (const entry of text.split(',')) {
    const [, name = '', value = ''] = /^\s*([a-z_]+)\s*=\s*(\S+)\s*$/.exec(entry) ?? []
    if (!Object.hasOwn(settings, name))
      throw new Unfit(`${form}; ${JSON.stringify(entry)} is none of ${Object.keys(settings).join(', ')}`)
    if (Object.hasOwn(written, name)) throw new Unfit(`${form}; ${name} is there twice`)
    written[name] = value
  }
  const problems: string[] = []
  const spec = readCircuit(written, (name, problem) => problems.push(`${name}: ${problem}`))
  if (problems.length > 0) throw new Unfit(`${form}; ${problems.join('; ')}`)
  return spec
}
