import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { type Admin, Kafka, type Producer, type ProducerConfig } from 'kafkajs'
import { createKafkaBroker } from '../../../src/events/sinks/kafka.ts'
import type { KafkaSettings } from '../../../src/events/sinks/kafka-session.ts'
import { loggedEvent } from '../../support/logged-events.ts'
import { listen } from '../../support/ports.ts'
import { until } from '../../support/until.ts'

const never = new AbortController().signal
const log = { debug() {}, info() {} }

/** Takes connections and every byte, and says nothing. */
const silent = createServer((socket) => {
  sockets.add(socket)
  socket.on('data', () => {})
  socket.on('error', () => {})
  socket.on('close', () => sockets.delete(socket))
})
const sockets = new Set<Socket>()
let address: string

beforeAll(async () => {
  address = `127.0.0.1:${await listen(silent)}`
})

afterAll(async () => {
  silent.close()
  await once(silent, 'close')
})

function settings(over: Partial<KafkaSettings> = {}): KafkaSettings {
  return { brokers: [address], tls: false, allowPlaintext: false, createTopics: false, ...over }
}

describe('a broker that never answers', () => {
  test.each([
    ['plain', {}],
    ['TLS', { tls: true }],
    ['SASL', { sasl: { mechanism: 'plain', username: 'gatepost' } }],
  ] as const)('is waited for as long as a run may take, and no connection is left: %s', async (_by, over) => {
    const broker = createKafkaBroker(settings(over), { log, runLimitMs: 50 })

    await expect(broker.deliver([loggedEvent()], never)).rejects.toThrow('no answer within 50 ms')
    await until(() => sockets.size === 0)
  })

  test('is left when the signal aborts', async () => {
    const broker = createKafkaBroker(settings(), { log })
    const controller = new AbortController()
    const delivery = broker.deliver([loggedEvent()], controller.signal)
    await until(() => sockets.size > 0)

    const reason = new Error('time to stop')
    controller.abort(reason)

    await expect(delivery).rejects.toBe(reason)
    await until(() => sockets.size === 0)
  })

  test('is not asked where the signal has aborted already', async () => {
    const broker = createKafkaBroker(settings(), { log })

    const delivery = broker.deliver([loggedEvent()], AbortSignal.abort(new Error('too late')))

    await expect(delivery).rejects.toThrow('too late')
  })

  test('is let go by close, and what is under way rejects', async () => {
    const broker = createKafkaBroker(settings(), { log })
    const delivery = broker.deliver([loggedEvent()], never)
    const rejected = expect(delivery).rejects.toThrow('Cannot deliver to Kafka')
    await until(() => sockets.size > 0)

    await broker.close()

    await rejected
    await until(() => sockets.size === 0)
  })
})

test('a second call before the first has settled is refused: concurrent sends are where kafkajs loses messages', async () => {
  const broker = createKafkaBroker(settings(), { log, runLimitMs: 50 })
  const first = broker.deliver([loggedEvent()], never)

  await expect(broker.deliver([loggedEvent()], never)).rejects.toThrow('the call before has not settled')
  await expect(first).rejects.toThrow('no answer')
})

test('nothing to deliver is delivered without a broker', async () => {
  const broker = createKafkaBroker(settings({ brokers: ['127.0.0.1:1'] }), { log })

  expect(await broker.deliver([], never)).toEqual([])
})

test('no broker beyond loopback is reached in plain text, whoever told of it', async () => {
  const broker = createKafkaBroker(settings({ brokers: ['192.0.2.1:9092'] }), { log })

  await expect(broker.deliver([loggedEvent()], never)).rejects.toThrow(
    /192\.0\.2\.1:9092, and plain text is for loopback only; set KAFKA_TLS=true, or GATEPOST_ALLOW_PLAINTEXT=true/,
  )
})

test('close before anything was delivered is fine, twice as well', async () => {
  const broker = createKafkaBroker(settings(), { log })

  await broker.close()
  await broker.close()
})

test('what is closed delivers nothing any more', async () => {
  const broker = createKafkaBroker(settings(), { log })
  await broker.close()

  await expect(broker.deliver([loggedEvent()], never)).rejects.toThrow('closed')
})

test('an answer that leaves out a partition of the batch is no delivery', async () => {
  // What kafkajs does where a leader moves between its two tries; it takes a cluster and luck to see it really.
  const fakes = [
    jest.spyOn(Kafka.prototype, 'admin').mockReturnValue(idleAdmin()),
    jest.spyOn(Kafka.prototype, 'producer').mockImplementation((config) => forgetfulProducer(config)),
  ]
  const broker = createKafkaBroker(settings(), { log })

  const delivery = broker.deliver([loggedEvent({ clientId: 'foobar' })], never)

  await expect(delivery).rejects.toThrow(/no broker has answered for gateway\.requests\/0/)
  for (const fake of fakes) fake.mockRestore()
})

const noWork = async () => {}

function idleAdmin(): Admin {
  const admin: Partial<Admin> = {
    connect: noWork,
    disconnect: noWork,
    fetchTopicMetadata: async () => ({ topics: [] }),
  }
  return admin as Admin
}

function forgetfulProducer({ createPartitioner }: ProducerConfig = {}): Producer {
  const choose = createPartitioner?.()
  const partitionMetadata = [{ partitionId: 0, partitionErrorCode: 0, leader: 1, replicas: [1], isr: [1] }]
  const producer: Partial<Producer> = {
    connect: noWork,
    disconnect: noWork,
    async sendBatch({ topicMessages = [] }) {
      for (const { topic, messages } of topicMessages) {
        for (const message of messages) choose?.({ topic, partitionMetadata, message })
      }
      return []
    },
  }
  return producer as Producer
}
