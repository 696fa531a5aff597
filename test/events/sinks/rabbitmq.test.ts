import { expect, test } from '@jest/globals'
import type { AmqpExchange, AmqpMessage } from '../../../src/core/amqp.ts'
import type { LoggedEvent } from '../../../src/events/sinks/broker.ts'
import { createRabbitBroker } from '../../../src/events/sinks/rabbitmq.ts'

const never = new AbortController().signal

const event: LoggedEvent = {
  id: '9f3b6c3e-2c3d-4f43-8f0f-0c1d1f1e2a3b',
  type: 'rate_limit.exceeded',
  timestamp: '2030-01-01T00:00:00.999Z',
  requestId: 'r-1',
  clientId: undefined,
  json: '{"id":"9f3b6c3e-2c3d-4f43-8f0f-0c1d1f1e2a3b"}',
}

test('an event becomes a message of its own exchange, and refusals are handed back as they are', async () => {
  const exchanges: AmqpExchange[] = []
  const published: AmqpMessage[] = []
  const refusals = [{ index: 0, reason: 'unroutable' }]
  const broker = createRabbitBroker((exchange) => {
    exchanges.push(exchange)
    return {
      publish: async (messages) => {
        published.push(...messages)
        return refusals
      },
      probe: async () => 'there',
      close: async () => {},
    }
  })

  await expect(broker.deliver([event], never)).resolves.toEqual(refusals)

  expect(exchanges).toEqual([{ name: 'gateway.events', type: 'topic' }])
  expect(published).toEqual([
    {
      id: event.id,
      routingKey: 'rate_limit.exceeded',
      type: 'rate_limit.exceeded',
      contentType: 'application/json',
      timestampSeconds: Date.UTC(2030, 0, 1) / 1_000,
      headers: {
        'cloudEvents:specversion': '1.0',
        'cloudEvents:id': event.id,
        'cloudEvents:type': 'rate_limit.exceeded',
        'cloudEvents:source': 'urn:gatepost',
        'cloudEvents:time': event.timestamp,
      },
      body: event.json,
    },
  ])
})
