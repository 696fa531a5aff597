/** A caller was refused for who they are, or are not. */
export interface AuthFailed {
  /** A reason of the denials table. */
  reason: string
  /** Without query. */
  path: string
  client_ip?: string
  /** What was shown: nothing, a bearer token, an API key, or something else. */
  token_type: 'none' | 'bearer' | 'api_key' | 'other'
  route: string
  /** Who vouches for the caller, where the credential itself was good. */
  issuer?: string
  /** The request went on all the same: authentication is in shadow mode. */
  shadow?: true
}

/** Nothing is delivered any more to an endpoint of webhooks. */
export interface EndpointDisabled {
  webhook_id: string
  /** Without its query. */
  url: string
  /** It answered 410, or nothing but failures came of it for long. */
  reason: 'gone' | 'failing'
  /** Attempts that failed since the last that did not. */
  failures: number
}

/** A caller asked too often. */
export interface RateLimitExceeded {
  client_id?: string
  route: string
  /** The limit's name. */
  name: string
  /** Requests in the window. */
  limit: number
  /** Such as `1m`. */
  window: string
  /** How much of the limit is taken. */
  requests_made: number
  /** When the whole quota is there again; RFC 3339, UTC. */
  reset_at: string
  /** The request went on all the same: limits are in shadow mode. */
  shadow?: true
}

/** A circuit has changed its state. */
export interface CircuitChanged {
  service: string
  /** What was counted: failures, or slow answers where these were the cause. */
  failure_count: number
  /** How much of it is too much. */
  failure_threshold: number
  /** How long it stays open; 0 where that has no end known. */
  timeout_seconds: number
  /** `consecutive_failures`, `failure_rate`, `slow_rate` or `probe_failed`; `timeout`, `probes_passed`, `override`, `override_ended`. */
  cause: CircuitCause
  /** The process whose circuit it is; each has its own. */
  replica: string
}

/** Why a circuit has changed its state. */
export type CircuitCause =
  | 'consecutive_failures'
  | 'failure_rate'
  | 'slow_rate'
  | 'probe_failed'
  | 'timeout'
  | 'probes_passed'
  | 'override'
  | 'override_ended'

/** A request has ended; one for each that the observer sees, denials included. */
export interface RequestCompleted {
  method: string
  /** Without query, at most 2 KiB. */
  path: string
  /** The status that the client got; 0 where it got none. */
  status_code: number
  duration_ms: number
  user_id?: string
  client_ip?: string
  /** At most 512 bytes. */
  user_agent?: string
  upstream_service?: string
  cache_status?: 'hit' | 'miss'
  route: string
  client_id?: string
  /** Gatepost's verdict; `fault` where there was none and Envoy's `failure_mode_allow` ruled, `none` where none was asked for. */
  decision: 'allow' | 'deny' | 'fault' | 'none'
  /** Reasons for which it would have been refused, were the parts at issue not in shadow mode. */
  shadow?: string[]
  bytes_in?: number
  bytes_out?: number
  /** Envoy's short names. */
  response_flags?: string[]
  /** W3C trace id, 32 hex digits. */
  trace_id?: string
}

/** The data of each event type. */
export interface EventData {
  'auth.failed': AuthFailed
  'circuit_breaker.closed': CircuitChanged
  'circuit_breaker.half_opened': CircuitChanged
  'circuit_breaker.opened': CircuitChanged
  'endpoint.disabled': EndpointDisabled
  'rate_limit.exceeded': RateLimitExceeded
  'request.completed': RequestCompleted
}

/** The name of an event. */
export type EventType = keyof EventData

/** The Kafka topic of each event type; every type has its row. */
export const eventTopics = {
  'auth.failed': 'gateway.auth',
  'circuit_breaker.closed': 'gateway.circuit_breakers',
  'circuit_breaker.half_opened': 'gateway.circuit_breakers',
  'circuit_breaker.opened': 'gateway.circuit_breakers',
  'endpoint.disabled': 'gateway.webhooks',
  'rate_limit.exceeded': 'gateway.rate_limits',
  'request.completed': 'gateway.requests',
} as const satisfies Record<EventType, string>

/** An event as it leaves Gatepost: JSON of at most 16 KiB. */
export interface GatewayEvent<T extends EventType = EventType> {
  /** Ours, and unique. */
  id: string
  event_type: T
  /** When it happened; RFC 3339, UTC. */
  timestamp: string
  /** For correlation only: a client can choose it. */
  request_id?: string
  data: EventData[T]
}

/** What a part hands over to be told to the world. */
export interface Happening<T extends EventType = EventType> {
  type: T
  /** Milliseconds since the epoch. */
  atMs: number
  /** Empty if there is none. */
  requestId: string
  data: EventData[T]
}

/** Takes an event. It never waits and never throws. */
export type Publish = <T extends EventType>(happening: Happening<T>) => void
