import { printable, table } from './ask.ts'

/** An endpoint as the API shows it, as far as it is shown to people. */
export interface ShownWebhook {
  id: string
  source: 'file' | 'replica'
  url: string
  events: readonly string[]
  retry_policy: { max_retries: number; backoff_seconds: number }
  header_names: readonly string[]
  rate_limit?: string
  filters: { routes?: readonly string[]; services?: readonly string[] }
  ordered: boolean
  concurrency: number
  timeout_seconds: number
  secrets: readonly { until?: string }[]
  condition: string
  why?: string
  disabled_at?: string
  pending: number
  oldest_pending_at?: string
  failures_in_row: number
  failing_since?: string
  circuit: { state: string; until?: string }
}

/** A delivery as the API shows it. */
export interface ShownDelivery {
  id: string
  webhook_id: string
  event_id: string
  event: string
  status: string
  reason?: string
  attempts: number
  created_at: string
  next_attempt_at?: string
  finished_at?: string
  replay_of?: string
}

/** A delivery with its attempts. */
export interface ShownDetail extends ShownDelivery {
  body: string
  attempt_log: readonly ShownAttempt[]
}

interface ShownAttempt {
  number: number
  at: string
  duration_ms: number
  result: string
  status_code?: number
  reason?: string
  error?: string
  answer: string
}

/** Lists endpoints for people. */
export function webhooksTable(webhooks: readonly ShownWebhook[]): string {
  if (webhooks.length === 0) return 'There are no endpoints; gatepost webhooks add --url https://… adds one\n'
  return table(
    ['ID', 'CONDITION', 'PENDING', 'FAILURES', 'FROM', 'EVENTS', 'URL'],
    webhooks.map(({ id, condition, pending, failures_in_row, source, events, url }) => [
      id,
      condition,
      String(pending),
      String(failures_in_row),
      source,
      events.join(','),
      url,
    ]),
  )
}

/** Shows an endpoint for people. */
export function webhookText(webhook: ShownWebhook): string {
  const { retry_policy: retry, filters, circuit, secrets } = webhook
  const old = secrets.flatMap(({ until }) => until ?? [])
  return facts([
    ['id', webhook.id],
    ['url', webhook.url],
    ['declared in', webhook.source === 'file' ? 'GATEPOST_WEBHOOKS_FILE' : 'the data folder of this replica'],
    ['condition', [webhook.condition, webhook.why, webhook.disabled_at].filter(Boolean).join(', ')],
    ['events', webhook.events.join(', ')],
    ['routes', filters.routes?.join(', ')],
    ['services', filters.services?.join(', ')],
    ['retries', `${retry.max_retries}, the first after ${retry.backoff_seconds} s`],
    ['headers', webhook.header_names.join(', ')],
    ['rate limit', webhook.rate_limit],
    ['at a time', `${webhook.concurrency}${webhook.ordered ? ', in order' : ''}`],
    ['timeout', `${webhook.timeout_seconds} s`],
    ['old secrets', old.map((until) => `one, which signs until ${until}`).join('; ')],
    ['pending', sinceWhen(webhook.pending, webhook.oldest_pending_at)],
    ['failures', sinceWhen(webhook.failures_in_row, webhook.failing_since)],
    ['circuit', circuit.state + (circuit.until ? ` until ${circuit.until}` : '')],
  ])
}

function sinceWhen(count: number, since: string | undefined): string {
  return since === undefined ? String(count) : `${count}, since ${since}`
}

/** Lists deliveries for people. @param next where the next page begins. */
export function deliveriesTable(deliveries: readonly ShownDelivery[], next: string | undefined): string {
  if (deliveries.length === 0) return 'There are no such deliveries\n'
  const rows = deliveries.map((delivery) => [
    delivery.id,
    delivery.created_at,
    delivery.webhook_id,
    delivery.event,
    delivery.status,
    String(delivery.attempts),
    delivery.reason ?? '',
    delivery.next_attempt_at ?? '',
  ])
  const head = ['ID', 'QUEUED', 'WEBHOOK', 'EVENT', 'STATUS', 'ATTEMPTS', 'REASON', 'NEXT ATTEMPT']
  return table(head, rows) + (next === undefined ? '' : `There are more: --cursor ${next}\n`)
}

/** Shows a delivery for people, each attempt a line. */
export function deliveryText(delivery: ShownDetail): string {
  const attempts = delivery.attempt_log.map((attempt) => [
    String(attempt.number),
    attempt.at,
    `${attempt.duration_ms} ms`,
    attemptText(attempt),
    attempt.answer.slice(0, shownAnswer),
  ])
  const log = attempts.length > 0 ? `\n${table(['#', 'AT', 'TOOK', 'RESULT', 'ANSWER'], attempts)}` : ''
  return `${facts([
    ['id', delivery.id],
    ['to', delivery.webhook_id],
    ['event', delivery.event],
    ['webhook-id', delivery.event_id],
    ['status', [delivery.status, delivery.reason].filter(Boolean).join(', ')],
    ['queued', delivery.created_at],
    ['next attempt', delivery.next_attempt_at],
    ['ended', delivery.finished_at],
    ['repeats', delivery.replay_of],
    ['body', delivery.body],
  ])}${log}`
}

/** Says in one line how a test went. */
export function testText(delivery: ShownDetail): string {
  const last = delivery.attempt_log.at(-1)
  if (!last) return `${delivery.status}: no attempt was made; gatepost webhooks deliveries ${delivery.id}\n`
  const answer =
    last.answer === '' ? '' : `; the answer: ${JSON.stringify(last.answer.slice(0, shownAnswer))}`
  return printable(
    `${delivery.status}: ${delivery.webhook_id} ${attemptText(last)} after ${last.duration_ms} ms${answer}\n`,
  )
}

/** The most characters of an answer on a line. */
const shownAnswer = 80

function attemptText({ status_code: status, reason, error }: ShownAttempt): string {
  if (status !== undefined) return `answered ${status}`
  return `did not answer: ${[reason, error].filter(Boolean).join(', ')}`
}

function facts(pairs: readonly (readonly [name: string, value: string | undefined])[]): string {
  const told = pairs.filter(([, value]) => value)
  const width = Math.max(...told.map(([name]) => name.length))
  return told.map(([name, value = '']) => `${name.padEnd(width)}  ${printable(value)}\n`).join('')
}
