import { expect, test } from '@jest/globals'
import Database from 'better-sqlite3'
import { DeliveryTables } from '../../src/webhooks/tables.ts'

test('an attempt that ends after its delivery was given up is written down, and changes nothing else', () => {
  const tables = new DeliveryTables(new Database(':memory:'), 0)
  const event = tables.addEvent('event-1', Buffer.from('{}'))
  const number = tables.add({ id: 'd', endpointId: 'hook', event, type: 'auth.failed', atMs: 0 })
  tables.drop('hook', { underWay: [], reason: 'removed', atMs: 5 })

  tables.settle({
    delivery: number,
    status: 'delivered',
    reason: null,
    dueMs: 0,
    atMs: 9,
    attempt: {
      at_ms: 8,
      duration_ms: 1,
      result: 'delivered',
      status: 200,
      reason: null,
      error: null,
      answer: '',
    },
  })

  expect(tables.get('d')).toMatchObject({ status: 'dropped', reason: 'removed', finished_ms: 5, attempts: 1 })
  expect(tables.attempts(number)).toMatchObject([{ number: 1, result: 'delivered' }])
  expect([tables.finished, tables.queue('hook').pending]).toEqual([1, 0])
})
