import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type LogLine, parseLogLine } from '../test/support/gatepost.ts'
import { tempFolder } from '../test/support/temp.ts'
import { eventText, parseEvent } from './events.ts'
import type { Doors, Stack } from './stack.ts'
import { cell, mark, paint, print } from './style.ts'
import { faultNote, type TourCase, tour, tourTokens } from './tour.ts'

/**
 * Prints curl lines for the whole tour, then each verdict and each event as it happens, until Ctrl-C.
 * @throws when Gatepost or Envoy ends by itself.
 */
export async function watch(stack: Stack): Promise<void> {
  const { attachment, doors, providers, environment, processes, gatepost } = stack
  await using folder = await tempFolder('demo')
  for (const [name, token] of Object.entries(await tourTokens(providers))) {
    await writeFile(join(folder.path, name), `Authorization: Bearer ${token}\n`, { mode: 0o600 })
  }
  print(`${paint('bold', 'client → Envoy → upstream')}, and Envoy asks Gatepost about each request first.`)
  print(`\nGatepost was started with`)
  for (const [name, value] of Object.entries(environment)) print(`  ${name}=${value}`)
  print(`\nTry these in another terminal (each file holds an Authorization header):`)
  for (const tourCase of tour(attachment, providers)) {
    print(`\n  ${paint('dim', `# ${tourCase.name}: ${tourCase.expected.verdict}`)}`)
    print(`  ${curlLine(tourCase, doors, folder.path)}`)
  }
  print(`\n${faultNote}`)
  print(
    `\nEnvoy serves on ${paint('bold', doors.ingress)}. Verdicts, and events once Envoy's access log has told how it ` +
      'ended, as they happen (Ctrl-C ends everything):\n',
  )

  const stopListening = gatepost.onLine(printLine)
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM'), firstEnd(processes)])
  stopListening()
  print('\nEnding Envoy, Gatepost, the upstreams and the providers')
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
  { door, method = 'GET', path, headers = {}, tokens = [], http2 }: TourCase,
  doors: Doors,
  folder: string,
): string {
  return [
    'curl -i',
    // curl would tidy the detour away before it is sent.
    ...(path.includes('..') ? ['--path-as-is'] : []),
    ...(http2 ? ['--http2-prior-knowledge'] : []),
    ...(method === 'GET' ? [] : [`-X ${method}`]),
    ...tokens.map((name) => `-H @${join(folder, name)}`),
    ...Object.entries(headers).map(([name, value]) => `-H '${name}: ${value}'`),
    `${doors[door]}${path}`,
  ].join(' ')
}

function printLine(line: string): void {
  const event = parseEvent(line)
  if (event)
    print(
      paint('dim', `${clock(event)}     ${eventText(event)} ${'path' in event.data ? event.data.path : ''}`),
    )
  const logged = parseLogLine(line)
  if (logged?.message === 'decision') print(decisionLine(logged))
  if (logged?.message.startsWith('fault')) print(faultLine(logged))
}

function decisionLine(logged: LogLine): string {
  const allowed = logged['decision'] === 'allow'
  const refusal = [logged['status'], logged['reason'], logged['cause']].filter(Boolean).join(' ')
  return [
    paint('dim', clock(logged)),
    mark(allowed),
    cell(paint(allowed ? 'green' : 'red', allowed ? 'allow' : refusal), 42),
    cell(requestOf(logged), 24),
    cell(String(logged['user_id'] ?? 'anonymous'), 18),
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
