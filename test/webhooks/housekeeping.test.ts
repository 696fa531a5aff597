import { expect, test } from '@jest/globals'
import Database from 'better-sqlite3'
import { tidy } from '../../src/webhooks/housekeeping.ts'
import { DeliveryTables } from '../../src/webhooks/tables.ts'

const week = 7 * 24 * 3_600_000

test('what has waited for a week is dropped, but for what is under way', () => {
  const tables = new DeliveryTables(new Database(':memory:'), 0)
  const event = tables.addEvent('e', Buffer.from('{}'))
  const add = (id: string, atMs: number) =>
    tables.add({ id, endpointId: 'hook', event, type: 'auth.failed', atMs })
  const underWay = [add('under way', 0)]
  add('old', 0)
  add('young', 1)

  const { dropped } = tidy(tables, underWay, week + 1)

  const statuses = ['under way', 'old', 'young'].map((id) => tables.get(id)?.status)
  expect([...dropped]).toEqual([['hook', 1]])
  expect(statuses).toEqual(['pending', 'dropped', 'pending'])
})
