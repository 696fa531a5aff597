import { describe, expect, test } from '@jest/globals'
import { KafkaLedger } from '../../../src/events/sinks/kafka-ledger.ts'

const partitionMetadata = [0, 1, 2].map((partitionId) => ({
  partitionId,
  partitionErrorCode: 0,
  leader: 1,
  replicas: [1],
  isr: [1],
}))

/** Sends one message of each key to the topic `t`. @returns the partitions that were chosen. */
function send(ledger: KafkaLedger, keys: readonly string[]): number[] {
  const choose = ledger.partitioner()
  return keys.map((key) => choose({ topic: 't', partitionMetadata, message: { key, value: '' } }))
}

// murmur2 of each key as Kafka's own UtilsTest has it.
test.each([
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['abc', 479470107],
])('the key %s goes where a Java client sends it', (key, murmur2) => {
  expect(send(new KafkaLedger(), [key])).toEqual([(murmur2 & 0x7fffffff) % 3])
})

describe('a batch', () => {
  const keys = ['21', 'foobar', 'abc', 'another']
  const answersFor = (partitions: readonly number[]) =>
    partitions.map((partition) => ({ topicName: 't', partition }))

  test('of which every partition was answered for is fine', () => {
    const ledger = new KafkaLedger()
    const partitions = send(ledger, keys)

    expect(() => ledger.balance(answersFor(partitions))).not.toThrow()
  })

  test('of which one was not is told with the partition', () => {
    const ledger = new KafkaLedger()
    const [forgotten, ...others] = new Set(send(ledger, keys))

    expect(() => ledger.balance(answersFor(others))).toThrow(`no broker has answered for t/${forgotten}`)
  })

  test('that was answered for by another topic alone was not', () => {
    const ledger = new KafkaLedger()
    const [partition = 0] = send(ledger, ['21'])

    expect(() => ledger.balance([{ topicName: 'other', partition }])).toThrow(`t/${partition}`)
  })

  test('is not held to what came before it', () => {
    const ledger = new KafkaLedger()
    send(ledger, keys)

    ledger.begin()

    expect(() => ledger.balance([])).not.toThrow()
  })
})
