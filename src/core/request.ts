/** Settings that Envoy's own route carries; they win over every other source. */
export type RouteOverrides = Readonly<Record<string, string>>

/** A way in from Envoy; a label of metrics. */
export type Door = 'ext_authz' | 'ext_proc' | 'access_log'

/**
 * One request as a door read it. Everything here but `overrides` may have been chosen by the client; the names follow
 * RFC 9110 and Envoy.
 */
export interface RequestContext {
  door: Door
  /** Milliseconds since the epoch at which the door had the whole message. */
  receivedAtMs: number
  /** `x-request-id`, at most 256 characters; empty if there is none. For correlation only: a client can choose it. */
  requestId: string
  method: string
  /** Host and port as the client sent them. */
  authority: string
  /** Path with its query. */
  path: string
  /** Lower-case names; the values of a repeated header are joined by commas, as Envoy does. */
  headers: ReadonlyMap<string, string>
  /** What Envoy's own route says of itself. */
  overrides: RouteOverrides
  /** The client's IP address, as far as it is known and by the source that the configuration trusts. */
  clientAddress: string | undefined
  /** The name in the client certificate that Envoy has verified: its URI SAN, else its subject. */
  principal: string | undefined
}

/** Whether the caller speaks gRPC and so expects `grpc-status` in place of a body. */
export function isGrpcCall({ headers }: Pick<RequestContext, 'headers'>): boolean {
  return headers.get('content-type')?.startsWith('application/grpc') ?? false
}

/** The path without its query, which may hold tokens and personal data. */
export function pathWithoutQuery(path: string): string {
  const end = path.search(/[?#]/)
  return end < 0 ? path : path.slice(0, end)
}
