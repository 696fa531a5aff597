import type { Outcome } from '../../src/core/outcome.ts'
import { type AccessLogParts, createAccessLog } from '../../src/envoy/access-log.ts'
import type { HTTPAccessLogEntry } from '../../src/envoy/gen/envoy/data/accesslog/v3/HTTPAccessLogEntry.ts'
import type { StreamAccessLogsMessage } from '../../src/envoy/gen/envoy/service/accesslog/v3/StreamAccessLogsMessage.ts'
import { loadProtos } from '../../src/envoy/protos.ts'
import { createSeal, type Seal } from '../../src/envoy/seal.ts'

const { StreamAccessLogs } = loadProtos().AccessLogService

/** The access log service, spoken to in bytes as Envoy does, and all that it told. */
export interface AccessLogDoor {
  /** Sends a batch of any kind. */
  take(message: StreamAccessLogsMessage): void
  /** Sends the bytes of a batch. */
  takeBytes(message: Uint8Array): void
  /** Sends one HTTP entry. @returns its outcome. */
  outcomeOf(entry: HTTPAccessLogEntry): Outcome | undefined
  /** Takes what waits for a later turn; without a `defer` of the test's own nothing does. */
  flush(): void
  seal: Seal
  outcomes: Outcome[]
  /** Entries that are no finished HTTP request, by kind. */
  ignored: Record<string, number>
  faulted: unknown[]
}

/** Opens the door without a network: every message still goes through its bytes. */
export function openAccessLogDoor(
  parts: Partial<Omit<AccessLogParts, 'seal'>> & { seal?: Seal } = {},
): AccessLogDoor {
  const { seal = createSeal(), ...rest } = parts
  const outcomes: Outcome[] = []
  const ignored: Record<string, number> = {}
  const faulted: unknown[] = []
  const door = createAccessLog({
    observe: (outcome) => outcomes.push(outcome),
    onIgnored: (kind, count) => {
      ignored[kind] = (ignored[kind] ?? 0) + count
    },
    observer: { faulted: (_door, error) => faulted.push(error) },
    seal,
    clientAddress: 'peer',
    defer: (task) => task(),
    ...rest,
  })
  const takeBytes = (bytes: Uint8Array) =>
    door.takeBatch(StreamAccessLogs.requestDeserialize(Buffer.from(bytes)))
  const take = (message: StreamAccessLogsMessage) => takeBytes(StreamAccessLogs.requestSerialize(message))
  return {
    takeBytes,
    take,
    flush: door.flush,
    outcomeOf(entry) {
      take({ http_logs: { log_entry: [entry] } })
      return outcomes.at(-1)
    },
    seal,
    outcomes,
    ignored,
    faulted,
  }
}

/** An entry as Envoy writes it of a request that the upstream answered; each part replaces and adds. */
export function entryWith({
  common_properties,
  request,
  response,
}: HTTPAccessLogEntry = {}): HTTPAccessLogEntry {
  return {
    common_properties: {
      downstream_direct_remote_address: { socket_address: { address: '192.0.2.7', port_value: 41_233 } },
      start_time: { seconds: Date.UTC(2030, 0, 1) / 1_000, nanos: 250_000_000 },
      duration: { nanos: 12_500_000 },
      time_to_last_downstream_tx_byte: { nanos: 12_000_000 },
      time_to_first_upstream_tx_byte: { nanos: 2_000_000 },
      time_to_last_upstream_tx_byte: { nanos: 3_000_000 },
      time_to_first_upstream_rx_byte: { nanos: 8_000_000 },
      time_to_last_upstream_rx_byte: { nanos: 11_000_000 },
      upstream_cluster: 'order_service',
      access_log_type: 'DownstreamEnd',
      ...common_properties,
    },
    request: {
      request_method: 'GET',
      path: '/orders?page=2',
      user_agent: 'curl/8',
      request_id: 'request-1',
      request_headers_bytes: 100,
      request_body_bytes: 20,
      request_headers: {},
      ...request,
    },
    response: {
      response_code: { value: 200 },
      response_headers_bytes: 300,
      response_body_bytes: 40,
      response_code_details: 'via_upstream',
      response_headers: {},
      ...response,
    },
  }
}
