import { createSecretKey, randomBytes } from 'node:crypto'
import { expect, test } from '@jest/globals'
import type { AmqpMessage, AmqpRefusal } from '../../src/core/amqp.ts'
import type { WebhookEndpoint } from '../../src/core/webhooks.ts'
import { createWebhookQueue } from '../../src/webhooks/queue-publisher.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { endpointAt, expandable } from '../support/webhook-queue.ts'

const never = new AbortController().signal

function open(...endpoints: WebhookEndpoint[]) {
  const published: AmqpMessage[][] = []
  const declared: string[][] = []
  const state = { endpoints, refusals: [] as AmqpRefusal[] }
  const key = createSecretKey(randomBytes(32))
  const queue = createWebhookQueue({
    endpoints: () => state.endpoints,
    key: () => key,
    publisher: {
      async publish(messages) {
        published.push([...messages])
        return state.refusals
      },
      probe: async () => 'there',
      close: async () => undefined,
    },
    async declare(ids) {
      declared.push([...ids])
    },
    clock: new FakeClock(),
  })
  return { queue, published, declared, state }
}

const at = (id: string, changes: Partial<WebhookEndpoint> = {}) =>
  endpointAt('https://x.example/', { id, ...changes })

test('events that nobody wants touch nothing', async () => {
  const { queue, published, declared } = open(
    at('a', { events: ['request.completed'] }),
    at('b', { active: false }),
  )

  expect(await queue.deliver([expandable(), expandable()], never)).toEqual([])

  expect(published).toEqual([])
  expect(declared).toEqual([])
})

test('each event is published in its turn, once for each endpoint that wants it', async () => {
  const { queue, published } = open(at('a'), at('b', { ordered: true, filters: { routes: ['r'] } }))
  const events = [expandable('1'), expandable('2')]

  await queue.deliver(events, never)

  expect(published[0]?.map(({ id }) => id)).toEqual(['1:a', '1:b', '2:a', '2:b'])
  expect(published[0]?.map(({ headers }) => headers['webhook_order'])).toEqual(['any', 'kept', 'any', 'kept'])
})

test('queues are declared before the first message, and anew when ordered endpoints come', async () => {
  const { queue, declared, state } = open(at('a'))

  await queue.deliver([expandable()], never)
  await queue.deliver([expandable()], never)
  expect(declared).toEqual([[]])
  state.endpoints = [at('a'), at('b', { ordered: true })]
  await queue.deliver([expandable()], never)

  expect(declared).toEqual([[], ['b']])
})

test('messages that no queue gets are no loss: all of it fails, and the queues are declared anew', async () => {
  const { queue, declared, state } = open(at('a'))
  state.refusals = [{ index: 0, reason: 'unroutable' }]

  await expect(queue.deliver([expandable()], never)).rejects.toThrow(/declared anew/)
  state.refusals = []
  await queue.deliver([expandable()], never)

  expect(declared).toEqual([[], []])
})

test('an event of which a message is refused for good is told once, by its own place', async () => {
  const { queue, state } = open(at('a'), at('b'))
  state.refusals = [
    { index: 2, reason: 'too large' },
    { index: 3, reason: 'too large' },
  ]

  expect(await queue.deliver([expandable(), expandable()], never)).toEqual([
    { index: 1, reason: 'too large' },
  ])
})
