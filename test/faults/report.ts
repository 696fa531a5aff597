import type { AtBroker, Path, Row } from './row.ts'

/** What became of the events, as a table of Markdown: a line for each fault and broker. */
export function eventsTable(rows: readonly Row[]): string {
  return table(
    [
      'fault',
      'requests',
      'broker',
      'events due',
      'delivered',
      'twice',
      'in a stated window',
      'while no Gatepost ran',
      'lost',
      'counted',
      '',
    ],
    rows.flatMap((row) => [
      [row.title, whole(row.requests), 'Kafka', ...cellsOf(row.kafka), verdictOf(row)],
      ['', '', 'RabbitMQ', ...cellsOf(row.rabbitmq), ''],
    ]),
  )
}

function cellsOf(account: AtBroker): string[] {
  const { due, delivered, copies, excused, oldestExcusedMs, lost, counted, forgiven } = account
  const { uncommitted, 'in flight': inFlight, 'nobody there': nobody } = excused
  const window =
    uncommitted + inFlight === 0
      ? '0'
      : `${whole(inFlight)} of the access log, ${whole(uncommitted)} of decide; the oldest ${whole(oldestExcusedMs)} ms`
  const lostCount = Object.values(lost).reduce((sum, count) => sum + count, 0)
  return [
    whole(due),
    whole(delivered),
    whole(copies),
    window,
    whole(nobody),
    whole(lostCount),
    forgiven > 0 ? `${whole(counted)}; ${whole(forgiven)} were in the file` : whole(counted),
  ]
}

/** How the request path fared before, during and after each fault, in one load. */
export function pathTable(rows: readonly Row[]): string {
  return table(
    ['fault', 'requests due before, during, after', 'p50 ms', 'p99 ms', 'longest ms', 'errors'],
    rows.map(({ title, before, during, after }) => {
      const each = (read: (path: Path) => string) => [before, during, after].map(read).join(' · ')
      return [
        title,
        each(({ requests }) => whole(requests)),
        each(({ p50Ms }) => ms(p50Ms)),
        each(({ p99Ms }) => ms(p99Ms)),
        each(({ longestMs }) => ms(longestMs)),
        each(({ errors }) => whole(errors)),
      ]
    }),
  )
}

function verdictOf({ problems }: Row): string {
  return problems.length === 0 ? 'as stated' : 'WRONG'
}

function ms(value: number): string {
  return Number.isNaN(value) ? '–' : value.toFixed(1)
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, at) => (at === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n')
}
