import { resolve } from 'node:path'
import { type Arguments, help, parseArguments, UsageError } from './arguments.ts'
import { eventsCostTable, measureEvents } from './events.ts'
import { countExactly, type ExactCount, isExact } from './exact.ts'
import { floodTable, measureFlood } from './flood.ts'
import { measureCheck, measureSetup, type Round } from './measure.ts'
import { countsTable, figuresTable, noise, type Row } from './report.ts'
import { isObserved, type SetupName, setups } from './setups.ts'
import { type Stack, type StackOptions, startStack } from './stack.ts'
import { describeMachine } from './versions.ts'

const exitCodes = { ok: 0, failed: 1, usage: 64, interrupted: 130 }

/** Nothing cold is measured: first every part runs so long without being counted. */
const warmUpSeconds = 2

interface Part {
  title: string
  run: (seconds: number) => Promise<Round>
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

function progress(line: string): void {
  process.stderr.write(`… ${line}\n`)
}

function partsOf(stack: Stack): Part[] {
  const { checked, setups: running } = stack
  const bySetup = running.map((setup) => ({
    title: setup.title,
    run: (seconds: number) => measureSetup(stack, setup, seconds),
  }))
  if (!checked) return bySetup
  const check = { title: 'Check alone', run: (seconds: number) => measureCheck(checked, seconds, stack) }
  return [check, ...bySetup]
}

/** Measures all parts in turns, so that a noisy minute does not fall on one of them alone. */
async function measureAll(stack: Stack, { rounds, seconds }: Arguments): Promise<Row[]> {
  const rows = partsOf(stack).map((part) => ({ ...part, rounds: [] as Round[] }))
  for (const { title, run } of rows) {
    progress(`warming up: ${title}`)
    await run(warmUpSeconds)
  }
  for (let round = 1; round <= rounds; round += 1) {
    for (const row of rows) {
      progress(`round ${round} of ${rounds}: ${row.title}`)
      row.rounds.push(await row.run(seconds))
    }
  }
  return rows
}

async function figures(args: Arguments, options: StackOptions): Promise<boolean> {
  await using stack = await startStack(options)
  const rows = await measureAll(stack, args)
  print(`${args.rounds} rounds of ${args.seconds} s each; every figure: median (best).`)
  print('CPU: milliseconds per 1,000 requests, user and system.')
  print(`${noise(rows)}\n`)
  print(figuresTable(rows))
  return rows.every(({ rounds }) => rounds.every(({ failures }) => failures === 0))
}

async function guard({ requests }: Arguments, options: StackOptions): Promise<boolean> {
  const names = (Object.keys(setups) as SetupName[]).filter(isObserved)
  await using stack = await startStack({ ...options, names, check: false, events: true })
  const counts: ExactCount[] = []
  for (const setup of stack.setups) {
    progress(`${requests} requests: ${setup.title}`)
    counts.push(await countExactly(stack, setup, requests))
  }
  const isRight = (count: ExactCount) => isExact(count, requests)
  print(countsTable(counts, isRight))
  return counts.every(isRight)
}

async function bench(args: Arguments): Promise<number> {
  const { names, check, profile } = args
  const environment = profile === undefined ? {} : profiling(resolve(profile))
  const options: StackOptions = { names, check, events: false, environment, progress }
  print(`${await describeMachine(progress)}\n`)
  const good: boolean[] = []
  if (check || names.length > 0) good.push(await figures(args, options))
  if (args.exact) good.push(await guard(args, options))
  if (args.flood) good.push(await flood(args))
  if (args.events) good.push(await events(args, options))
  return good.every(Boolean) ? exitCodes.ok : exitCodes.failed
}

async function flood({ seconds, rounds }: Arguments): Promise<boolean> {
  const phases = await measureFlood(seconds, rounds, progress)
  print(floodTable(phases))
  return phases.every(({ notAllowed }) => notAllowed === 0)
}

async function events(
  { places, seconds, rounds, processes, rate }: Arguments,
  options: StackOptions,
): Promise<boolean> {
  const rows = await measureEvents({ ...options, places, seconds, rounds, processes, rate })
  print(eventsCostTable(rows))
  const all = rows.flatMap((row) => row.processes).flat()
  return all.every(({ failures }) => failures === 0)
}

function profiling(folder: string): Record<string, string> {
  return { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${folder}` }
}

async function main(args: string[]): Promise<number> {
  try {
    const parsed = parseArguments(args)
    if (!parsed.help) return await bench(parsed)
    process.stdout.write(help)
    return exitCodes.ok
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    return error instanceof UsageError ? exitCodes.usage : exitCodes.failed
  }
}

// What runs then is ended by what guards each child process.
process.once('SIGINT', () => process.exit(exitCodes.interrupted))
process.exitCode = await main(process.argv.slice(2))
