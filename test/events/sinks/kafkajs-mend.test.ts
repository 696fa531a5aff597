import { describe, expect, jest, test } from '@jest/globals'
import fc from 'fast-check'
import type { Message } from 'kafkajs'
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js'
import Encoder from 'kafkajs/src/protocol/encoder.js'
import produce from 'kafkajs/src/protocol/requests/produce/index.js'
import { mendProduceRequest, mendRequestQueue } from '../../../src/events/sinks/kafkajs-mend.ts'

const { protocol: original } = produce

mendRequestQueue()
mendProduceRequest()

describe('the queue of requests', () => {
  function queue(): RequestQueue {
    return new RequestQueue({ maxInFlightRequests: 1, logger: { debug() {} } })
  }

  test('a connection on which nothing waits sets no timer', () => {
    const idle = queue()

    idle.checkPendingRequests()

    expect(idle.throttleCheckTimeoutId).toBeNull()
  })

  test('a request that waits is looked after', () => {
    const busy = queue()
    busy.pending.push({})

    busy.scheduleCheckPendingRequests()

    expect(busy.throttleCheckTimeoutId).not.toBeNull()
    clearTimeout(busy.throttleCheckTimeoutId ?? undefined)
  })
})

describe('the request that stores messages', () => {
  const none = 0
  const gzip = 1
  const someId = fc.record({ transactionalId: fc.option(fc.string()), producerId: fc.nat().map(String) })
  const text = fc.string({ unit: 'grapheme', maxLength: 300 })
  const bytes = fc.uint8Array({ maxLength: 20_000 }).map((array) => Buffer.from(array))
  const plain = fc.record({ key: text, value: bytes, headers: fc.dictionary(text, text) })
  const any: fc.Arbitrary<Message> = fc.record(
    {
      key: fc.option(fc.oneof(text, bytes)),
      value: fc.oneof(text, bytes),
      headers: fc.dictionary(text, fc.oneof(text, bytes, fc.array(text))),
      timestamp: fc.nat().map(String),
    },
    { requiredKeys: ['value'] },
  )

  function orderOf(messages: readonly Message[], ids: Partial<produce.Order> = {}): produce.Order {
    const middle = messages.length >> 1
    const partitions = [
      { partition: 3, firstSequence: 41, messages: messages.slice(0, middle) },
      { partition: 0, firstSequence: 7, messages: messages.slice(middle) },
    ].filter((each) => each.messages.length > 0)
    const topicData = [
      { topic: 'gateway.requests', partitions },
      { topic: 'gateway.auth', partitions: partitions.slice(0, 1) },
    ]
    return {
      ...{ acks: -1, timeout: 10_000, compression: gzip, producerEpoch: 2 },
      ...ids,
      topicData,
    } as never
  }

  async function encoded(protocol: typeof original, order: produce.Order, version = 7): Promise<Buffer> {
    const now = jest.spyOn(Date, 'now').mockReturnValue(1_796_000_000_000)
    try {
      return (await protocol({ version })(order).request.encode()).buffer
    } finally {
      now.mockRestore()
    }
  }

  test.each([
    ['plain ones', plain as fc.Arbitrary<Message>],
    ['any', any],
    ['both', fc.oneof(plain, any) as fc.Arbitrary<Message>],
  ])('becomes the bytes that kafkajs makes of it: messages, %s', async (_, message) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(message, { minLength: 1, maxLength: 150 }),
        someId,
        fc.constantFrom(none, gzip),
        fc.integer({ min: 3, max: 7 }),
        async (messages, ids, compression, version) => {
          const order = { ...orderOf(messages, ids), compression }

          expect(await encoded(produce.protocol, order, version)).toEqual(
            await encoded(original, order, version),
          )
        },
      ),
      { numRuns: 60 },
    )
  })

  test('an order of the messages before batches is left to kafkajs', () => {
    expect(produce.protocol({ version: 2 })).not.toBe(produce.protocol({ version: 3 }))
    expect(produce.protocol({ version: 2 })).toBe(original({ version: 2 }))
  })

  test('spends no encoder of kafkajs on plain messages', async () => {
    const headers = jest.spyOn(Encoder.prototype, 'writeVarIntArray')
    const message = { key: 'a', value: Buffer.from('{}'), headers: { ce_id: '1' } }

    await encoded(produce.protocol, orderOf([message, message]))
    const ofPlain = headers.mock.calls.length
    await encoded(produce.protocol, orderOf([message, { ...message, timestamp: '5' }]))

    expect(ofPlain).toBe(0)
    expect(headers).toHaveBeenCalled()
    headers.mockRestore()
  })
})
