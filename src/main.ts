import { readFileSync } from 'node:fs'
import { type App, explainOffline, startApp } from './app.ts'
import { askRunning, createAskAdmin } from './ask-running.ts'
import { newApiKey } from './auth/api-keys.ts'
import { type Invocation, type Options, parseArguments } from './cli/arguments.ts'
import { type Probe, runChecks } from './cli/check.ts'
import { circuitsCommand } from './cli/circuits.ts'
import { eventsCommand } from './cli/events.ts'
import { type Answered, explainCommand } from './cli/explain.ts'
import { helpText } from './cli/help.ts'
import { newKey } from './cli/keys.ts'
import { lintCommand } from './cli/lint.ts'
import { webhooksCommand } from './cli/webhooks.ts'
import { readAdminSettings } from './config/admin-settings.ts'
import { readDeliverSettings } from './config/deliver-settings.ts'
import { nearest } from './config/nearest.ts'
import { readSettings, type Settings } from './config/settings.ts'
import { describeVariables } from './config/variables.ts'
import { CannotStart } from './core/cannot-start.ts'
import { exitCodes } from './core/exit-codes.ts'
import type { ExplainRequest } from './core/explain-request.ts'
import { showAddress } from './core/listen.ts'
import { asyncApiText } from './events/asyncapi.ts'
import { describeEvents } from './events/catalogue-entries.ts'
import { calmGarbageCollections } from './garbage.ts'
import { readFiles } from './lint/files.ts'
import { lint, listedRules } from './lint/lint.ts'
import { createLoggers } from './observability/logger.ts'
import { probeOfReadiness, probesOf } from './probes.ts'
import { type Surroundings, systemClock } from './surroundings.ts'

/** How long what is still open may keep the process once it is done: lines under way get out, frozen peers do not. */
const lingerMs = 1_000

/** By its number: the stream of it would not wait for what comes by a pipe. */
const standardInput = 0

process.exitCode = await main(process.argv.slice(2))
setTimeout(() => process.exit(), lingerMs).unref()

async function main(argv: readonly string[]): Promise<number> {
  const invocation = parseArguments(argv)
  switch (invocation.kind) {
    case 'version':
      return answer(`gatepost ${version()}\n`)
    case 'help':
      return answer(helpText(invocation.command, describeVariables()))
    case 'misuse':
      return complain(`${invocation.problem}. Try gatepost --help\n`, exitCodes.usage)
    case 'run':
      return run(invocation)
  }
}

async function run(invocation: Extract<Invocation, { kind: 'run' }>): Promise<number> {
  const { command, operands, options } = invocation
  if (command === 'keys')
    return newKey(options, newApiKey, { answer, complain: (text) => process.stderr.write(text) })
  if (command === 'events') return listEvents(operands, options)
  if (command === 'lint') return lintFiles(operands, options)
  if (command === 'webhooks' || command === 'circuits') return manage(invocation)
  if (command === 'deliver') return deliver(options)
  if (command === 'explain') return explain(operands, options)
  const read = readSettings(process.env)
  if (read.kind === 'problems') return complain(listProblems(read.problems), exitCodes.configuration)
  switch (command) {
    case 'serve':
      calmGarbageCollections()
      return serve(read.settings)
    case 'check':
      return runChecks(probesFor(read.settings, options), (text) => process.stdout.write(text))
  }
}

function probesFor(settings: Settings, options: Options): Probe[] {
  return options['ready'] ? [probeOfReadiness(settings)] : probesOf(settings, Date.now())
}

function listEvents(operands: readonly string[], options: Options): number {
  return eventsCommand(operands, options, {
    entries: describeEvents(),
    asyncApi: (format) => asyncApiText(version(), format),
    nearest,
    answer,
    complain: (text) => process.stderr.write(text),
  })
}

function lintFiles(operands: readonly string[], options: Options): Promise<number> {
  return lintCommand(operands, options, {
    rules: listedRules,
    async lint(names) {
      const { files, problems } = await readFiles(names, process.stdin)
      const result = lint(files)
      return { files: files.length, ...result, problems: [...problems, ...result.problems] }
    },
    answer,
    complain: (text) => process.stderr.write(text),
  })
}

/** Manages what the Gatepost on the admin address has. */
async function manage({
  command,
  action = '',
  operands,
  options,
}: Extract<Invocation, { kind: 'run' }>): Promise<number> {
  const read = readAdminSettings(process.env)
  if (read.kind === 'problems') return complain(listProblems(read.problems), exitCodes.configuration)
  const parts = {
    ask: createAskAdmin(read.settings),
    address: showAddress(read.settings.admin.address),
    readFile: (path: string) => readFileSync(path === '-' ? standardInput : path, 'utf8'),
    now: Date.now,
    answer,
    complain: (text: string) => process.stderr.write(text),
  }
  try {
    return command === 'webhooks'
      ? await webhooksCommand(action, operands, options, parts)
      : await circuitsCommand(action, operands, options, parts)
  } catch (error) {
    if (error instanceof CannotStart) return complain(`${error.message}\n`, exitCodes.unavailable)
    throw error
  }
}

/** Asks the Gatepost that runs on the admin address; where none does, the configuration alone answers. */
async function explain(operands: readonly string[], options: Options): Promise<number> {
  const explaining = explainCommand(operands, options, {
    async ask(request) {
      const read = readAdminSettings(process.env)
      // Whatever else is wrong is told together with that.
      if (read.kind === 'problems') return explainAlone(request)
      const running = await askRunning(read.settings, request)
      if (!running) return explainAlone(request)
      const address = showAddress(read.settings.admin.address)
      return { explanation: running, by: `says the gatepost that runs on ${address}` }
    },
    answer,
    complain: (text) => process.stderr.write(text),
    colour: process.stdout.isTTY === true && !process.env['NO_COLOR'],
  })
  return explaining.catch(unlessCannotStart)
}

/** Answers by the environment of this process, which must then be whole. */
async function explainAlone(request: ExplainRequest): Promise<Answered | number> {
  const read = readSettings(process.env)
  if (read.kind === 'problems') return complain(listProblems(read.problems), exitCodes.configuration)
  const surroundings = {
    clock: systemClock,
    monotonicMs: () => performance.now(),
    loggers: createLoggers({ ...read.settings.log, level: 'silent' }),
  }
  return {
    explanation: await explainOffline(read.settings, surroundings, request),
    by: 'from the configuration alone: no gatepost runs on the admin address, counters are as new',
  }
}

function unlessCannotStart(error: unknown): number {
  if (error instanceof CannotStart) return complain(listProblems([error.message]), exitCodes.configuration)
  throw error
}

/** Runs beside Envoy. */
function serve(settings: Settings): Promise<number> {
  return runUntilSignal(settings.log, (surroundings) => startApp(settings, surroundings))
}

/** Delivers webhooks out of RabbitMQ, or sends its dead letters back to be delivered. */
async function deliver(options: Options): Promise<number> {
  const read = readDeliverSettings(process.env)
  if (read.kind === 'problems') return complain(listProblems(read.problems), exitCodes.configuration)
  const { settings } = read
  const { replayDeadLetters, startDelivery } = await import('./deliver.ts')
  if (!options['replay-dead'])
    return runUntilSignal(settings.log, (surroundings) => startDelivery(settings, surroundings))
  try {
    const loggers = createLoggers(settings.log)
    const { replayed, left } = await replayDeadLetters(settings, { clock: systemClock, loggers })
    return answer(`${replayed} sent back to be delivered, ${left} left where they are\n`)
  } catch (error) {
    return complain(`Cannot replay dead letters: ${(error as Error).message}\n`, exitCodes.unavailable)
  }
}

/** Runs until a signal asks for the end; a second one does not wait for it. */
async function runUntilSignal(
  log: Settings['log'],
  start: (surroundings: Surroundings) => Promise<App>,
): Promise<number> {
  const loggers = createLoggers(log)
  const asked = stopSignal()
  // From the beginning: unheard, the signal would be the end.
  let reload: App['reload'] = () => undefined
  process.on('SIGHUP', () => reload())
  try {
    const app = await start({ clock: systemClock, monotonicMs: () => performance.now(), loggers })
    // A fault that nobody foresaw belongs to one request; the others go on.
    process.on('uncaughtException', app.unforeseen)
    process.on('unhandledRejection', app.unforeseen)
    reload = app.reload
    await asked
    await app.stop()
    return exitCodes.ok
  } catch (error) {
    if (!(error instanceof CannotStart)) loggers.flush()
    return unlessCannotStart(error)
  }
}

function stopSignal(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      resolve()
      process.once(signal, () => process.exit(exitCodes.failed))
    })
  }
  return promise
}

function listProblems(problems: readonly string[]): string {
  const title =
    problems.length === 1
      ? 'The configuration has a problem'
      : `The configuration has ${problems.length} problems`
  return `${title}:\n${problems.map((problem) => `- ${problem.replaceAll('\n', '\n  ')}\n`).join('')}`
}

function version(): string {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  return version
}

function answer(text: string): number {
  process.stdout.write(text)
  return exitCodes.ok
}

function complain(text: string, exitCode: number): number {
  process.stderr.write(text)
  return exitCode
}
