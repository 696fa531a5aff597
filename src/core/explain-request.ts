import type { ExplainOptions } from './explain.ts'
import type { RequestContext } from './request.ts'

/** A request to be explained, as `POST /api/explain` takes it. Everything but method and path may be left out. */
export interface ExplainRequest {
  method: string
  /** With its query, if it has one. */
  path: string
  host?: string
  /** By name, in any case; a list for a header that is sent more than once. */
  headers?: Readonly<Record<string, string | readonly string[]>>
  client_address?: string
  /** The name in the client certificate that Envoy has verified. */
  principal?: string
  /** What Envoy's route says by `context_extensions`. */
  route_settings?: Readonly<Record<string, string>>
  /** Whether issuers may be asked what is not known yet. */
  ask_issuers?: boolean
  /** Whether claims are shown with their values. */
  show_values?: boolean
}

/** Makes a request of it as a door would. */
export function explainContext(asked: ExplainRequest, nowMs: number): RequestContext {
  const headers = new Map<string, string>()
  for (const [name, value] of Object.entries(asked.headers ?? {})) {
    const lower = name.toLowerCase()
    headers.set(lower, [headers.get(lower) ?? [], value].flat().join(','))
  }
  return {
    door: 'ext_authz',
    receivedAtMs: nowMs,
    requestId: headers.get('x-request-id') ?? '',
    method: asked.method,
    authority: asked.host ?? headers.get('host') ?? '',
    path: asked.path,
    headers,
    overrides: asked.route_settings ?? {},
    clientAddress: asked.client_address,
    principal: asked.principal,
  }
}

/** What its explanation may show. */
export function explainOptions({ show_values: showValues = false }: ExplainRequest): ExplainOptions {
  return { showValues }
}
