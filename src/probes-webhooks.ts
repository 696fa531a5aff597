import type { Probe, ProbeResult } from './cli/check.ts'
import type { Settings } from './config/settings.ts'
import type { WebhookEndpoint } from './core/webhooks.ts'
import {
  type CheckAddress,
  checkByRules,
  createSystemResolver,
  type ResolveName,
  urlProblem,
  type WebProtocol,
} from './webhooks/guard.ts'

/**
 * Lists what is tried of the endpoints of the webhooks file: whether deliveries may go where each leads. Nothing is sent,
 * and nothing is tried where others deliver.
 */
export function probesOfWebhooks(
  {
    webhooks: { first, allowPrivate, rabbit },
    allowPlaintext,
  }: Pick<Settings, 'webhooks' | 'allowPlaintext'>,
  resolve: ResolveName = createSystemResolver(),
): Probe[] {
  if (rabbit) return []
  const check = checkByRules({ allowPrivate, allowPlaintext })
  return first.map((endpoint) => ({
    subject: `webhook ${endpoint.id}`,
    run: () => probe(endpoint, check, resolve),
  }))
}

async function probe(
  { url: text, active }: WebhookEndpoint,
  check: CheckAddress,
  resolve: ResolveName,
): Promise<ProbeResult> {
  const url = URL.parse(text)
  const problem = urlProblem(text, check)
  if (problem !== undefined || !url) return { outcome: 'failed', detail: `url: ${problem}` }
  const hostname = url.hostname.replace(/^\[|\]$/g, '')
  const addresses = await resolve(hostname).catch(() => [])
  if (addresses.length === 0) return { outcome: 'unreachable', detail: `${hostname} has no address` }
  const refused = addresses.map(({ address }) => check(address, url.protocol as WebProtocol)).find(Boolean)
  if (refused !== undefined) return { outcome: 'failed', detail: `${hostname}: ${refused}` }
  const found = `${hostname} leads to ${addresses.map(({ address }) => address).join(', ')}`
  return { outcome: 'ok', detail: active ? found : `${found}; it is not active` }
}

/** How one endpoint stands, as `/readyz` tells it. */
interface WebhookDetail {
  condition?: string
  pending?: number
  oldest_age_seconds?: number
  failures_in_row?: number
  circuit?: string
}

/** Says how the endpoints of a running Gatepost stand, a line for each. */
export function describeWebhooks(webhooks: Readonly<Record<string, WebhookDetail>>): string[] {
  return Object.entries(webhooks).map(([id, webhook]) => {
    const {
      condition = '',
      pending = 0,
      oldest_age_seconds: age = 0,
      failures_in_row: failures = 0,
    } = webhook
    const parts = [
      condition,
      pending > 0 ? `${pending} pending, the oldest for ${Math.round(age)} s` : 'none pending',
      ...(failures > 0 ? [`${failures} failures in a row`] : []),
      ...(webhook.circuit !== undefined && webhook.circuit !== 'closed'
        ? [`circuit ${webhook.circuit}`]
        : []),
    ]
    return `webhook ${id}: ${parts.join(', ')}`
  })
}
