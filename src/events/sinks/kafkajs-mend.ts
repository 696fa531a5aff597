import type { Message } from 'kafkajs'
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js'
import Encoder from 'kafkajs/src/protocol/encoder.js'
import recordBatch from 'kafkajs/src/protocol/recordBatch/v0/index.js'
import produce from 'kafkajs/src/protocol/requests/produce/index.js'
import { encodeRecord, type PlainMessage } from './kafka-record-encoding.ts'

const { scheduleCheckPendingRequests: schedule } = RequestQueue.prototype

/**
 * Mends kafkajs 2.2.4, for the whole process: from its first answer on, every connection looks each millisecond whether
 * requests wait, for ever, where none does (tulios/kafkajs#1704), and Node warns of the negative delay (#1751). With
 * this it looks only while one waits. To be called before the first connection; again is harmless.
 */
export function mendRequestQueue(): void {
  RequestQueue.prototype.scheduleCheckPendingRequests = function (this: RequestQueue) {
    if (this.pending.length > 0) schedule.call(this)
  }
}

const { protocol } = produce

/** The version from which on messages are stored in batches of records. */
const firstVersionOfBatches = 3

/**
 * Mends kafkajs 2.2.4, for the whole process: it encodes a message with a buffer of 512 bytes for each of its headers
 * and one more for each number: 21 µs for an event. With this, messages that are {@link isPlain plain} take 0.8 µs
 * (docs/adr/0011-kafka.md), and become the same bytes. To be called before the first message is sent; again is harmless.
 */
export function mendProduceRequest(): void {
  produce.protocol = ({ version }) => {
    const original = protocol({ version })
    if (version < firstVersionOfBatches) return original
    return (order) => {
      const { request, ...rest } = original(order)
      const encode = () => (isPlainOrder(order) ? encodeOrder(order) : request.encode())
      return { ...rest, request: { ...request, encode } }
    }
  }
}

type PlainOrder = Omit<produce.Order, 'topicData'> & {
  topicData: readonly { topic: string; partitions: readonly PlainPartition[] }[]
}

type PlainPartition = Omit<produce.Partition, 'messages'> & { messages: readonly PlainMessage[] }

function isPlainOrder(order: produce.Order): order is PlainOrder {
  return order.topicData.every(({ partitions }) =>
    partitions.every(({ messages }) => messages.every(isPlain)),
  )
}

/** Whether all of a message is of the kinds that events are made of. */
function isPlain({ key, value, headers, timestamp }: Message): boolean {
  return (
    typeof key === 'string' &&
    Buffer.isBuffer(value) &&
    headers !== undefined &&
    Object.values(headers).every((header) => typeof header === 'string') &&
    timestamp === undefined
  )
}

async function encodeOrder(order: PlainOrder): Promise<Encoder> {
  const topics: Encoder[] = []
  for (const { topic, partitions } of order.topicData) {
    const encoded: Encoder[] = []
    for (const partition of partitions) encoded.push(await encodePartition(partition, order))
    topics.push(new Encoder().writeString(topic).writeArray(encoded))
  }
  return new Encoder()
    .writeString(order.transactionalId)
    .writeInt16(order.acks)
    .writeInt32(order.timeout)
    .writeArray(topics)
}

async function encodePartition(
  { partition, firstSequence, messages }: PlainPartition,
  { compression, transactionalId, producerId, producerEpoch }: PlainOrder,
): Promise<Encoder> {
  const now = Date.now()
  const batch = await recordBatch.RecordBatch({
    compression,
    records: messages.map((message, offset) => {
      const buffer = encodeRecord(message, offset)
      return { buf: buffer, buffer }
    }),
    firstTimestamp: now,
    maxTimestamp: now,
    producerId,
    producerEpoch,
    firstSequence,
    transactional: Boolean(transactionalId),
    lastOffsetDelta: messages.length - 1,
  })
  return new Encoder().writeInt32(partition).writeInt32(batch.size()).writeEncoder(batch)
}
