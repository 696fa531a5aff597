import { describe, expect, test } from '@jest/globals'
import type { WebhookEndpoint } from '../../src/core/webhooks.ts'
import { matches } from '../../src/webhooks/endpoint.ts'

type Wants = Pick<WebhookEndpoint, 'active' | 'events' | 'filters'>

const endpoint = (more: Partial<Wants> = {}): Wants => ({ active: true, events: ['*'], filters: {}, ...more })
const completed = { type: 'request.completed', data: { route: 'users', upstream_service: 'user-service' } }
const opened = { type: 'circuit_breaker.opened', data: { service: 'user-service' } }

describe('an endpoint gets', () => {
  test.each([
    [['*'], true],
    [['circuit_breaker.*'], true],
    [['circuit_breaker.opened'], true],
    [['auth.failed', 'circuit_breaker.opened'], true],
    [['circuit_breaker.closed'], false],
    [['circuit_breaker'], false],
    [['circuit.*'], false],
    [['circuit_breaker.open*'], false],
    [['auth.*'], false],
    [[], false],
  ])('by %j an opened circuit: %s', (events, wanted) => {
    expect(matches(endpoint({ events }), opened)).toBe(wanted)
  })

  test('nothing while it is inactive', () => {
    expect(matches(endpoint({ active: false }), opened)).toBe(false)
  })

  test.each([
    [{ routes: ['users'] }, true],
    [{ routes: ['orders', 'users'] }, true],
    [{ routes: ['orders'] }, false],
    [{ services: ['user-service'] }, true],
    [{ services: ['order-service'] }, false],
    [{ routes: ['users'], services: ['user-service'] }, true],
    [{ routes: ['users'], services: ['order-service'] }, false],
  ])('by the filter %j a completed request: %s', (filters, wanted) => {
    expect(matches(endpoint({ filters }), completed)).toBe(wanted)
  })

  test('by service an event that names it otherwise than a request does', () => {
    expect(matches(endpoint({ filters: { services: ['user-service'] } }), opened)).toBe(true)
  })

  test('by route no event that is about none', () => {
    expect(matches(endpoint({ filters: { routes: ['users'] } }), opened)).toBe(false)
  })
})
