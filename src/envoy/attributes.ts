import type { RequestContext } from '../core/request.ts'
import type { HeaderValue__Output } from './gen/envoy/config/core/v3/HeaderValue.ts'
import type { _envoy_service_auth_v3_AttributeContext_HttpRequest__Output as HttpRequest } from './gen/envoy/service/auth/v3/AttributeContext.ts'
import type { CheckRequest__Output } from './gen/envoy/service/auth/v3/CheckRequest.ts'

/** The longest request id that is repeated in replies, logs and metadata. */
const maxRequestIdLength = 256

const noOverrides = {}

/**
 * Reads a CheckRequest. Nothing in it is required: a message without a request is a request without credentials.
 * @param receivedAtMs milliseconds since the epoch.
 */
export function checkRequestContext(
  { attributes }: CheckRequest__Output,
  receivedAtMs: number,
): RequestContext {
  const http = attributes?.request?.http ?? {}
  const headers = requestHeaders(http)
  return {
    door: 'ext_authz',
    receivedAtMs,
    requestId: (headers.get('x-request-id') ?? '').slice(0, maxRequestIdLength),
    method: http.method ?? '',
    authority: http.host ?? '',
    path: http.path ?? '',
    headers,
    overrides: attributes?.context_extensions ?? noOverrides,
  }
}

/** With `encode_raw_headers` Envoy leaves `headers` empty and fills `header_map`, repeats and bytes as they came. */
function requestHeaders({ headers, header_map }: HttpRequest): Map<string, string> {
  const joined = new Map<string, string>(Object.entries(headers ?? {}))
  for (const header of header_map?.headers ?? []) {
    const name = header.key ?? ''
    const before = joined.get(name)
    const value = headerValue(header)
    joined.set(name, before === undefined ? value : `${before},${value}`)
  }
  return joined
}

function headerValue({ value, raw_value }: HeaderValue__Output): string {
  return raw_value && raw_value.length > 0 ? raw_value.toString('utf8') : (value ?? '')
}
