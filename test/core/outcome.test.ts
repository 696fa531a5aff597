import { describe, expect, test } from '@jest/globals'
import { requestCompleted, upstreamService } from '../../src/core/outcome.ts'
import { outcomeWith } from '../support/outcomes.ts'

describe('the event of a finished request', () => {
  test('has all that is known', () => {
    const event = requestCompleted(
      outcomeWith({
        durationMs: 12.345_678,
        responseFlags: ['UF', 'URX'],
        cacheStatus: 'miss',
        traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
        decision: { kind: 'allow', route: 'orders', service: 'orders-v2', userId: 'alice', clientId: 'shop' },
      }),
    )

    expect(event).toEqual({
      method: 'GET',
      path: '/orders',
      status_code: 200,
      duration_ms: 12.346,
      user_id: 'alice',
      client_ip: '192.0.2.7',
      user_agent: 'curl/8',
      upstream_service: 'orders-v2',
      cache_status: 'miss',
      route: 'orders',
      client_id: 'shop',
      decision: 'allow',
      bytes_in: 120,
      bytes_out: 340,
      response_flags: ['UF', 'URX'],
      trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
    })
  })

  test('leaves out what is not known', () => {
    const event = requestCompleted(
      outcomeWith({
        userAgent: '',
        clientAddress: undefined,
        bytesIn: undefined,
        bytesOut: undefined,
        upstreamCluster: undefined,
        decision: { kind: 'none', route: 'unmatched' },
      }),
    )

    expect(event).toEqual({
      method: 'GET',
      path: '/orders',
      status_code: 200,
      duration_ms: 12.5,
      route: 'unmatched',
      decision: 'none',
    })
  })

  test('keeps zeros, which are known', () => {
    const event = requestCompleted(outcomeWith({ status: 0, bytesIn: 0, bytesOut: 0, durationMs: 0 }))

    expect(event).toMatchObject({ status_code: 0, bytes_in: 0, bytes_out: 0, duration_ms: 0 })
  })

  test.each([
    ['path', 2_048, outcomeWith({ path: '/'.repeat(9_000) })],
    ['user_agent', 512, outcomeWith({ userAgent: 'u'.repeat(9_000) })],
    ['method', 64, outcomeWith({ method: 'M'.repeat(9_000) })],
    ['upstream_service', 256, outcomeWith({ upstreamCluster: 'c'.repeat(9_000) })],
  ] as const)('cuts its %s to %i bytes', (field, bytes, outcome) => {
    expect(requestCompleted(outcome)[field]).toHaveLength(bytes)
  })

  test('does not share the list of flags with the outcome', () => {
    const outcome = outcomeWith({ responseFlags: ['UF'] })

    expect(requestCompleted(outcome).response_flags).not.toBe(outcome.responseFlags)
  })
})

describe('the upstream service', () => {
  test.each([
    ['is the one that the route names', { decision: { kind: 'allow', route: 'r', service: 's' } }, 's'],
    ['is else Envoy’s cluster', {}, 'order_service'],
    ['is unknown where nothing was sent upstream', { upstreamCluster: undefined }, undefined],
  ] as const)('%s', (_what, more, expected) => {
    expect(upstreamService(outcomeWith(more))).toBe(expected)
  })
})
