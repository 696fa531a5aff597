import { once } from 'node:events'
import type { GatewayEvent } from '../src/core/events.ts'
import { type LogLine, parseLogLine } from '../test/support/gatepost.ts'
import { credentialFile, tourCredentials, writeCredentials } from './credentials.ts'
import { eventText, parseEvent } from './events.ts'
import type { Stack } from './stack.ts'
import { cell, heading, mark, paint, print } from './style.ts'
import { tour } from './tour.ts'
import type { Section, TourCase } from './tour-case.ts'

/**
 * Prints curl lines for the whole tour, then each verdict and each event as it happens, until Ctrl-C.
 * @throws when Gatepost or Envoy ends by itself.
 */
export async function watch(stack: Stack): Promise<void> {
  const { doors, environment, files, processes, gatepost } = stack
  const credentials = await tourCredentials(stack)
  await writeCredentials(files.folder, credentials)
  print(`${paint('bold', 'client → Envoy → upstream')}, and Envoy asks Gatepost about each request first.`)
  print(`\nGatepost was started with`)
  for (const [name, value] of Object.entries(environment)) print(`  ${name}=${value}`)
  print(`\nTry these in another terminal (@FILE holds a header; everything is in ${files.folder}):`)
  for (const section of tour(stack, credentials)) printSection(section, stack)
  print(
    `\nEnvoy serves on ${paint('bold', doors.ingress)}. Verdicts, and events once Envoy's access log has told how it ` +
      'ended, as they happen (Ctrl-C ends everything):\n',
  )

  const stopListening = gatepost.onLine(printLine)
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM'), firstEnd(processes)])
  stopListening()
  print('\nEnding Envoy, Gatepost, the upstreams and the providers')
}

function printSection({ title, about, cases, commands = [] }: Section, stack: Stack): void {
  print(heading(title))
  if (about !== undefined) print(about)
  for (const tourCase of cases) {
    const { name, before, expected } = tourCase
    if (before) printHint(before.does, before.line)
    printHint(`${name}: ${expected.verdict}`, curlLine(tourCase, stack))
  }
  for (const { name, expected, line } of commands) printHint(`${name}, in this checkout: ${expected}`, line)
}

function printHint(says: string, line: string): void {
  print(`\n  ${paint('dim', `# ${says}`)}`)
  print(`  ${line}`)
}

async function firstEnd(processes: Stack['processes']): Promise<never> {
  return Promise.race(
    processes.map(async (child) => {
      const how = await child.ended
      throw new Error(`${child.name} ended by itself: ${how}\n${child.lastWords()}`)
    }),
  )
}

function curlLine(
  { door = 'ingress', method = 'GET', path, headers = {}, credentials = [], http2 }: TourCase,
  { doors, files: { folder } }: Stack,
): string {
  return [
    'curl -i',
    // curl would tidy the detour away before it is sent.
    ...(path.includes('..') ? ['--path-as-is'] : []),
    ...(http2 ? ['--http2-prior-knowledge'] : []),
    ...(method === 'GET' ? [] : [`-X ${method}`]),
    ...(door === 'mtls'
      ? [`--cacert ${folder}/ca.pem --cert ${folder}/client.pem --key ${folder}/client-key.pem`]
      : []),
    ...credentials.map((name) => `-H @${credentialFile(folder, name)}`),
    ...Object.entries(headers).map(([name, value]) => `-H '${name}: ${value}'`),
    `${doors[door]}${path}`,
  ].join(' ')
}

function printLine(line: string): void {
  const event = parseEvent(line)
  if (event) print(paint('dim', `${clock(event)}     ${eventText(event)} ${pathOf(event)}`))
  const logged = parseLogLine(line)
  if (logged?.message === 'decision') print(decisionLine(logged))
  if (logged?.message.startsWith('fault')) print(faultLine(logged))
  if (logged?.message.startsWith('file ')) for (const text of fileLines(logged)) print(text)
}

function pathOf({ data }: GatewayEvent): string {
  return 'path' in data ? data.path : ''
}

function fileLines(logged: LogLine): string[] {
  const problems = (logged['problems'] ?? []) as readonly string[]
  const line = `${logged.message}: ${logged['path']}`
  return [
    `${paint('dim', clock(logged))}  ${mark(problems.length === 0)}  ${line}`,
    ...problems.map((problem) => paint('red', `             ${problem}`)),
  ]
}

function decisionLine(logged: LogLine): string {
  const allowed = logged['decision'] === 'allow'
  const refusal = [logged['status'], logged['reason'], logged['cause']].filter(Boolean).join(' ')
  return [
    paint('dim', clock(logged)),
    mark(allowed),
    cell(paint(allowed ? 'green' : 'red', allowed ? 'allow' : refusal), 42),
    cell(requestOf(logged), 24),
    cell(String(logged['user_id'] ?? logged['client_id'] ?? 'anonymous'), 22),
    paint('dim', `${logged['duration_ms']} ms`),
  ].join('  ')
}

function faultLine(logged: LogLine): string {
  const { part, exception } = logged
  const message = typeof exception === 'object' && exception !== null && 'message' in exception
  return [
    paint('dim', clock(logged)),
    paint('yellow', `! ${[logged.message, part].filter(Boolean).join(' in ')}`),
    requestOf(logged),
    message ? String(exception.message) : '',
  ].join('  ')
}

function requestOf({ method, path }: LogLine): string {
  return [method, path].filter(Boolean).join(' ')
}

function clock({ timestamp }: { timestamp: string }): string {
  return new Date(timestamp).toTimeString().slice(0, 8)
}
