import { issuerSpec, keyFetch } from './app-auth.ts'
import type { IssuerSpec } from './auth/issuers.ts'
import { createFetchKeys } from './auth/key-source.ts'
import { importKeys } from './auth/verification-key.ts'
import type { Probe, ProbeResult } from './cli/check.ts'
import { mayFetch } from './config/issuer-settings.ts'
import type { Settings } from './config/settings.ts'
import { showAddress } from './core/listen.ts'

/** Lists what `gatepost check` tries under these settings. */
export function probesOf(settings: Settings): Probe[] {
  const specs = settings.policy.first.issuers.map(issuerSpec)
  return [
    { subject: 'configuration', run: async () => describe(settings, specs) },
    ...specs.map((spec) => ({
      subject: `issuer ${spec.name}`,
      run: () => probeIssuer(spec, settings.allowPlaintext),
    })),
    { subject: 'gatepost', run: () => probeRunning(settings) },
  ]
}

async function describe({ policy }: Settings, specs: readonly IssuerSpec[]): Promise<ProbeResult> {
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
  return { outcome: 'ok', detail: lines.join('\n') }
}

async function probeIssuer(spec: IssuerSpec, allowPlaintext: boolean): Promise<ProbeResult> {
  const fetchKeys = createFetchKeys(spec, keyFetch(spec.name), (url) => mayFetch(url, allowPlaintext))
  try {
    const { keys, refused } = await importKeys(await fetchKeys(), spec.algorithms)
    const algorithms = [...new Set(keys.flatMap((key) => [...key.byAlgorithm.keys()]))]
    const lines = [
      `${keys.length} usable key${keys.length === 1 ? '' : 's'} of ${spec.issuer} (${algorithms.join(', ')})`,
    ]
    for (const { keyId, why } of refused) lines.push(`key ${JSON.stringify(keyId ?? null)} not used: ${why}`)
    return { outcome: keys.length > 0 ? 'ok' : 'failed', detail: lines.join('\n') }
  } catch (error) {
    return { outcome: 'unreachable', detail: (error as Error).message }
  }
}

/** Asks the Gatepost on the admin address, if one runs there, whether it is ready and which doors Envoy has used. */
async function probeRunning({ admin }: Settings): Promise<ProbeResult> {
  const address = showAddress(admin.address)
  const response = await fetch(`http://${address}/readyz`, { signal: AbortSignal.timeout(2_000) }).catch(
    () => undefined,
  )
  if (!response) return { outcome: 'note', detail: `none runs on ${address}` }
  const { status, doors = {} } = (await response.json()) as {
    status?: string
    doors?: Record<string, { last_seen: string }>
  }
  const seen = Object.entries(doors).map(([door, { last_seen }]) => `door ${door}: last request ${last_seen}`)
  const detail = [
    `${status} on ${address}`,
    ...(seen.length > 0 ? seen : ['no door has been used yet']),
  ].join('\n')
  return { outcome: response.ok ? 'ok' : 'failed', detail }
}
