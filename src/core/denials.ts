/** gRPC status codes that a denial can carry (google.rpc.Code). */
const grpcStatus = {
  invalidArgument: 3,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  unavailable: 14,
  unauthenticated: 16,
} as const

/** The error codes of RFC 6750 §3.1. */
export type BearerError = 'invalid_request' | 'invalid_token' | 'insufficient_scope'

/** What a row of the denials table says: how one reason looks to a caller over HTTP and over gRPC. */
export interface DenialRow {
  /** HTTP status of the reply. */
  httpStatus: number
  /** gRPC status code, for callers that speak gRPC. */
  grpcStatus: number
  /** The problem's `title` (RFC 9457 §3.1.3); it does not change from one occurrence to the next. */
  title: string
  /** Whether the reply carries a WWW-Authenticate challenge: where other credentials could help. */
  challenge: boolean
  /** `error` of the challenge; absent where RFC 6750 §3.1 wants none. */
  bearerError?: BearerError
}

/** Every reason for which Gatepost refuses a request. Reasons are stable: metrics, events and problem types carry them. */
export const denials = {
  // RFC 6750 §3.1: no error code when the request carried no credentials.
  missing_token: {
    httpStatus: 401,
    grpcStatus: grpcStatus.unauthenticated,
    title: 'Authentication required',
    challenge: true,
  },
  unsupported_scheme: {
    httpStatus: 401,
    grpcStatus: grpcStatus.unauthenticated,
    title: 'Authentication scheme not supported',
    challenge: true,
  },
  invalid_request: {
    httpStatus: 400,
    grpcStatus: grpcStatus.invalidArgument,
    title: 'Malformed authentication',
    challenge: true,
    bearerError: 'invalid_request',
  },
  invalid_token: {
    httpStatus: 401,
    grpcStatus: grpcStatus.unauthenticated,
    title: 'Token refused',
    challenge: true,
    bearerError: 'invalid_token',
  },
  invalid_api_key: {
    httpStatus: 401,
    grpcStatus: grpcStatus.unauthenticated,
    title: 'API key refused',
    challenge: true,
  },
  insufficient_scope: {
    httpStatus: 403,
    grpcStatus: grpcStatus.permissionDenied,
    title: 'Insufficient scope',
    challenge: true,
    bearerError: 'insufficient_scope',
  },
  insufficient_claims: {
    httpStatus: 403,
    grpcStatus: grpcStatus.permissionDenied,
    title: 'Insufficient claims',
    challenge: true,
  },
  invalid_path: {
    httpStatus: 400,
    grpcStatus: grpcStatus.invalidArgument,
    title: 'Ambiguous path',
    challenge: false,
  },
  method_not_allowed: {
    httpStatus: 405,
    grpcStatus: grpcStatus.unimplemented,
    title: 'Method not allowed',
    challenge: false,
  },
  rate_limited: {
    httpStatus: 429,
    grpcStatus: grpcStatus.resourceExhausted,
    title: 'Too many requests',
    challenge: false,
  },
  circuit_open: {
    httpStatus: 503,
    grpcStatus: grpcStatus.unavailable,
    title: 'Upstream unavailable',
    challenge: false,
  },
} as const satisfies Record<string, DenialRow>

/** A key of the denials table. */
export type DenialReason = keyof typeof denials

/** A refusal: the caller's business, returned and never thrown. */
export interface Denial {
  kind: 'denial'
  reason: DenialReason
  /** One sentence for the caller. It never repeats a token, a secret or a header's value. */
  detail: string
  /** What exactly was wrong, finer than `reason`, in snake_case; for logs and metrics. */
  cause?: string
  /** The scopes that the route asks for, where too few were held. */
  requiredScopes?: readonly string[]
  /** Headers of the reply beside those that every denial of its kind has. */
  headers?: readonly (readonly [name: string, value: string])[]
}

/** Refuses for a reason of the table. */
export function deny(
  reason: DenialReason,
  detail: string,
  more: Pick<Denial, 'cause' | 'requiredScopes' | 'headers'> = {},
): Denial {
  return { kind: 'denial', reason, detail, ...more }
}

/** Tells a denial from whatever else a step of the decision returns. */
export function isDenial(value: { kind: string }): value is Denial {
  return value.kind === 'denial'
}

/** The row of a denial. */
export function denialRow({ reason }: Pick<Denial, 'reason'>): DenialRow {
  return denials[reason]
}
