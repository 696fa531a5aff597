import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { EventEmitter } from 'node:events'
import type { ServerHttp2Stream } from 'node:http2'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { showAddress } from '../../src/core/listen.ts'
import { OpenCalls } from '../../src/envoy/open-calls.ts'
import { type GrpcServer, startGrpcServer } from '../../src/envoy/server.ts'
import { duplex, unary } from '../../src/envoy/transport.ts'
import { requestHeaders } from '../support/ext-proc-door.ts'
import { connectGrpc } from '../support/grpc-client.ts'
import { connectStreams } from '../support/grpc-streams.ts'
import { until } from '../support/until.ts'

const created = 'http2.server.stream.created'

let opened: AsyncDisposableStack
let server: GrpcServer
let streams: ServerHttp2Stream[]
beforeEach(async () => {
  opened = new AsyncDisposableStack()
  streams = []
  server = await startGrpcServer({
    address: { kind: 'tcp', host: '127.0.0.1', port: 0 },
    socketMode: 0o660,
    check: async () => ({ status: { code: 0 } }),
    process: () => ({
      take: async () => ({ request_headers: {} }),
      end: () => undefined,
      cancel: () => undefined,
    }),
    takeBatch: () => undefined,
    onReply: () => undefined,
    monotonicMs: () => 0,
  })
  opened.defer(() => server.close(0))
  const note = (message: unknown) => streams.push((message as { stream: ServerHttp2Stream }).stream)
  subscribe(created, note)
  opened.defer(() => void unsubscribe(created, note))
})
afterEach(() => opened.disposeAsync())

/** The names of the events that anybody listens to on any of the streams. */
function listenedTo(): (string | symbol)[] {
  return [...new Set(streams.flatMap((stream) => stream.eventNames()))]
}

test('the HTTP/2 stream of an answered Check holds no listener but one for errors', async () => {
  const client = opened.use(connectGrpc(showAddress(server.address)))

  await client.check({})
  await until(() => streams.length === 1 && streams.every(({ closed }) => closed))
  await until(() => listenedTo().length === 1)

  expect(listenedTo()).toEqual(['error'])
})

test('so it is where Envoy has reset a Process stream', async () => {
  const client = opened.use(connectStreams(showAddress(server.address)))
  const call = client.process()

  call.send(requestHeaders())
  await call.next()
  expect(listenedTo()).toContain('data')
  call.cancel()
  await until(() => listenedTo().length === 1)

  expect(listenedTo()).toEqual(['error'])
})

/** What grpc-js hands to a handler, as far as it is let go of. */
function callOfGrpc() {
  return Object.assign(new EventEmitter(), {
    call: {},
    metadata: { getMap: () => ({}) },
    request: { attributes: {} },
  })
}

const parts = () => ({ onReply: () => undefined, monotonicMs: () => 0, unanswered: new OpenCalls() })

test('a unary call of grpc-js holds neither its message nor its stream once it is answered', async () => {
  const call = callOfGrpc()
  const { promise: answered, resolve } = Promise.withResolvers<unknown>()
  const handle = unary('ext_authz', async (message: typeof call.request) => message.attributes, parts())

  handle(call as never, (_error, reply) => {
    expect(call.call).toBeDefined()
    resolve(reply)
  })

  expect(await answered).toEqual({})
  await until(() => call.request === undefined)
  expect(call).toMatchObject({ call: undefined, metadata: undefined, request: undefined })
})

test('a stream of grpc-js holds neither its metadata nor its stream once it is closed', async () => {
  const call = callOfGrpc()
  const session = { take: async () => undefined, end: () => undefined, cancel: () => undefined }
  duplex('ext_proc', () => session, parts())(call as never)
  expect(call.call).toBeDefined()

  call.emit('close')

  await until(() => call.call === undefined)
  expect(call.metadata).toBeUndefined()
})
