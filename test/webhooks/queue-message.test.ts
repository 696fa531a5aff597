import { createSecretKey, randomBytes } from 'node:crypto'
import { expect, test } from '@jest/globals'
import { openMessage, type QueuedDelivery, sealHeaders } from '../../src/webhooks/queue-message.ts'

const key = createSecretKey(randomBytes(32))
const delivery: QueuedDelivery = {
  endpointId: 'hook',
  eventId: '6b7f',
  type: 'auth.failed',
  firstAtMs: 1_900_000_000_000,
  attempts: 2,
  waits: 1,
  body: Buffer.from('{"event":"auth.failed"}'),
}

test('a message is read as what it was sealed as', () => {
  const headers = sealHeaders(delivery, false, key)

  expect(openMessage(headers, delivery.body, key)).toEqual({ kind: 'delivery', delivery })
})

test('whether it is ordered decides about its way alone', () => {
  const { webhook_order: order, ...kept } = sealHeaders(delivery, true, key)
  const { webhook_order: other, ...any } = sealHeaders(delivery, false, key)

  expect([order, other]).toEqual(['kept', 'any'])
  expect(kept).toEqual(any)
})

test('fields cannot be moved into one another', () => {
  const headers = sealHeaders({ ...delivery, endpointId: 'a', eventId: 'b","c' }, false, key)
  const moved = { ...headers, webhook_id: 'a","b', event_id: 'c' }

  expect(openMessage(moved, delivery.body, key)).toEqual({ kind: 'forged', why: 'bad_mac' })
})

test('nothing of the body can be moved into the fields', () => {
  const body = Buffer.from('x"]\n{}')
  const headers = sealHeaders({ ...delivery, body }, false, key)

  expect(openMessage({ ...headers, webhook_waits: '1x' }, Buffer.from('{}'), key).kind).toBe('forged')
})

test.each(['webhook_id', 'event_id', 'event_type', 'webhook_first_at', 'webhook_attempts', 'webhook_waits'])(
  'a message whose %s is another, is missing or is no text is not believed',
  (name) => {
    const headers = sealHeaders(delivery, false, key)
    const { [name]: _, ...without } = headers

    for (const forged of [{ ...headers, [name]: '3' }, without, { ...headers, [name]: { a: 1 } }]) {
      expect(openMessage(forged, delivery.body, key)).toEqual({ kind: 'forged', why: 'bad_mac' })
    }
  },
)

test.each<[string, unknown, string]>([
  ['missing', undefined, 'unsigned'],
  ['a number', 7, 'unsigned'],
  ['empty', '', 'bad_mac'],
  ['too short', 'ab', 'bad_mac'],
  ['of capitals', 'AB'.repeat(32), 'bad_mac'],
  ['of another key', 'ab'.repeat(32), 'bad_mac'],
])('a MAC that is %s is not believed', (_what, mac, why) => {
  const headers = { ...sealHeaders(delivery, false, key), webhook_mac: mac }

  expect(openMessage(headers, delivery.body, key)).toEqual({ kind: 'forged', why })
})

test('one byte more in the body is not believed', () => {
  const headers = sealHeaders(delivery, false, key)

  expect(openMessage(headers, Buffer.concat([delivery.body, Buffer.from(' ')]), key).kind).toBe('forged')
})
