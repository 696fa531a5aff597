import { type BearerError, type Denial, denialRow } from './denials.ts'
import { isGrpcCall, type RequestContext } from './request.ts'

/** What a refused client gets. */
export interface DenialReply {
  httpStatus: number
  headers: readonly (readonly [name: string, value: string])[]
  body: string
}

/** The protection space named in every challenge (RFC 9110 §11.5). */
const realm = 'api'

/** Answers a denial in the protocol that the caller speaks. */
export function denialReply(
  denial: Denial,
  request: Pick<RequestContext, 'headers' | 'requestId'>,
): DenialReply {
  return isGrpcCall(request) ? grpcReply(denial) : httpReply(denial, request.requestId)
}

/** Answers a denial as `application/problem+json` (RFC 9457) with the request id, and the challenge of RFC 6750. */
export function httpReply(denial: Denial, requestId: string): DenialReply {
  const { httpStatus, title } = denialRow(denial)
  const problem = {
    type: `urn:gatepost:problem:${denial.reason}`,
    title,
    status: httpStatus,
    detail: denial.detail,
    ...(requestId && { request_id: requestId }),
  }
  return {
    httpStatus,
    headers: [
      ['content-type', 'application/problem+json'],
      ['cache-control', 'no-store'],
      ...furtherHeaders(denial),
    ],
    body: JSON.stringify(problem),
  }
}

/**
 * Answers a denial to a gRPC caller: the status in headers and no body. Without them Envoy would translate the HTTP
 * status itself and hand our JSON over as the message.
 */
export function grpcReply(denial: Denial): DenialReply {
  const { httpStatus, grpcStatus } = denialRow(denial)
  return {
    httpStatus,
    headers: [
      ['grpc-status', String(grpcStatus)],
      ['grpc-message', grpcMessage(denial.detail)],
      ...furtherHeaders(denial),
    ],
    body: '',
  }
}

function furtherHeaders(denial: Denial): DenialReply['headers'] {
  const { headers = [] } = denial
  return denialRow(denial).challenge ? [['www-authenticate', challenge(denial)], ...headers] : headers
}

function challenge(denial: Denial): string {
  const { bearerError } = denialRow(denial)
  return bearerChallenge({
    realm,
    ...(bearerError && { error: bearerError, description: denial.detail }),
    ...(denial.requiredScopes && { scope: denial.requiredScopes }),
  })
}

/** The parts of a Bearer challenge (RFC 6750 §3). */
export interface BearerChallenge {
  realm: string
  error?: BearerError | undefined
  description?: string | undefined
  scope?: readonly string[] | undefined
}

/** Writes a `WWW-Authenticate` value. Quotes and whatever a quoted string cannot hold are replaced. */
export function bearerChallenge({ realm, error, description, scope }: BearerChallenge): string {
  const parts = [`realm="${quotable(realm)}"`]
  if (error) parts.push(`error="${error}"`)
  if (error && description) parts.push(`error_description="${quotable(description)}"`)
  if (scope && scope.length > 0) parts.push(`scope="${scope.map(quotable).join(' ')}"`)
  return `Bearer ${parts.join(', ')}`
}

// RFC 6750 §3: printable ASCII without the double quote and the backslash.
function quotable(text: string): string {
  return text.replaceAll('"', "'").replace(/[^\x20-\x7e]|\\/g, '?')
}

// The gRPC-over-HTTP/2 protocol percent-encodes whatever is not printable ASCII, and the percent sign itself.
function grpcMessage(text: string): string {
  return text.toWellFormed().replace(/[^\x20-\x24\x26-\x7e]+/g, encodeURIComponent)
}
