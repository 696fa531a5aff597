import { issuerSpec } from './app-auth.ts'
import type { IssuerSpec } from './auth/issuers.ts'
import type { Probe, ProbeResult } from './cli/check.ts'
import type { Settings } from './config/settings.ts'
import { showAddress } from './core/listen.ts'
import { probesOfApiKeys, probesOfCertificates, probesOfIssuer } from './probes-auth.ts'
import { describeProtection, describeRunningCircuits } from './probes-circuits.ts'
import { describeSinks, probesOfBrokers } from './probes-events.ts'
import { describeWebhooks, probesOfWebhooks } from './probes-webhooks.ts'

/** Lists what `gatepost check` tries under these settings. @param nowMs milliseconds since the epoch. */
export function probesOf(settings: Settings, nowMs: number): Probe[] {
  const specs = settings.policy.first.issuers.map(issuerSpec)
  return [
    { subject: 'configuration', run: async () => describe(settings, specs) },
    ...specs.flatMap((spec) => probesOfIssuer(spec, settings.allowPlaintext)),
    ...probesOfApiKeys(settings, nowMs),
    ...probesOfCertificates(settings),
    ...probesOfBrokers(settings),
    ...probesOfWebhooks(settings),
    { subject: 'gatepost', run: () => probeRunning(settings) },
  ]
}

/** What a container's health check tries: the Gatepost on the admin address must run and be ready; nobody else is asked. */
export function probeOfReadiness(settings: Pick<Settings, 'admin'>): Probe {
  return {
    subject: 'gatepost',
    async run() {
      const { outcome, detail } = await probeRunning(settings)
      return { outcome: outcome === 'note' ? 'failed' : outcome, detail }
    },
  }
}

async function describe(settings: Settings, specs: readonly IssuerSpec[]): Promise<ProbeResult> {
  const { policy } = settings
  const { defaults, routes } = policy.first.routes
  const scopes = defaults.scopes.length > 0 ? `, scopes ${defaults.scopes.join(' ')}` : ''
  const lines = [
    `auth ${defaults.auth}${scopes}, ${specs.length} issuer${specs.length === 1 ? '' : 's'}, ${routes.length} route${routes.length === 1 ? '' : 's'}`,
  ]
  for (const { name, audiences } of specs) {
    if (audiences === 'any') lines.push(`warning: ${name} accepts tokens for any audience`)
  }
  if (specs.length > 1 && defaults.auth !== 'none') {
    lines.push(
      'warning: several issuers are trusted on every route; upstreams must tell their users apart by x-auth-issuer',
    )
  }
  return { outcome: 'ok', detail: [...lines, ...describeProtection(settings)].join('\n') }
}

/** Asks the Gatepost on the admin address, if one runs there, whether it is ready, which doors Envoy has used and how sinks stand. */
async function probeRunning({ admin }: Pick<Settings, 'admin'>): Promise<ProbeResult> {
  const address = showAddress(admin.address)
  const response = await fetch(`http://${address}/readyz`, { signal: AbortSignal.timeout(2_000) }).catch(
    () => undefined,
  )
  if (!response) return { outcome: 'note', detail: `none runs on ${address}` }
  const {
    status,
    doors = {},
    sinks = {},
    webhooks = {},
    circuits = {},
  } = (await response.json()) as {
    status?: string
    doors?: Record<string, { last_seen: string }>
    sinks?: Parameters<typeof describeSinks>[0]
    webhooks?: Parameters<typeof describeWebhooks>[0]
    circuits?: Parameters<typeof describeRunningCircuits>[0]
  }
  const seen = Object.entries(doors).map(([door, { last_seen }]) => `door ${door}: last request ${last_seen}`)
  const detail = [
    `${status} on ${address}`,
    ...(seen.length > 0 ? seen : ['no door has been used yet']),
    ...describeSinks(sinks),
    ...describeWebhooks(webhooks),
    ...describeRunningCircuits(circuits),
  ].join('\n')
  return { outcome: response.ok ? 'ok' : 'failed', detail }
}
