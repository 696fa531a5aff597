import { keyFetch, tokenFetch } from './app-auth.ts'
import { createEndpoint, type EndpointSource } from './auth/endpoint.ts'
import { introspectionRequest } from './auth/introspection.ts'
import type { ClientCredentials, IssuerSpec } from './auth/issuers.ts'
import { createFetchKeys } from './auth/key-source.ts'
import { importKeys } from './auth/verification-key.ts'
import type { Probe, ProbeResult } from './cli/check.ts'
import type { ApiKeySettings } from './config/api-keys.ts'
import { mayFetch } from './config/issuer-settings.ts'
import type { Settings } from './config/settings.ts'
import { UnexpectedStatus } from './core/fetch.ts'

/** A token that nobody issues: whoever calls it good does not look. */
const inventedToken = 'gatepost-check-invented-token'

/** Keys that expire within this time are warned of, in milliseconds. */
const expiresSoonMs = 14 * 24 * 3_600_000

/** Lists what is tried of one issuer: its keys or its introspection, and its userinfo. */
export function probesOfIssuer(spec: IssuerSpec, allowPlaintext: boolean): Probe[] {
  const { name, introspection, userinfo } = spec
  const mayUse = (url: string) => mayFetch(url, allowPlaintext)
  return [
    {
      subject: `issuer ${name}`,
      run: () =>
        introspection
          ? probeIntrospection(name, introspection.endpoint, introspection.client, mayUse)
          : probeKeys(spec, mayUse),
    },
    ...(userinfo ? [{ subject: `userinfo ${name}`, run: () => probeUserinfo(name, userinfo, mayUse) }] : []),
  ]
}

type MayUse = (url: string) => boolean

async function probeKeys(spec: IssuerSpec, mayUse: MayUse): Promise<ProbeResult> {
  try {
    const fetchKeys = createFetchKeys(spec, keyFetch(spec.name), mayUse)
    const { keys, refused } = await importKeys(await fetchKeys(), spec.algorithms)
    const algorithms = [...new Set(keys.flatMap((key) => [...key.byAlgorithm.keys()]))]
    const lines = [`${count(keys.length, 'usable key')} of ${spec.issuer} (${algorithms.join(', ')})`]
    for (const { keyId, why } of refused) lines.push(`key ${JSON.stringify(keyId ?? null)} not used: ${why}`)
    return { outcome: keys.length > 0 ? 'ok' : 'failed', detail: lines.join('\n') }
  } catch (error) {
    return unreachable(error)
  }
}

async function probeIntrospection(
  name: string,
  source: EndpointSource,
  client: ClientCredentials,
  mayUse: MayUse,
): Promise<ProbeResult> {
  const found = await find(name, source, mayUse)
  if (found.kind === 'lost') return found.result
  const { url, fetchJson } = found
  try {
    const { active } = ((await fetchJson(url, introspectionRequest(client, inventedToken))) ?? {}) as {
      active?: unknown
    }
    if (active === false) return { outcome: 'ok', detail: `${url} answers, with client id ${client.id}` }
    if (active === true) return failed(`${url} calls a token active that was never issued`)
    return failed(`${url} does not say whether a token is active`)
  } catch (error) {
    if (statusOf(error) !== 401) return unreachable(error)
    return failed(
      `${url} refuses Gatepost's own client credentials (status 401): check the secret of client id ${client.id}`,
    )
  }
}

async function probeUserinfo(name: string, source: EndpointSource, mayUse: MayUse): Promise<ProbeResult> {
  const found = await find(name, source, mayUse)
  if (found.kind === 'lost') return found.result
  const { url, fetchJson } = found
  try {
    await fetchJson(url, { headers: { authorization: `Bearer ${inventedToken}` } })
    return failed(`${url} tells of a user by a token that was never issued`)
  } catch (error) {
    if (statusOf(error) !== 401) return unreachable(error)
    return { outcome: 'ok', detail: `${url} answers` }
  }
}

/** Finds where a service of an issuer is, and how it is asked. */
async function find(name: string, source: EndpointSource, mayUse: MayUse) {
  const fetchJson = tokenFetch(name)
  try {
    const url = await createEndpoint(source, fetchJson, mayUse, { now: () => 0 })()
    return { kind: 'found', url, fetchJson } as const
  } catch (error) {
    return { kind: 'lost', result: unreachable(error) } as const
  }
}

function statusOf(error: unknown): number | undefined {
  const { cause } = error as { cause?: unknown }
  return cause instanceof UnexpectedStatus ? cause.status : undefined
}

function unreachable(error: unknown): ProbeResult {
  return { outcome: 'unreachable', detail: (error as Error).message }
}

function failed(detail: string): ProbeResult {
  return { outcome: 'failed', detail }
}

/** Says which API keys are in force, and warns of those that are not for long. */
export function probesOfApiKeys({ apiKeys }: Pick<Settings, 'apiKeys'>, nowMs: number): Probe[] {
  if (!apiKeys) return []
  const { path, header, first } = apiKeys
  const keys = [...first.values()]
  const inForce = keys.filter(({ expiresAtMs = Number.POSITIVE_INFINITY }) => nowMs < expiresAtMs)
  const lines = [
    `${count(inForce.length, 'key')} in force of ${path}, in the header ${header}`,
    ...(inForce.length === 0 ? ['warning: no key can be used'] : []),
    ...keys.flatMap((key) => warningOf(key, nowMs)),
  ]
  return [{ subject: 'api keys', run: async () => ({ outcome: 'ok', detail: lines.join('\n') }) }]
}

function warningOf({ id, clientId, expiresAtMs }: ApiKeySettings, nowMs: number): string[] {
  if (expiresAtMs === undefined || expiresAtMs - nowMs > expiresSoonMs) return []
  const verb = expiresAtMs <= nowMs ? 'has expired' : 'expires soon'
  return [`warning: key ${id} of ${clientId} ${verb}: ${new Date(expiresAtMs).toISOString()}`]
}

const certificateSources = {
  principal: 'as Envoy tells them of its own TLS connections',
  xfcc: 'by x-forwarded-client-cert\nwarning: only a listener with forward_client_cert_details: SANITIZE_SET makes that header trustworthy',
}

/** Says by which source client certificates are known. */
export function probesOfCertificates({ clientCertificates }: Pick<Settings, 'clientCertificates'>): Probe[] {
  if (clientCertificates === 'off') return []
  const detail = certificateSources[clientCertificates]
  return [{ subject: 'certificates', run: async () => ({ outcome: 'ok', detail }) }]
}

function count(many: number, what: string): string {
  return `${many} ${what}${many === 1 ? '' : 's'}`
}
