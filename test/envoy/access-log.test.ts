import { describe, expect, test } from '@jest/globals'
import { decisionMetadata } from '../../src/core/decision.ts'
import type { Outcome } from '../../src/core/outcome.ts'
import type { HTTPAccessLogEntry } from '../../src/envoy/gen/envoy/data/accesslog/v3/HTTPAccessLogEntry.ts'
import type { Struct } from '../../src/envoy/gen/google/protobuf/Struct.ts'
import { type AccessLogDoor, entryWith, openAccessLogDoor } from '../support/access-log-door.ts'
import { alice, allowWith, denyWith } from '../support/decisions.ts'

type Common = NonNullable<HTTPAccessLogEntry['common_properties']>
type Flags = NonNullable<Common['response_flags']>

const nobody = { kind: 'none', route: 'unmatched' }

test('an entry becomes the outcome of its request', () => {
  const { outcomeOf } = openAccessLogDoor()
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736'

  const outcome = outcomeOf(
    entryWith({
      request: {
        original_path: '/v1/orders?page=2',
        request_headers: { ':method': 'GET', traceparent: `00-${trace}-00f067aa0ba902b7-01` },
      },
      response: { response_headers: { 'cache-status': 'edge; hit' } },
    }),
  )

  expect(outcome).toEqual({
    observer: 'access-log',
    startedAtMs: Date.UTC(2030, 0, 1) + 250,
    durationMs: 12.5,
    method: 'GET',
    path: '/v1/orders?page=2',
    status: 200,
    grpcStatus: undefined,
    requestId: 'request-1',
    userAgent: 'curl/8',
    clientAddress: '192.0.2.7',
    bytesIn: 120,
    bytesOut: 340,
    responseFlags: [],
    details: 'via_upstream',
    upstreamCluster: 'order_service',
    upstreamDurationMs: 9,
    upstreamWaitMs: 5,
    cacheStatus: 'hit',
    traceId: trace,
    decision: { kind: 'fault', route: 'unmatched' },
  } satisfies Outcome)
})

test('an entry without anything becomes an outcome all the same', () => {
  const { outcomeOf } = openAccessLogDoor()

  expect(outcomeOf({})).toEqual({
    observer: 'access-log',
    startedAtMs: 0,
    durationMs: 0,
    method: '',
    path: '',
    status: 0,
    requestId: '',
    userAgent: '',
    clientAddress: undefined,
    bytesIn: 0,
    bytesOut: 0,
    responseFlags: [],
    details: '',
    upstreamCluster: undefined,
    upstreamDurationMs: undefined,
    upstreamWaitMs: undefined,
    cacheStatus: undefined,
    traceId: undefined,
    decision: nobody,
  })
})

test.each([
  ['in the trailers', {}, { 'grpc-status': '14' }, 14],
  ['in the headers of a call that has no more', { 'grpc-status': '4' }, {}, 4],
  ['in both, by the trailers, which come last', { 'grpc-status': '0' }, { 'grpc-status': '14' }, 14],
  ['nowhere', {}, {}, undefined],
])('the status of a gRPC call is read %s', (_where, response_headers, response_trailers, status) => {
  const entry = entryWith({ response: { response_headers, response_trailers } })

  expect(openAccessLogDoor().outcomeOf(entry)?.grpcStatus).toBe(status)
})

describe('a batch', () => {
  test('gives an outcome for each entry, in order', () => {
    const door = openAccessLogDoor()
    const log_entry = ['a', 'b', 'c'].map((request_id) => entryWith({ request: { request_id } }))

    door.take({ http_logs: { log_entry } })
    door.take({ http_logs: { log_entry } })

    expect(door.outcomes.map(({ requestId }) => requestId)).toEqual(['a', 'b', 'c', 'a', 'b', 'c'])
  })

  test('is taken a few entries in each turn of the event loop, or all at once at the end', () => {
    const turns: (() => void)[] = []
    const door = openAccessLogDoor({ defer: (task) => turns.push(task) })
    const log_entry = Array.from({ length: 30 }, (_, at) =>
      entryWith({ request: { request_id: String(at) } }),
    )
    const taken: number[] = []
    const look = () => taken.push(door.outcomes.length)

    door.take({ http_logs: { log_entry } })
    look()
    for (let turn = 0; turn < 2; turn += 1) {
      turns.shift()?.()
      look()
    }
    door.flush()
    look()

    expect(taken).toEqual([0, 8, 16, 30])
    expect(door.outcomes.map(({ requestId }) => Number(requestId))).toEqual([...log_entry.keys()])
  })

  test('of TCP entries is counted and ignored', () => {
    const door = openAccessLogDoor()

    door.take({ tcp_logs: { log_entry: [{}, {}, {}] } })

    expect(door.outcomes).toEqual([])
    expect(door.ignored).toEqual({ tcp: 3 })
  })

  test.each([
    'TcpUpstreamConnected',
    'TcpPeriodic',
    'TcpConnectionEnd',
    'DownstreamStart',
    'DownstreamPeriodic',
    'UpstreamPoolReady',
    'UpstreamPeriodic',
    'UpstreamEnd',
    'DownstreamTunnelSuccessfullyEstablished',
    'UdpTunnelUpstreamConnected',
    'UdpPeriodic',
    'UdpSessionEnd',
  ] as const)('with an entry of type %s has one less, which is counted', (access_log_type) => {
    const door = openAccessLogDoor()
    const intermediate = entryWith({ common_properties: { access_log_type } })

    door.take({ http_logs: { log_entry: [entryWith(), intermediate, entryWith()] } })

    expect(door.outcomes).toHaveLength(2)
    expect(door.ignored).toEqual({ intermediate: 1 })
  })

  test.each(['NotSet', 'DownstreamEnd'] as const)('with an entry of type %s has it', (access_log_type) => {
    const door = openAccessLogDoor()

    expect(door.outcomeOf(entryWith({ common_properties: { access_log_type } }))).toBeDefined()
    expect(door.ignored).toEqual({})
  })

  test.each([[{}], [{ http_logs: {} }], [{ tcp_logs: {} }], [{ http_logs: { log_entry: [] } }]])(
    'of nothing is nothing: %j',
    (message) => {
      const door = openAccessLogDoor()

      door.take(message)

      expect(door.outcomes).toEqual([])
      expect(Object.values(door.ignored).every((count) => count === 0)).toBe(true)
    },
  )

  test('loses no entry because one could not be taken, which is told', () => {
    const seen: string[] = []
    const door = openAccessLogDoor({
      observe({ requestId }) {
        if (requestId === 'bad') throw new Error('no room')
        seen.push(requestId)
      },
    })
    const log_entry = ['a', 'bad', 'b'].map((request_id) => entryWith({ request: { request_id } }))

    door.take({ http_logs: { log_entry } })

    expect(seen).toEqual(['a', 'b'])
    expect(door.faulted).toEqual([expect.objectContaining({ message: 'no room' })])
  })
})

describe('response flags have Envoy’s short names', () => {
  const names: Record<keyof Flags, string> = {
    failed_local_healthcheck: 'LH',
    no_healthy_upstream: 'UH',
    upstream_request_timeout: 'UT',
    local_reset: 'LR',
    upstream_remote_reset: 'UR',
    upstream_connection_failure: 'UF',
    upstream_connection_termination: 'UC',
    upstream_overflow: 'UO',
    no_route_found: 'NR',
    delay_injected: 'DI',
    fault_injected: 'FI',
    rate_limited: 'RL',
    unauthorized_details: 'UAEX',
    rate_limit_service_error: 'RLSE',
    downstream_connection_termination: 'DC',
    upstream_retry_limit_exceeded: 'URX',
    stream_idle_timeout: 'SI',
    invalid_envoy_request_headers: 'IH',
    downstream_protocol_error: 'DPE',
    upstream_max_stream_duration_reached: 'UMSDR',
    response_from_cache_filter: 'RFCF',
    no_filter_config_found: 'NFCF',
    duration_timeout: 'DT',
    upstream_protocol_error: 'UPE',
    no_cluster_found: 'NC',
    overload_manager: 'OM',
    dns_resolution_failure: 'DF',
    downstream_remote_reset: 'DR',
  }
  const all = Object.entries(names) as [keyof Flags, string][]

  function flagsOf(response_flags: Flags): readonly string[] | undefined {
    return openAccessLogDoor().outcomeOf(entryWith({ common_properties: { response_flags } }))?.responseFlags
  }

  /** Each flag is a yes or no but one, which is a reason. */
  function raised(field: keyof Flags): Flags {
    return field === 'unauthorized_details' ? { [field]: { reason: 'EXTERNAL_SERVICE' } } : { [field]: true }
  }

  test.each(all)('%s is %s', (field, name) => {
    expect(flagsOf(raised(field))).toEqual([name])
  })

  test('all at once, in Envoy’s order', () => {
    const flags = Object.assign({}, ...all.map(([field]) => raised(field)))

    expect(flagsOf(flags)).toEqual(all.map(([, name]) => name))
    expect(all).toHaveLength(28)
  })

  test('and those that are not raised have none', () => {
    expect(flagsOf({ upstream_overflow: false })).toEqual([])
  })
})

describe('times', () => {
  function timesOf(common_properties: Common) {
    const outcome = openAccessLogDoor().outcomeOf({ common_properties })
    return { duration: outcome?.durationMs, upstream: outcome?.upstreamDurationMs }
  }
  const seconds = (value: number) => ({ seconds: value })
  const ms = (value: number) => ({ nanos: value * 1_000_000 })

  test.each<[string, Common, { duration: number; upstream: number | undefined }]>([
    [
      'the whole duration goes first',
      { duration: ms(20), time_to_last_downstream_tx_byte: ms(15) },
      { duration: 20, upstream: undefined },
    ],
    [
      'the last byte to the client stands in for it',
      { time_to_last_downstream_tx_byte: ms(15) },
      { duration: 15, upstream: undefined },
    ],
    [
      'seconds and nanoseconds are added',
      { duration: { seconds: 2, nanos: 5 } },
      { duration: 2_000.000_005, upstream: undefined },
    ],
    ['nothing is known without either', {}, { duration: 0, upstream: undefined }],
    [
      'the upstream’s share is what lies between its first byte out and its last byte in',
      { time_to_first_upstream_tx_byte: ms(2), time_to_last_upstream_rx_byte: seconds(1) },
      { duration: 0, upstream: 998 },
    ],
    [
      'the upstream’s share is not known where it never answered',
      { time_to_first_upstream_tx_byte: ms(2) },
      { duration: 0, upstream: undefined },
    ],
    [
      'the upstream’s share is not known where nothing was sent to it',
      { time_to_last_upstream_rx_byte: ms(2) },
      { duration: 0, upstream: undefined },
    ],
    [
      'an answer before the request was out took no time',
      { time_to_first_upstream_tx_byte: ms(9), time_to_last_upstream_rx_byte: ms(2) },
      { duration: 0, upstream: 0 },
    ],
    ['a negative duration is none', { duration: { seconds: -3 } }, { duration: 0, upstream: undefined }],
  ])('%s', (_what, common, expected) => {
    expect(timesOf(common)).toEqual(expected)
  })

  test.each([Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER])(
    'that no date can hold, such as %d seconds, are cut',
    (value) => {
      const entry = { common_properties: { start_time: seconds(value), duration: seconds(value) } }
      const { startedAtMs = NaN, durationMs = NaN } = openAccessLogDoor().outcomeOf(entry) ?? {}

      expect(new Date(startedAtMs + durationMs).toISOString()).toMatch(/^\d{4}-/)
    },
  )
})

describe('the method', () => {
  test.each([
    [
      'is the exact one where the header is logged',
      { request_method: 'METHOD_UNSPECIFIED', request_headers: { ':method': 'PURGE' } },
      'PURGE',
    ],
    ['is else one of the standard ones', { request_method: 'PATCH', request_headers: {} }, 'PATCH'],
    ['is else unknown', { request_method: 'METHOD_UNSPECIFIED' }, ''],
    ['is unknown where it is newer than our protos', { request_method: 77 as unknown as 'GET' }, ''],
  ] as const)('%s', (_what, request, expected) => {
    expect(openAccessLogDoor().outcomeOf({ request })?.method).toBe(expected)
  })
})

describe('the path', () => {
  test.each([
    ['is the one that the client sent', { original_path: '/v1/a', path: '/a' }, '/v1/a'],
    ['is the only one', { path: '/a' }, '/a'],
    ['is unknown', {}, ''],
  ])('%s', (_what, request, expected) => {
    expect(openAccessLogDoor().outcomeOf({ request })?.path).toBe(expected)
  })
})

test('a long request id is cut to 256 characters', () => {
  const outcome = openAccessLogDoor().outcomeOf({ request: { request_id: 'r'.repeat(1_000) } })

  expect(outcome?.requestId).toBe('r'.repeat(256))
})

test('a status that is none is 0', () => {
  const outcome = openAccessLogDoor().outcomeOf({ response: { response_code: { value: 4_000_000_000 } } })

  expect(outcome?.status).toBe(0)
})

describe('the client’s address', () => {
  const external = 'x-envoy-external-address'
  const socket = (address: string) => ({ socket_address: { address, port_value: 1 } })

  function addressOf(source: 'peer' | 'envoy', common_properties: Common, headers: Record<string, string>) {
    return openAccessLogDoor({ clientAddress: source }).outcomeOf({
      common_properties,
      request: { request_headers: headers },
    })?.clientAddress
  }

  const peer: Common = {
    downstream_direct_remote_address: socket('192.0.2.7'),
    // What X-Forwarded-For says.
    downstream_remote_address: socket('203.0.113.9'),
  }

  test.each([
    [
      'peer: the address that Envoy is connected to, whatever X-Forwarded-For says',
      'peer',
      peer,
      {},
      '192.0.2.7',
    ],
    ['peer: whatever the header says', 'peer', peer, { [external]: '198.51.100.4' }, '192.0.2.7'],
    ['envoy: what Envoy found out', 'envoy', peer, { [external]: '198.51.100.4' }, '198.51.100.4'],
    ['envoy: IPv6 too', 'envoy', peer, { [external]: '2001:db8::7' }, '2001:db8::7'],
    ['envoy: the peer where Envoy found nothing', 'envoy', peer, {}, '192.0.2.7'],
    [
      'envoy: the peer where the header is no address',
      'envoy',
      peer,
      { [external]: 'x'.repeat(9_000) },
      '192.0.2.7',
    ],
    [
      'envoy: the peer where the header was repeated',
      'envoy',
      peer,
      { [external]: '10.0.0.1,10.0.0.2' },
      '192.0.2.7',
    ],
    [
      'nobody’s on a Unix socket',
      'peer',
      { downstream_direct_remote_address: { pipe: { path: '/s' } } },
      {},
      undefined,
    ],
    ['nobody’s where none is told', 'peer', {}, {}, undefined],
  ] as const)('by %s', (_what, source, common, headers, expected) => {
    expect(addressOf(source, common, headers)).toBe(expected)
  })
})

/** Observes a request with this metadata. */
function decisionOf(door: AccessLogDoor, metadata: Record<string, Struct>, more: HTTPAccessLogEntry = {}) {
  const { common_properties } = more
  return door.outcomeOf(
    entryWith({
      ...more,
      common_properties: { ...common_properties, metadata: { filter_metadata: metadata } },
    }),
  )?.decision
}

function texts(fields: Record<string, string>): Struct {
  return {
    fields: Object.fromEntries(Object.entries(fields).map(([name, stringValue]) => [name, { stringValue }])),
  }
}

const extAuthz = 'envoy.filters.http.ext_authz'
const extProc = 'envoy.filters.http.ext_proc'
const known = { route: 'orders', service: 'order-service', userId: 'alice', clientId: 'shop' }

function sealed({ seal }: AccessLogDoor, kind: 'allow' | 'deny' = 'allow'): Struct {
  const decision =
    kind === 'allow' ? allowWith({ caller: alice }) : denyWith('insufficient_scope', { caller: alice })
  return seal.close(decisionMetadata(decision, 'request-1'))
}

describe('the verdict', () => {
  test.each([extAuthz, extProc])('is read from the sealed metadata of %s', (namespace) => {
    const door = openAccessLogDoor()

    expect(decisionOf(door, { [namespace]: sealed(door) })).toEqual({ kind: 'allow', ...known })
    expect(decisionOf(door, { [namespace]: sealed(door, 'deny') })).toEqual({ kind: 'deny', ...known })
  })

  test('is found in one namespace though another is forged', () => {
    const door = openAccessLogDoor()
    const forged = texts({ decision: 'allow', user_id: 'root', seal: 'A'.repeat(43) })

    expect(decisionOf(door, { [extAuthz]: forged, [extProc]: sealed(door) })).toMatchObject(known)
    expect(decisionOf(door, { [extAuthz]: sealed(door), [extProc]: forged })).toMatchObject(known)
  })

  test.each<[string, (door: AccessLogDoor) => Record<string, Struct>]>([
    [
      'is sealed by nobody',
      () => ({ [extAuthz]: texts({ decision: 'allow', user_id: 'root', route: 'admin' }) }),
    ],
    ['has a seal of its own', () => ({ [extAuthz]: texts({ user_id: 'root', seal: 'A'.repeat(43) }) })],
    [
      'was partially overwritten',
      (door) => ({
        [extAuthz]: { fields: { ...sealed(door).fields, user_id: { stringValue: 'root' } } },
      }),
    ],
    [
      'lost a field',
      (door) => {
        const { client_id: _client, ...fields } = sealed(door).fields ?? {}
        return { [extAuthz]: { fields } }
      },
    ],
    ['was sealed by another process', () => ({ [extAuthz]: sealed(openAccessLogDoor()) })],
    ['stands in another namespace', (door) => ({ 'envoy.lb': sealed(door) })],
  ])('is not believed where the metadata %s', (_what, metadata) => {
    const door = openAccessLogDoor()

    expect(decisionOf(door, metadata(door))).toEqual({ kind: 'fault', route: 'unmatched' })
  })
})

describe('without a verdict', () => {
  const flags = (response_flags: Flags): HTTPAccessLogEntry => ({ common_properties: { response_flags } })
  const details = (response_code_details: string): HTTPAccessLogEntry => ({
    response: { response_code_details },
  })

  test.each<[string, HTTPAccessLogEntry]>([
    ['the filter refused it', flags({ unauthorized_details: { reason: 'EXTERNAL_SERVICE' } })],
    ['no upstream was healthy', flags({ no_healthy_upstream: true })],
    ['the upstream was too slow', flags({ upstream_request_timeout: true })],
    ['the upstream reset it', flags({ upstream_remote_reset: true })],
    ['the upstream could not be reached', flags({ upstream_connection_failure: true })],
    ['the upstream hung up', flags({ upstream_connection_termination: true })],
    ['the upstream had too much to do', flags({ upstream_overflow: true })],
    ['the upstream was tried too often', flags({ upstream_retry_limit_exceeded: true })],
    ['the router had no cluster', flags({ no_cluster_found: true })],
    ['it was sent upstream', { common_properties: { time_to_first_upstream_tx_byte: {} } }],
    ['the upstream answered', details('via_upstream')],
    ['the router answered', details('direct_response')],
    ['ext_authz failed', details('ext_authz_error')],
    ['ext_proc failed', details('ext_proc_error_gRPC_error_14')],
  ])('a request has passed our place, or ended there: a fault, because %s', (_what, entry) => {
    expect(openAccessLogDoor().outcomeOf(entry)?.decision).toEqual({ kind: 'fault', route: 'unmatched' })
  })

  test.each([
    ['it was malformed', flags({ downstream_protocol_error: true })],
    ['the client left', flags({ downstream_connection_termination: true })],
    ['the client reset it', flags({ downstream_remote_reset: true })],
    ['it was idle for too long', flags({ stream_idle_timeout: true })],
    ['Envoy had too much to do', flags({ overload_manager: true })],
    ['another filter limited it', flags({ rate_limited: true })],
    ['another filter delayed it', flags({ delay_injected: true })],
    ['there is no route, and ext_authz does not ask then', flags({ no_route_found: true })],
    ['its path was refused', details('path_normalization_failed')],
    ['its headers were refused', details('http1.unexpected_underscore')],
    ['another filter answered it', details('cors_preflight')],
    ['nothing is known', details('')],
    ['its details only sound alike', details('not_via_upstream')],
  ])('a request that never came so far has none: %s', (_what, entry) => {
    expect(openAccessLogDoor().outcomeOf(entry)?.decision).toEqual(nobody)
  })
})
