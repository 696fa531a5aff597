import { isIP } from 'node:net'
import type { RequestContext, RouteOverrides } from '../core/request.ts'
import type { Address__Output } from './gen/envoy/config/core/v3/Address.ts'
import type { HeaderMap__Output } from './gen/envoy/config/core/v3/HeaderMap.ts'
import type { HeaderValue__Output } from './gen/envoy/config/core/v3/HeaderValue.ts'
import type { CheckRequest__Output } from './gen/envoy/service/auth/v3/CheckRequest.ts'
import type { ProcessingRequest__Output } from './gen/envoy/service/ext_proc/v3/ProcessingRequest.ts'
import type { Value__Output } from './gen/google/protobuf/Value.ts'

/**
 * Where a client's address is read: `peer`, the address that Envoy is connected to, or `envoy`, what Envoy itself
 * found out and put into `x-envoy-external-address`. The latter needs `use_remote_address: true`, and the early
 * removal of the client's own header of that name.
 */
export type ClientAddressSource = 'peer' | 'envoy'

/** The longest request id that is repeated in replies, logs and metadata. */
const maxRequestIdLength = 256

const externalAddress = 'x-envoy-external-address'

/**
 * Reads a CheckRequest. Nothing in it is required: a message without a request is a request without credentials.
 * @param receivedAtMs milliseconds since the epoch.
 */
export function checkRequestContext(
  { attributes }: CheckRequest__Output,
  receivedAtMs: number,
  source: ClientAddressSource,
): RequestContext {
  const http = attributes?.request?.http ?? {}
  const headers = new Map(Object.entries(http.headers ?? {}))
  // With `encode_raw_headers` Envoy leaves `headers` empty and fills `header_map`, repeats and bytes as they came.
  addHeaders(headers, http.header_map)
  return {
    door: 'ext_authz',
    receivedAtMs,
    requestId: requestIdOf(headers),
    method: http.method ?? '',
    authority: http.host ?? '',
    path: http.path ?? '',
    headers,
    overrides: attributes?.context_extensions ?? {},
    clientAddress: clientAddress(headers, addressText(attributes?.source?.address), source),
    principal: attributes?.source?.principal || undefined,
  }
}

/**
 * Reads the first message of an ext_proc stream: method, authority and path are pseudo-headers, the peer's address is
 * an attribute that the filter must be configured to send.
 * @param receivedAtMs milliseconds since the epoch.
 */
export function processingRequestContext(
  { request_headers, attributes }: ProcessingRequest__Output,
  receivedAtMs: number,
  overrides: RouteOverrides,
  source: ClientAddressSource,
): RequestContext {
  const headers = new Map<string, string>()
  addHeaders(headers, request_headers?.headers)
  const sent = attributes?.['envoy.filters.http.ext_proc']?.fields ?? {}
  return {
    door: 'ext_proc',
    receivedAtMs,
    requestId: requestIdOf(headers),
    method: headers.get(':method') ?? '',
    authority: headers.get(':authority') ?? '',
    path: headers.get(':path') ?? '',
    headers,
    overrides,
    clientAddress: clientAddress(headers, withoutPort(sent['source.address']?.stringValue), source),
    principal: principalOf(sent),
  }
}

/** The text of an IP address; undefined for a pipe. */
export function addressText(address: Address__Output | undefined): string | undefined {
  return address?.socket_address?.address || undefined
}

/**
 * Chooses the client's address. Envoy names none in its header for a client on a private network: then it is the peer.
 * What is no IP address, such as the joined values of a repeated header, is not Envoy's word and does not count.
 */
export function clientAddress(
  headers: { get(name: string): string | undefined },
  peer: string | undefined,
  source: ClientAddressSource,
): string | undefined {
  const named = source === 'envoy' ? headers.get(externalAddress) : undefined
  return [named, peer].find((address) => address !== undefined && isIP(address) !== 0)
}

/** Reads an HTTP status; 0 for what is none. */
export function httpStatus(text: string | number | undefined): number {
  const status = Number(text)
  return Number.isInteger(status) && status > 0 && status < 1_000 ? status : 0
}

/** Reads `grpc-status` of headers or trailers; undefined where there is none, or none that is a code. */
export function grpcStatus(headers: Readonly<Record<string, string>> = {}): number | undefined {
  const { 'grpc-status': text } = headers
  return text !== undefined && /^\d{1,3}$/.test(text) ? Number(text) : undefined
}

/** Reads one header as text: its bytes where Envoy sent those. */
export function headerText({ value, raw_value }: HeaderValue__Output): string {
  return raw_value && raw_value.length > 0 ? raw_value.toString('utf8') : (value ?? '')
}

function addHeaders(joined: Map<string, string>, map: HeaderMap__Output | undefined): void {
  for (const header of map?.headers ?? []) {
    const name = header.key ?? ''
    const before = joined.get(name)
    const value = headerText(header)
    joined.set(name, before === undefined ? value : `${before},${value}`)
  }
}

function requestIdOf(headers: ReadonlyMap<string, string>): string {
  // Half a character, where the cut left one, would not survive its way through Envoy's metadata.
  return (headers.get('x-request-id') ?? '').slice(0, maxRequestIdLength).toWellFormed()
}

// The attributes of Envoy's that name the certificate of the peer, the SAN first.
function principalOf(sent: Readonly<Record<string, Value__Output>>): string | undefined {
  const san = sent['connection.uri_san_peer_certificate']?.stringValue
  return san || sent['connection.subject_peer_certificate']?.stringValue || undefined
}

// `source.address` is 192.0.2.7:41233 or [2001:db8::7]:41233.
function withoutPort(address: string | undefined): string | undefined {
  return address?.replace(/:\d+$/, '').replace(/^\[|\]$/g, '') || undefined
}
