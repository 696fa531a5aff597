import { collectEvents, type EventStream, eventMismatches, eventText } from './events.ts'
import { type Reply, sendHttp1, sendHttp2 } from './send.ts'
import type { Doors, Stack } from './stack.ts'
import { cell, mark, paint, print } from './style.ts'
import { faultNote, type Tokens, type TourCase, tour, tourTokens } from './tour.ts'
import { mismatches, verdictOf } from './verdict.ts'

/**
 * Walks the tour and prints each request with the expected and the seen verdict, and the events that Gatepost made of
 * it.
 * @returns whether every request went as expected.
 */
export async function checkTour({ attachment, doors, providers, gatepost }: Stack): Promise<boolean> {
  using events = collectEvents(gatepost)
  const cases = tour(attachment, providers)
  const tokens = await tourTokens(providers)
  const widths = {
    name: widest(cases.map(({ name }) => name)),
    request: widest(cases.map(requestLine)),
    expected: widest(cases.map(({ expected }) => expected.verdict)),
  }
  const row = (name: string, request: string, expected: string, seen: string) =>
    [cell(name, widths.name), cell(request, widths.request), cell(expected, widths.expected), seen].join('  ')

  print(paint('dim', `  ${row('request', '', 'expected', 'seen')}`))
  let failed = 0
  for (const tourCase of cases) {
    const { seen, told, problems } = await visit(tourCase, doors, tokens, events)
    const line = row(tourCase.name, requestLine(tourCase), tourCase.expected.verdict, seen)
    print(`${mark(problems.length === 0)} ${line}`)
    print(paint('dim', `    ${told}`))
    for (const problem of problems) print(paint('red', `    ${problem}`))
    failed += problems.length === 0 ? 0 : 1
  }
  print(`\n${paint('dim', faultNote)}`)
  print(`\n${cases.length - failed} as expected, ${failed} not`)
  return failed === 0
}

async function visit(
  tourCase: TourCase,
  doors: Doors,
  tokens: Tokens,
  events: EventStream,
): Promise<{ seen: string; told: string; problems: string[] }> {
  const { expected } = tourCase
  try {
    const reply = await send(tourCase, doors, tokens)
    const seen = verdictOf(reply)
    // An event that nobody waits for here would be one too many for the next request.
    if (expected.events === 'none') return { seen, told: 'no event', problems: mismatches(expected, reply) }

    const told = await events.untilCompleted()
    const problems = [...mismatches(expected, reply), ...eventMismatches(expected.events, reply.status, told)]
    return { seen, told: told.map(eventText).join(' · ') || 'no event', problems }
  } catch (error) {
    return { seen: 'no reply', told: '', problems: [(error as Error).message] }
  }
}

function send(
  { door, method = 'GET', path, headers = {}, tokens: names = [], http2 }: TourCase,
  doors: Doors,
  tokens: Tokens,
): Promise<Reply> {
  const authorization = names.map((name) => `Bearer ${tokens[name]}`)
  const transmit = http2 ? sendHttp2 : sendHttp1
  return transmit(doors[door], {
    method,
    path,
    headers: { ...headers, ...(authorization.length > 0 && { authorization }) },
  })
}

function requestLine({ method = 'GET', path }: TourCase): string {
  return `${method} ${path}`
}

function widest(texts: readonly string[]): number {
  return Math.max(...texts.map((text) => text.length))
}
