import { runGatepost } from '../test/support/command.ts'
import { type Credentials, tourCredentials } from './credentials.ts'
import { collectEvents, type EventStream, eventMismatches, eventText } from './events.ts'
import { type Reply, sendHttp1, sendHttp2 } from './send.ts'
import type { Stack } from './stack.ts'
import { cell, heading, mark, paint, print } from './style.ts'
import { tour } from './tour.ts'
import type { Section, TourCase, TourCommand } from './tour-case.ts'
import { mismatches, shownHeaders, verdictOf } from './verdict.ts'

/** What came of one stop. */
interface Visit {
  /** In the words of `verdictOf`. */
  seen: string
  reply?: Reply
  /** What there is to tell beside, line by line. */
  told: readonly string[]
  /** What was not as expected; empty if all was. */
  problems: readonly string[]
}

/** Somebody who walks the tour. */
interface Walker {
  stack: Stack
  credentials: Credentials
  events: EventStream
  row: (name: string, request: string, expected: string, seen: string) => string
}

/**
 * Walks the tour and prints each request with the expected and the seen verdict, and the events that Gatepost made of
 * it.
 * @returns whether every request went as expected.
 */
export async function checkTour(stack: Stack): Promise<boolean> {
  using events = collectEvents(stack.gatepost)
  const credentials = await tourCredentials(stack)
  const sections = tour(stack, credentials)
  const walker = { stack, credentials, events, row: rowOf(sections) }

  print(paint('dim', `  ${walker.row('', 'request', 'expected', 'seen')}`))
  const results: boolean[] = []
  for (const section of sections) {
    print(heading(section.title))
    if (section.about !== undefined) print(paint('dim', section.about))
    results.push(...(await walk(section, walker)))
  }
  const failed = results.filter((good) => !good).length
  print(`\n${results.length - failed} as expected, ${failed} not`)
  return failed === 0
}

/** @returns for each stop whether it went as expected. */
async function walk({ cases, commands = [] }: Section, walker: Walker): Promise<boolean[]> {
  const results: boolean[] = []
  let last: Reply | undefined
  for (const tourCase of cases) {
    const visited = await arrive(tourCase, walker, last)
    last = visited.reply
    printVisit(
      walker.row(tourCase.name, requestLine(tourCase), tourCase.expected.verdict, visited.seen),
      visited,
    )
    results.push(visited.problems.length === 0)
  }
  for (const command of commands) {
    const visited = await ask(command, walker.stack)
    printVisit(walker.row(command.name, commandLine(command), command.expected, visited.seen), visited)
    results.push(visited.problems.length === 0)
  }
  return results
}

function printVisit(line: string, { told, problems }: Visit): void {
  print(`${mark(problems.length === 0)} ${line}`)
  for (const text of told) print(paint('dim', `    ${text}`))
  for (const problem of problems) print(paint('red', `    ${problem}`))
}

/** Does what is to be done first, then sends the request until it goes as expected or its time is up. */
async function arrive(tourCase: TourCase, walker: Walker, last: Reply | undefined): Promise<Visit> {
  const { before, patienceMs = 0 } = tourCase
  try {
    const [came = '', ...more] = (await before?.run(last)) ?? []
    if (before) print(paint('cyan', `  → ${before.does}${came && `: ${came}`}`))
    for (const line of more) print(paint('dim', `    ${line}`))
    return await insist(tourCase, walker, patienceMs)
  } catch (error) {
    return { seen: 'no reply', told: [], problems: [(error as Error).message] }
  }
}

async function insist(tourCase: TourCase, walker: Walker, patienceMs: number): Promise<Visit> {
  const startedMs = performance.now()
  for (let attempt = 1; ; attempt += 1) {
    const sentAfterMs = performance.now() - startedMs
    const visited = await visit(tourCase, walker)
    if (visited.problems.length > 0 && sentAfterMs < patienceMs) continue
    if (patienceMs === 0) return visited
    const tries = `request ${attempt}, sent after ${(sentAfterMs / 1_000).toFixed(1)} s`
    return { ...visited, told: [...visited.told, tries] }
  }
}

async function visit(tourCase: TourCase, { stack, credentials, events }: Walker): Promise<Visit> {
  const { expected, shows = [] } = tourCase
  const reply = await send(tourCase, stack, credentials)
  const seen = verdictOf(reply)
  const shown = shownHeaders(shows, reply).join(' · ')
  // An event that nobody waits for here would be one too many for the next request.
  const told = expected.events === 'none' ? [] : await events.untilCompleted()
  const missed = expected.events === 'none' ? [] : eventMismatches(expected.events, reply.status, told)
  return {
    seen,
    reply,
    told: [told.map(eventText).join(' · ') || 'no event', ...(shown ? [shown] : [])],
    problems: [...mismatches(expected, reply), ...missed],
  }
}

function send(
  { door = 'ingress', method = 'GET', path, headers = {}, credentials: names = [], http2 }: TourCase,
  { doors, certificates: { ca, client } }: Stack,
  credentials: Credentials,
): Promise<Reply> {
  const shown: Record<string, string[]> = {}
  for (const name of names) {
    const [header, value] = credentials[name]
    shown[header] = [...(shown[header] ?? []), value]
  }
  const request = { method, path, headers: { ...headers, ...shown } }
  return http2 ? sendHttp2(doors[door], request) : sendHttp1(doors[door], request, { ca, ...client })
}

/** Runs a command of `gatepost`; what it says of the verdict is what is seen. */
async function ask({ args, expected }: TourCommand, { cli }: Stack): Promise<Visit> {
  const { code, stdout, stderr } = await runGatepost(args, cli.environment)
  const lines = stdout.split('\n')
  const seen = lines.find((line) => line.startsWith(expected)) ?? `exit code ${code}`
  const isGood = code === 0 && seen === expected
  return { seen, told: [], problems: isGood ? [] : [stderr.trim(), ...lines] }
}

function rowOf(sections: readonly Section[]): Walker['row'] {
  const cases = sections.flatMap((section) => section.cases)
  const commands = sections.flatMap((section) => section.commands ?? [])
  const widths = {
    name: widest([...cases, ...commands].map(({ name }) => name)),
    request: widest([...cases.map(requestLine), ...commands.map(commandLine)]),
    expected: widest([
      ...cases.map(({ expected }) => expected.verdict),
      ...commands.map((one) => one.expected),
    ]),
  }
  return (name, request, expected, seen) =>
    [cell(name, widths.name), cell(request, widths.request), cell(expected, widths.expected), seen].join('  ')
}

function requestLine({ method = 'GET', path }: TourCase): string {
  return `${method} ${path}`
}

function commandLine({ args: [command, method, path] }: TourCommand): string {
  return `${command} ${method} ${path}`
}

function widest(texts: readonly string[]): number {
  return Math.max(...texts.map((text) => text.length))
}
