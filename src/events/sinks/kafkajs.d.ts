// Parts of kafkajs that it does not publish.

/** The queue of requests of one connection. */
declare module 'kafkajs/src/network/requestQueue/index.js' {
  class RequestQueue {
    constructor(options: object)
    pending: unknown[]
    throttleCheckTimeoutId: NodeJS.Timeout | null
    checkPendingRequests(): void
    scheduleCheckPendingRequests(): void
  }
  export = RequestQueue
}

/** Bytes to be sent, which grow as they are written. */
declare module 'kafkajs/src/protocol/encoder.js' {
  class Encoder {
    readonly buf: Buffer
    readonly buffer: Buffer
    size(): number
    writeInt16(value: number): this
    writeInt32(value: number): this
    writeString(value: string | null): this
    writeArray(value: readonly Encoder[]): this
    writeEncoder(value: Encoder): this
    /** By which kafkajs encodes the headers of a message. */
    writeVarIntArray(value: readonly Encoder[]): this
  }
  export = Encoder
}

/** Batches of records, as they are since Kafka 0.11. */
declare module 'kafkajs/src/protocol/recordBatch/v0/index.js' {
  import type Encoder from 'kafkajs/src/protocol/encoder.js'
  export function RecordBatch(options: {
    compression: number
    firstTimestamp: number
    maxTimestamp: number
    producerId: unknown
    producerEpoch: number
    firstSequence: number
    transactional: boolean
    lastOffsetDelta: number
    records: readonly Pick<Encoder, 'buf' | 'buffer'>[]
  }): Promise<Encoder>
}

/** The request by which messages are stored, in each version of it. */
declare module 'kafkajs/src/protocol/requests/produce/index.js' {
  import type { Message } from 'kafkajs'
  import type Encoder from 'kafkajs/src/protocol/encoder.js'

  namespace produce {
    interface Order {
      acks: number
      timeout: number
      compression: number
      transactionalId: string | null
      producerId: unknown
      producerEpoch: number
      topicData: readonly { topic: string; partitions: readonly Partition[] }[]
    }
    interface Partition {
      partition: number
      firstSequence: number
      messages: readonly Message[]
    }
    interface Request {
      encode: () => Promise<Encoder>
    }
    type Protocol = (order: Order) => { request: Request }
  }
  const produce: { protocol(options: { version: number }): produce.Protocol }
  export = produce
}
