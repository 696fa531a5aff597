/** gRPC status codes that a denial can carry (google.rpc.Code). */
const grpcStatus = { invalidArgument: 3, permissionDenied: 7, unauthenticated: 16 } as const

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
  /** `error` of the WWW-Authenticate challenge; absent where RFC 6750 §3.1 wants none. */
  bearerError?: BearerError
}

/** Every reason for which Gatepost refuses a request. Reasons are stable: metrics, events and problem types carry them. */
export const denials = {
  // RFC 6750 §3.1: no error code when the request carried no credentials.
  missing_token: {
    httpStatus: 401,
    grpcStatus: grpcStatus.unauthenticated,
    title: 'Authentication required',
  },
  unsupported_scheme: {
    httpStatus: 401,
    grpcStatus: grpcStatus.unauthenticated,
    title: 'Authentication scheme not supported',
  },
  invalid_request: {
    httpStatus: 400,
    grpcStatus: grpcStatus.invalidArgument,
    title: 'Malformed authentication',
    bearerError: 'invalid_request',
  },
  invalid_token: {
    httpStatus: 401,
    grpcStatus: grpcStatus.unauthenticated,
    title: 'Token refused',
    bearerError: 'invalid_token',
  },
  invalid_api_key: {
    httpStatus: 401,
    grpcStatus: grpcStatus.unauthenticated,
    title: 'API key refused',
  },
  insufficient_scope: {
    httpStatus: 403,
    grpcStatus: grpcStatus.permissionDenied,
    title: 'Insufficient scope',
    bearerError: 'insufficient_scope',
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
}

/** Refuses for a reason of the table. */
export function deny(
  reason: DenialReason,
  detail: string,
  more: Pick<Denial, 'cause' | 'requiredScopes'> = {},
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
