import { parseArgs } from 'node:util'
import { type Place, places } from './events.ts'
import { type SetupName, setups } from './setups.ts'

/** What the benchmark can be asked for by name, beside the setups. */
const guardName = 'exact'
const checkName = 'check'
const floodName = 'flood'
const eventsName = 'events'

/** What is run only where it is asked for by name. */
const apart: readonly string[] = [guardName, floodName, eventsName]

/** What the benchmark is asked for. */
export interface Arguments {
  help: boolean
  /** Measure Check by ghz. */
  check: boolean
  /** Setups to measure. */
  names: readonly SetupName[]
  /** Run the guard. */
  exact: boolean
  /** Measure good callers beside a flood of bad tokens. */
  flood: boolean
  /** Measure what events cost, by where they go. */
  events: boolean
  seconds: number
  rounds: number
  requests: number
  /** Where "events" lets events go, beside nowhere. */
  places: readonly Place[]
  /** Gateposts for each place of "events". */
  processes: number
  /** Requests in a second of "events"; `Infinity` for as many as are answered. */
  rate: number
  /** A folder for V8's CPU profiles of each Gatepost. */
  profile: string | undefined
}

/** Arguments that cannot be used. */
export class UsageError extends Error {}

/** What `--help` says. */
export const help = `Gatepost's benchmark: requests per second, latency, and the CPU that each process takes for 1,000
requests. Everything runs on 127.0.0.1, and ends by itself.

Usage: npm run bench -- [NAME…] [options]

NAME chooses parts; without any, all but the last three are run:
  ${checkName.padEnd(18)}Check calls straight at Gatepost, by ghz
${Object.entries(setups)
  .map(([name, { title }]) => `  ${name.padEnd(18)}${title}`)
  .join('\n')}
  ${guardName.padEnd(18)}no figures: sends --requests requests through each setup that Gatepost observes, and
                    fails unless all are answered and each has exactly one request.completed event
  ${floodName.padEnd(18)}how long good callers wait while others show bad tokens, judged by introspection
  ${eventsName.padEnd(18)}what events cost, by where they go: nowhere, to a file, to Kafka, to RabbitMQ

  --seconds N       length of a round (default 5)
  --rounds N        rounds of each part, in turns: A B C, A B C (default 3)
  --requests N      requests of "${guardName}" for each setup (default 20000)
  --rate N|full     requests in a second of "${eventsName}", or as many as are answered (default 500)
  --places A,B      where "${eventsName}" lets events go, beside nowhere: ${places.join(', ')} (default all)
  --processes N     Gateposts of "${eventsName}" for each place (default 3)
  --profile FOLDER  write V8's CPU profile of each Gatepost there
  --help            this text

Exit code: 0, or 1 where any request failed or a count was wrong.
`

/** @throws UsageError */
export function parseArguments(args: string[]): Arguments {
  const { values, positionals } = parse(args)
  for (const name of positionals) requireKnown(name)
  const measured = positionals.filter((name) => !apart.includes(name))
  const isAsked = (name: string) => (positionals.length === 0 ? true : measured.includes(name))
  return {
    help: values.help,
    check: isAsked(checkName),
    names: (Object.keys(setups) as SetupName[]).filter(isAsked),
    exact: positionals.includes(guardName),
    flood: positionals.includes(floodName),
    events: positionals.includes(eventsName),
    seconds: wholeNumber('--seconds', values.seconds),
    rounds: wholeNumber('--rounds', values.rounds),
    requests: wholeNumber('--requests', values.requests),
    places: values.places.split(',').map(knownPlace),
    processes: wholeNumber('--processes', values.processes),
    rate: values.rate === 'full' ? Number.POSITIVE_INFINITY : wholeNumber('--rate', values.rate),
    profile: values.profile,
  }
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        seconds: { type: 'string', default: '5' },
        rounds: { type: 'string', default: '3' },
        requests: { type: 'string', default: '20000' },
        places: { type: 'string', default: places.join(',') },
        processes: { type: 'string', default: '3' },
        rate: { type: 'string', default: '500' },
        profile: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function requireKnown(name: string): void {
  const known = [checkName, ...Object.keys(setups), ...apart]
  if (!known.includes(name)) throw new UsageError(`There is no part "${name}": choose of ${known.join(', ')}`)
}

function knownPlace(name: string): Place {
  const place = places.find((each) => each === name)
  if (place === undefined) throw new UsageError(`There is no place "${name}": choose of ${places.join(', ')}`)
  return place
}

function wholeNumber(option: string, text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text)
  throw new UsageError(`${option} takes a whole number from 1 on, not "${text}"`)
}
