import { expect, test } from '@jest/globals'
import { cloudEventAttributes } from '../../src/events/cloudevents.ts'
import { loggedEvent } from '../support/logged-events.ts'

test('an event has the attributes that CloudEvents 1.0 requires, and its time, each behind the prefix', () => {
  const event = loggedEvent({ id: 'id-1', timestamp: '2026-03-01T12:00:00.000Z', clientId: undefined })

  expect(cloudEventAttributes(event, 'ce_')).toEqual({
    ce_specversion: '1.0',
    ce_id: 'id-1',
    ce_type: 'request.completed',
    ce_source: 'urn:gatepost',
    ce_time: '2026-03-01T12:00:00.000Z',
  })
})

test('the subject is the client that asked', () => {
  const attributes = cloudEventAttributes(loggedEvent({ clientId: 'client-7' }), 'cloudEvents:')

  expect(attributes['cloudEvents:subject']).toBe('client-7')
})
