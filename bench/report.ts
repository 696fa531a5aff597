import type { ExactCount } from './exact.ts'
import type { Round } from './measure.ts'
import { medianOf } from './statistics.ts'

/** What is printed of one setup. */
export interface Row {
  title: string
  rounds: readonly Round[]
}

type Better = 'more' | 'less'

/** The measured setups as a table of Markdown. Every figure is the median of all rounds, and the best in parentheses. */
export function figuresTable(rows: readonly Row[]): string {
  return table(
    [
      'setup',
      'requests/s',
      'p50 ms',
      'p99 ms',
      'Gatepost CPU',
      'Envoy CPU',
      'upstream CPU',
      'total CPU',
      'failures',
    ],
    rows.map(({ title, rounds }) => {
      const figure = (read: (round: Round) => number | undefined, digits: number, better: Better = 'less') =>
        medianAndBest(rounds.map(read), digits, better)
      return [
        title,
        figure((round) => round.requestsPerSecond, 0, 'more'),
        figure((round) => round.p50Ms, 2),
        figure((round) => round.p99Ms, 1),
        figure((round) => round.cpu.gatepost, 1),
        figure((round) => round.cpu.envoy, 1),
        figure((round) => round.cpu.upstream, 1),
        figure((round) => round.cpu.total, 1),
        String(rounds.reduce((sum, { failures }) => sum + failures, 0)),
      ]
    }),
  )
}

/** One sentence on how much something else disturbed the rounds. */
export function noise(rows: readonly Row[]): string {
  const shares = rows.flatMap(({ rounds }) => rounds.map(({ othersShare }) => othersShare * 100))
  const { median, most } = spread(shares)
  return `Other processes took ${whole(median)} % of the machine in the median round, ${whole(most)} % in the worst.`
}

/** The counts of the guard as a table of Markdown. */
export function countsTable(counts: readonly ExactCount[], isRight: (count: ExactCount) => boolean): string {
  return table(
    ['setup', 'answered (wrk)', 'failures', 'completed (Envoy)', 'request.completed', 'other events', ''],
    counts.map((count) => [
      count.title,
      whole(count.wrk),
      whole(count.failures),
      whole(count.envoy),
      whole(count.events),
      whole(count.strays),
      isRight(count) ? 'exact' : 'WRONG',
    ]),
  )
}

function medianAndBest(values: readonly (number | undefined)[], digits: number, better: Better): string {
  const known = values.filter((value) => value !== undefined)
  if (known.length === 0) return '–'
  const { median, least, most } = spread(known)
  return `${number(median, digits)} (${number(better === 'more' ? most : least, digits)})`
}

/** Of at least one value. */
function spread(values: readonly number[]): { least: number; median: number; most: number } {
  return { least: Math.min(...values), median: medianOf(values), most: Math.max(...values) }
}

function whole(value: number): string {
  return number(value, 0)
}

function number(value: number, digits: number): string {
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** The first column to the left, numbers to the right; aligned, so that it reads well without being rendered. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((text, at) => Math.max(text.length, 3, ...rows.map((row) => row[at]!.length)))
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join(' | ')} |`
  const rule = widths.map((width, at) => (at === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  return [line(head), line(rule), ...rows.map(line)].join('\n')
}
