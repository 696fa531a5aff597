import { expect, test } from '@jest/globals'
import { createExpand } from '../../src/webhooks/expansion.ts'
import { makeEvent } from '../support/spool.ts'
import { endpointOf } from '../support/webhooks-rig.ts'

const url = 'https://hooks.example.com/'

function logged(type: 'auth.failed' | 'request.completed' = 'auth.failed') {
  const event = makeEvent(type, 'event-1')
  return { id: event.id, type: event.event_type, json: JSON.stringify(event) }
}

test('an event is expanded for those that want it, to one body', () => {
  const { expand } = createExpand([
    endpointOf({ id: 'a', url, events: ['auth.*'] }),
    endpointOf({ id: 'b', url, events: ['request.completed'] }),
    endpointOf({ id: 'c', url, filters: { routes: ['r'] } }),
    endpointOf({ id: 'd', url, filters: { routes: ['other'] } }),
  ])

  const expanded = expand(logged())

  expect(expanded?.endpoints.map(({ id }) => id)).toEqual(['a', 'c'])
  expect(expanded?.event).toEqual({ id: 'event-1', type: 'auth.failed' })
  expect(Object.keys(JSON.parse(String(expanded?.body)))).toEqual(['event', 'timestamp', 'data'])
})

test('an event of a type that nobody wants is not even parsed', () => {
  const { wants, expand } = createExpand([endpointOf({ url, events: ['circuit_breaker.opened'] })])

  expect(wants('auth.failed')).toBe(false)
  expect(expand({ id: 'event-1', type: 'auth.failed', json: 'this is no JSON' })).toBeUndefined()
})

test('a type that some events of which may be wanted is wanted', () => {
  const { wants } = createExpand([endpointOf({ url, filters: { routes: ['other'] } })])

  expect(wants('auth.failed')).toBe(true)
})
