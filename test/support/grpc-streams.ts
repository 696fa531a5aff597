import { EventEmitter, once } from 'node:events'
import { Client, credentials, Metadata, type StatusObject } from '@grpc/grpc-js'
import type { StreamAccessLogsMessage } from '../../src/envoy/gen/envoy/service/accesslog/v3/StreamAccessLogsMessage.ts'
import type { ProcessingRequest } from '../../src/envoy/gen/envoy/service/ext_proc/v3/ProcessingRequest.ts'
import type { ProcessingResponse__Output } from '../../src/envoy/gen/envoy/service/ext_proc/v3/ProcessingResponse.ts'
import { loadProtos } from '../../src/envoy/protos.ts'

/** How a stream ended. */
export type StreamEnd = Pick<StatusObject, 'code' | 'details'>

/** A stream to the server, whose messages may be any bytes. */
export interface ClientStream<I> {
  send(message: I | Buffer): void
  /** Says that no more will come. */
  halfClose(): void
  /** Resets the stream, as Envoy does. */
  cancel(): void
  /** Settles with the status that ended the stream; never rejects. */
  ended: Promise<StreamEnd>
}

/** An ext_proc stream. */
export interface ProcessCall extends ClientStream<ProcessingRequest> {
  /** The next answer; undefined where the stream has ended without one. */
  next(): Promise<ProcessingResponse__Output | undefined>
}

/** A client of Gatepost's streaming services, as Envoy is one. It closes at the end of its `using` scope. */
export interface StreamClient extends Disposable {
  process(initialMetadata?: Readonly<Record<string, string>>): ProcessCall
  accessLog(): ClientStream<StreamAccessLogsMessage>
}

/** Connects to Gatepost, by its address as `GATEPOST_GRPC_ADDRESS` spells it. */
export function connectStreams(address: string): StreamClient {
  const { Process } = loadProtos().ExternalProcessor
  const { StreamAccessLogs } = loadProtos().AccessLogService
  const client = new Client(address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 })
  return {
    process: (initialMetadata = {}) => processCall(client, Process, initialMetadata),

    accessLog() {
      const { promise: ended, resolve } = Promise.withResolvers<StreamEnd>()
      const call = client.makeClientStreamRequest(
        StreamAccessLogs.path,
        orBytes(StreamAccessLogs.requestSerialize),
        StreamAccessLogs.responseDeserialize,
        () => undefined,
      )
      call.on('status', resolve)
      call.on('error', () => undefined)
      return {
        send: (message) => call.write(message),
        halfClose: () => call.end(),
        cancel: () => call.cancel(),
        ended,
      }
    },

    [Symbol.dispose]: () => client.close(),
  }
}

type ProcessMethod = ReturnType<typeof loadProtos>['ExternalProcessor']['Process']

function processCall(
  client: Client,
  { path, requestSerialize, responseDeserialize }: ProcessMethod,
  initialMetadata: Readonly<Record<string, string>>,
): ProcessCall {
  const metadata = new Metadata()
  for (const [key, value] of Object.entries(initialMetadata)) metadata.add(key, value)
  const { promise: ended, resolve } = Promise.withResolvers<StreamEnd>()
  const call = client.makeBidiStreamRequest(path, orBytes(requestSerialize), responseDeserialize, metadata)
  const answers: ProcessingResponse__Output[] = []
  const told = new EventEmitter()
  let isOver = false
  call.on('data', (answer: ProcessingResponse__Output) => {
    answers.push(answer)
    told.emit('news')
  })
  call.on('status', (end: StreamEnd) => {
    isOver = true
    told.emit('news')
    resolve(end)
  })
  // How it ended is told by the status.
  call.on('error', () => undefined)
  return {
    send: (message) => call.write(message),
    halfClose: () => call.end(),
    cancel: () => call.cancel(),
    async next() {
      while (answers.length === 0 && !isOver) await once(told, 'news')
      return answers.shift()
    },
    ended,
  }
}

function orBytes<T>(serialize: (message: T) => Buffer): (message: T | Buffer) => Buffer {
  return (message) => (Buffer.isBuffer(message) ? message : serialize(message))
}
