import { expect, test } from '@jest/globals'
import Database from 'better-sqlite3'
import { createExpand } from '../../src/webhooks/expansion.ts'
import { queueEvents } from '../../src/webhooks/queueing.ts'
import { DeliveryTables } from '../../src/webhooks/tables.ts'
import { endpointOf } from '../support/webhooks-rig.ts'

test('room on the disk is never made of what is under way', () => {
  const tables = new DeliveryTables(new Database(':memory:'), 0)
  const event = tables.addEvent('e', Buffer.from('{}'))
  const add = (id: string) => tables.add({ id, endpointId: 'hook', event, type: 'auth.failed', atMs: 0 })
  const underWay = [add('under way')]
  add('old')
  const json = JSON.stringify({ event_type: 'auth.failed', timestamp: '2030-01-01T00:00:00Z', data: {} })

  const queued = queueEvents(
    [{ id: 'f', type: 'auth.failed', json }],
    createExpand([endpointOf({ url: 'https://hooks.example.com/' })]),
    tables,
    { maxBytes: 0, underWay: () => underWay, now: () => 1, newId: () => 'new' },
  )

  expect([...queued.dropped]).toEqual([['hook', 1]])
  expect(['under way', 'old', 'new'].map((id) => tables.get(id)?.status)).toEqual([
    'pending',
    undefined,
    'pending',
  ])
})
