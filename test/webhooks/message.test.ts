import { expect, test } from '@jest/globals'
import { bodyOf, headersOf } from '../../src/webhooks/message.ts'

const event = {
  id: 'evt_1',
  event_type: 'auth.failed',
  timestamp: '2030-01-01T00:00:00.000Z',
  request_id: 'r-1',
  data: { reason: 'missing_token', path: '/é' },
}

test('a body is the event, its time and its data, and nothing else', () => {
  expect(bodyOf(event).toString()).toBe(
    '{"event":"auth.failed","timestamp":"2030-01-01T00:00:00.000Z","data":{"reason":"missing_token","path":"/é"}}',
  )
})

test('an endpoint’s own headers go along, and replace none that is ours to set', () => {
  const endpoint = {
    secrets: [{ value: () => 'a-secret-0123456789' }],
    headers: {
      authorization: 'Bearer x',
      'user-agent': 'ours',
      'content-type': 'text/plain',
      'webhook-id': 'forged',
      'x-webhook-signature': 'forged',
    },
  }

  const headers = headersOf(endpoint, 'evt_1', bodyOf(event), 1_893_456_000_000)

  expect(headers).toEqual({
    authorization: 'Bearer x',
    'user-agent': 'ours',
    'content-type': 'application/json',
    'webhook-id': 'evt_1',
    'webhook-timestamp': '1893456000',
    'webhook-signature': expect.stringMatching(/^v1,[A-Za-z0-9+/]{43}=$/),
    'x-webhook-signature': expect.stringMatching(/^sha256=[0-9a-f]{64}$/),
  })
})
