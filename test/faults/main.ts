import { writeFile } from 'node:fs/promises'
import { cpus, getPriority } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { exitCodes } from '../../src/core/exit-codes.ts'
import { type FaultName, faults } from './faults.ts'
import { eventsTable, pathTable } from './report.ts'
import { type Row, runRow } from './row.ts'
import { startStage } from './stage.ts'

const help = `What becomes of events, and of requests, while something fails: real Kafka and RabbitMQ at once, a real Envoy.

Usage: npm run test:faults -- [options]

  --only NAME       one fault alone; may be given more than once:
                    ${Object.keys(faults).join(', ')}
  --requests N      requests for each fault (default 50000, with --short 2000)
  --per-second N    how many of them are due in a second (default 500)
  --short           short faults, in some minutes all together
  --write           writes docs/events/faults.md
  --help            this text

Exit code: 0, or 1 where an event was lost that is neither counted nor within a window that docs/events/durability.md
states, or a request was harmed.
`

const documentFile = fileURLToPath(new URL('../../docs/events/faults.md', import.meta.url))

interface Options {
  names: readonly FaultName[]
  requests: number
  perSecond: number
  isShort: boolean
  write: boolean
}

process.exitCode = await main(process.argv.slice(2))

async function main(args: string[]): Promise<number> {
  let options: Options | undefined
  try {
    options = parse(args)
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    return exitCodes.usage
  }
  if (options) return run(options)
  process.stdout.write(help)
  return exitCodes.ok
}

/** @returns undefined where help is asked for. @throws Error where an argument cannot be used. */
function parse(args: string[]): Options | undefined {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string', multiple: true, default: [] },
      requests: { type: 'string' },
      'per-second': { type: 'string', default: '500' },
      short: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return undefined
  return {
    names: namesOf(values.only),
    requests: wholeNumber('--requests', values.requests ?? (values.short ? '2000' : '50000')),
    perSecond: wholeNumber('--per-second', values['per-second']),
    isShort: values.short,
    write: values.write,
  }
}

function namesOf(only: readonly string[]): FaultName[] {
  const all = Object.keys(faults) as FaultName[]
  const unknown = only.find((name) => !(name in faults))
  if (unknown !== undefined) throw new Error(`There is no fault "${unknown}": choose of ${all.join(', ')}`)
  return only.length === 0 ? all : all.filter((name) => only.includes(name))
}

function wholeNumber(option: string, text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text)
  throw new Error(`${option} takes a whole number from 1 on, not "${text}"`)
}

async function run({ names, write, ...options }: Options): Promise<number> {
  await using stage = await startStage(progress)
  const rows: Row[] = []
  for (const name of names) {
    progress(`${faults[name].title}: ${options.requests} requests, ${options.perSecond} a second`)
    const row = await runRow(stage, name, options)
    for (const problem of row.problems) progress(`${row.title}: ${problem}`)
    rows.push(row)
  }
  const tables = { events: eventsTable(rows), path: pathTable(rows) }
  process.stdout.write(`${tables.events}\n\n${tables.path}\n`)
  if (write) await writeFile(documentFile, documentOf(tables, options))
  const failed = rows.filter(({ problems }) => problems.length > 0).length
  process.stdout.write(`\n${rows.length - failed} passed, ${failed} failed\n`)
  return failed === 0 ? exitCodes.ok : exitCodes.failed
}

function progress(line: string): void {
  process.stderr.write(`… ${line}\n`)
}

function documentOf(
  { events, path }: { events: string; path: string },
  { requests, perSecond }: Pick<Options, 'requests' | 'perSecond'>,
): string {
  return `# What faults cost, measured

\`npm run test:faults -- --write\` has written this: ${requests.toLocaleString('en-US')} requests for each fault, ${perSecond} due in a second whatever the
answers take, after 1,000 more to warm up. What may be lost, and why, is in [durability.md](durability.md).

Real Kafka and RabbitMQ were attached at once, each behind a proxy; requests went through a real Envoy with the bundled
\`envoy/ext-authz.yaml\` and an API key, one in twenty with a bad one. Each request has a path of its own, so that every event
can be held against the answer that its caller got: each answer is one \`request.completed\` that is due, and each refusal one
\`auth.failed\` as well. All ran on one machine with ${cpus().length} cores that other work shared (nice ${getPriority()}): read ratios, and no time for itself.

## Events

${events}

- **Twice**: deliveries beyond the first of the same \`id\`.
- **In a stated window**: missing, and answered less than a flush interval of the access log (100 ms) and a batch (20 ms) before
  the kill; for what \`decide\` tells, a batch. How long before it the oldest was answered stands beside it; the check allows
  400 ms more, for timers that a busy machine rings late.
- **While no Gatepost ran**: missing, and answered by Envoy alone, with 503. Its access log had nobody to go to.
- **Lost**: missing for any other reason. **Counted**: what \`gateway_events_dropped_total\` says of it, type by type the same.

Fields, headers and schemas of every event were checked, that no request was told under two ids, and that both brokers got the
events of each client in the same order.

## Requests

Latency is from when a request was due to its answer. "During" are requests that were due while the fault lasted, "before" and
"after" the others of the same load. An error is any answer but 200 to a good key and 401 to a bad one.

${path}
`
}
