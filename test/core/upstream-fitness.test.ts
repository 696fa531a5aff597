import { describe, expect, test } from '@jest/globals'
import type { FailureClasses } from '../../src/core/circuits.ts'
import type { Outcome } from '../../src/core/outcome.ts'
import { evidenceOf } from '../../src/core/upstream-fitness.ts'
import { outcomeWith } from '../support/outcomes.ts'

const none: FailureClasses = { statuses: [], grpcStatuses: [] }
const rules = { slowMs: 100, failureOn: none }

function read(more: Partial<Outcome>, failureOn = rules.failureOn) {
  return evidenceOf(outcomeWith(more), { ...rules, failureOn })
}

const good = { failed: false, slow: false }
const bad = { failed: true, slow: false }

// Details and flags as Envoy 1.40 writes them.
describe('is a failure:', () => {
  test.each<[string, Partial<Outcome>]>([
    ['a bad gateway', { status: 502 }],
    ['an upstream that says it is unavailable', { status: 503 }],
    ['a gateway timeout of the upstream’s', { status: 504 }],
    [
      'a refused connection',
      {
        status: 503,
        responseFlags: ['UF'],
        details: 'upstream_reset_before_response_started{remote_connection_failure}',
      },
    ],
    [
      'a reset before the answer',
      { status: 503, responseFlags: ['UR'], details: 'upstream_reset_before_response_started{remote_reset}' },
    ],
    [
      'a cut connection',
      {
        status: 503,
        responseFlags: ['UC'],
        details: 'upstream_reset_before_response_started{connection_termination}',
      },
    ],
    [
      'a reset in the middle of an answer',
      {
        status: 200,
        responseFlags: ['UC'],
        details: 'upstream_reset_after_response_started{connection_termination}',
      },
    ],
    ['a route’s timeout', { status: 504, responseFlags: ['UT'], details: 'response_timeout' }],
    [
      'an idle timeout while the answer was awaited',
      { status: 504, responseFlags: ['SI'], details: 'stream_idle_timeout' },
    ],
    ['no healthy host', { status: 503, responseFlags: ['UH'], details: 'no_healthy_upstream' }],
    [
      'an answer that is no HTTP',
      {
        status: 502,
        responseFlags: ['UPE'],
        details: 'upstream_reset_before_response_started{protocol_error}',
      },
    ],
    [
      'a name that does not resolve',
      { status: 503, responseFlags: ['DF'], details: 'dns_resolution_failure' },
    ],
    ['gRPC’s UNAVAILABLE', { status: 200, grpcStatus: 14 }],
    ['gRPC’s DEADLINE_EXCEEDED', { status: 200, grpcStatus: 4 }],
    ['a timeout known by its details alone', { status: 504, responseFlags: [], details: 'response_timeout' }],
    [
      'a reset known by its details alone',
      { status: 503, details: 'upstream_reset_before_response_started{remote_reset}' },
    ],
    ['a status where nothing says who gave it', { status: 503, details: '' }],
  ])('%s', (_what, more) => {
    expect(read(more)).toEqual(bad)
  })
})

describe('is none:', () => {
  test.each([200, 204, 301, 400, 401, 403, 404, 409, 418, 422, 429, 500, 501, 505, 599])(
    'an answer %i',
    (status) => {
      expect(read({ status })).toEqual(good)
    },
  )

  test.each([0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16])('gRPC’s status %i', (grpcStatus) => {
    expect(read({ grpcStatus })).toEqual(good)
  })

  test('a WebSocket that the upstream cuts after an hour', () => {
    const ended = { status: 101, responseFlags: ['UC'], durationMs: 3_600_000, upstreamWaitMs: 3_600_000 }

    expect(read(ended)).toEqual(good)
  })
})

describe('says nothing of the upstream:', () => {
  test.each<[string, Partial<Outcome>]>([
    ['a denial of ours', { status: 503, decision: { kind: 'deny', route: 'orders' } }],
    ['a request without a verdict', { status: 503, decision: { kind: 'fault', route: 'orders' } }],
    [
      'a request that Envoy answered before it asked',
      { status: 503, decision: { kind: 'none', route: 'orders' } },
    ],
    ['a client that left', { status: 0, responseFlags: ['DC'], details: 'downstream_remote_disconnect' }],
    ['a client that reset its stream', { status: 0, responseFlags: ['DR'], details: '' }],
    ['a client that left in the middle of the answer', { status: 200, responseFlags: ['DC'] }],
    ['a client that nobody knows to have left', { status: 0, details: '' }],
    [
      'full pools',
      { status: 503, responseFlags: ['UO'], details: 'upstream_reset_before_response_started{overflow}' },
    ],
    [
      'full pools, to a gRPC caller',
      {
        status: 200,
        grpcStatus: 14,
        responseFlags: ['UO'],
        details: 'upstream_reset_before_response_started{overflow}',
      },
    ],
    [
      'full pools, known by their details alone',
      { status: 503, details: 'upstream_reset_before_response_started{overflow}' },
    ],
    ['Envoy’s own rate limit', { status: 429, responseFlags: ['RL'], details: 'local_rate_limited' }],
    ['an injected fault', { status: 503, responseFlags: ['FI'], details: 'fault_filter_abort' }],
    ['a direct response', { status: 503, details: 'direct_response' }],
    ['no route', { status: 404, responseFlags: ['NR'], details: 'route_not_found' }],
    ['no cluster', { status: 503, responseFlags: ['NC'], details: 'cluster_not_found' }],
    ['an answer of another filter', { status: 503, details: 'lua_response' }],
    ['a request that never came whole', { status: 408, details: 'request_overall_timeout' }],
  ])('%s', (_what, more) => {
    expect(read(more)).toBeUndefined()
  })
})

describe('one of Envoy’s flags', () => {
  test.each(['DC', 'DR', 'DPE', 'DT', 'IH', 'UO', 'OM', 'RL', 'RLSE', 'FI', 'NR', 'NC', 'NFCF', 'UAEX'])(
    '%s alone makes a 503 say nothing, whatever else is flagged',
    (flag) => {
      expect(read({ status: 503, responseFlags: ['UF', flag], details: '' })).toBeUndefined()
    },
  )

  test.each(['UH', 'UF', 'UC', 'UR', 'UT', 'UMSDR', 'UPE', 'DF', 'LR'])(
    '%s alone makes a failure of an answer that had begun well',
    (flag) => {
      expect(read({ status: 200, responseFlags: [flag], details: '' })).toEqual(bad)
    },
  )

  test.each(['direct_response', 'fault_filter_abort', 'downstream_remote_disconnect'])(
    'is not needed where the details are %s: even a 504 says nothing then',
    (details) => {
      expect(read({ status: 504, details })).toBeUndefined()
    },
  )
})

describe('what else is a failure', () => {
  test('is said by the configuration', () => {
    const failureOn = { statuses: [[500, 500] as const, [520, 599] as const], grpcStatuses: [13] }

    expect(read({ status: 500 }, failureOn)).toEqual(bad)
    expect(read({ status: 501 }, failureOn)).toEqual(good)
    expect(read({ status: 598 }, failureOn)).toEqual(bad)
    expect(read({ grpcStatus: 13 }, failureOn)).toEqual(bad)
  })

  test('does not make a denial of ours one', () => {
    const failureOn = { statuses: [[400, 599] as const], grpcStatuses: [] }

    expect(read({ status: 401, decision: { kind: 'deny', route: 'orders' } }, failureOn)).toBeUndefined()
  })
})

describe('slow', () => {
  test('is an answer whose first byte takes longer, however long the client makes the rest', () => {
    expect(read({ upstreamWaitMs: 101 })).toEqual({ failed: false, slow: true })
    expect(read({ upstreamWaitMs: 100, upstreamDurationMs: 9_000, durationMs: 9_000 })).toEqual(good)
    expect(read({ upstreamWaitMs: undefined, durationMs: 9_000 })).toEqual(good)
  })

  test('is nothing where no bound is set', () => {
    expect(evidenceOf(outcomeWith({ upstreamWaitMs: 1e9 }), { failureOn: rules.failureOn })).toEqual(good)
  })
})
