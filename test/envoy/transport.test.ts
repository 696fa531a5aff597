import { status } from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import type { Decision } from '../../src/core/decision.ts'
import { showAddress } from '../../src/core/listen.ts'
import { createExtProc, type ProcSession } from '../../src/envoy/ext-proc.ts'
import { createSeal } from '../../src/envoy/seal.ts'
import { type GrpcServer, type GrpcServerParts, startGrpcServer } from '../../src/envoy/server.ts'
import { entryWith } from '../support/access-log-door.ts'
import { allowWith } from '../support/decisions.ts'
import { requestHeaders, responseHeaders } from '../support/ext-proc-door.ts'
import { connectStreams, type StreamClient } from '../support/grpc-streams.ts'
import { until } from '../support/until.ts'

const timeoutMs = 30_000
/** Bytes that are no message: a field that announces more than there is. */
const cutShort = Buffer.from([0x12, 0xff, 0x01, 0x00])

let opened: AsyncDisposableStack
beforeEach(() => {
  opened = new AsyncDisposableStack()
})
afterEach(() => opened.disposeAsync())

/** Starts a server that allows, or does what `parts` say, with a client of it; both end after the test. */
async function start(parts: Partial<GrpcServerParts>): Promise<{ server: GrpcServer; client: StreamClient }> {
  const server = await startGrpcServer({
    address: { kind: 'tcp', host: '127.0.0.1', port: 0 },
    socketMode: 0o660,
    tls: undefined,
    check: async () => ({ status: { code: 0 } }),
    process: () => sessionWith(),
    takeBatch: () => undefined,
    onReply: () => undefined,
    monotonicMs: () => 0,
    ...parts,
  })
  opened.defer(() => server.close(0))
  return { server, client: opened.use(connectStreams(showAddress(server.address))) }
}

function sessionWith(parts: Partial<ProcSession> = {}): ProcSession {
  return {
    take: async ({ request }) => (request ? { [request]: {} } : undefined),
    end: () => undefined,
    cancel: () => undefined,
    ...parts,
  }
}

/** A session that writes down what is done to it. */
function recordedSession(parts: Partial<ProcSession> = {}) {
  const calls: string[] = []
  const session = sessionWith({
    end: () => void calls.push('end'),
    cancel: () => void calls.push('cancel'),
    ...parts,
  })
  return { calls, session }
}

const noVerdict = { code: status.UNAVAILABLE, details: 'no verdict: see the log of Gatepost' }

describe('a Process stream', () => {
  test('gets an answer for each message, and ends well where the session does', async () => {
    const { client } = await start({})
    const call = client.process()

    call.send(requestHeaders())
    const first = await call.next()
    call.send(responseHeaders())
    const second = await call.next()
    call.halfClose()

    expect([first?.response, second?.response]).toEqual(['request_headers', 'response_headers'])
    expect(await call.next()).toBeUndefined()
    expect((await call.ended).code).toBe(status.OK)
  })

  test('has its messages taken one after the other, however long each takes', async () => {
    const releases: (() => void)[] = []
    const taken: (string | undefined)[] = []
    const { client } = await start({
      process: () =>
        sessionWith({
          async take({ request }) {
            taken.push(request)
            const { promise, resolve } = Promise.withResolvers<void>()
            releases.push(resolve)
            await promise
            return { [request ?? '']: {} }
          },
        }),
    })
    const call = client.process()

    call.send(requestHeaders())
    call.send(responseHeaders())
    await until(() => releases.length === 1)
    const takenBefore = [...taken]
    releases[0]?.()
    await until(() => releases.length === 2)
    releases[1]?.()

    expect(takenBefore).toEqual(['request_headers'])
    expect((await call.next())?.response).toBe('request_headers')
    expect((await call.next())?.response).toBe('response_headers')
  })

  test('gets nothing where the session answers nothing', async () => {
    const { client } = await start({ process: () => sessionWith({ take: async () => undefined }) })
    const call = client.process()

    call.send(requestHeaders())
    call.halfClose()

    expect(await call.next()).toBeUndefined()
    expect((await call.ended).code).toBe(status.OK)
  })

  test('hands its initial metadata to the session', async () => {
    let seen: Readonly<Record<string, string>> = {}
    const { client } = await start({
      process(metadata) {
        seen = metadata
        return sessionWith()
      },
    })
    const call = client.process({ 'gatepost-mode': 'observe', 'gatepost-auth': 'none' })

    call.send(requestHeaders())
    await call.next()

    expect(seen).toMatchObject({ 'gatepost-mode': 'observe', 'gatepost-auth': 'none' })
  })

  test('tells with each reply how long it took', async () => {
    const told: unknown[] = []
    const times = [100, 103.5, 200, 201]
    const { client } = await start({
      onReply: (...reply) => told.push(reply),
      monotonicMs: () => times.shift() ?? 0,
    })
    const call = client.process()

    call.send(requestHeaders())
    await call.next()
    call.send(responseHeaders())
    await call.next()
    await until(() => told.length === 2)

    expect(told).toEqual([
      ['ext_proc', 3.5],
      ['ext_proc', 1],
    ])
  })
})

describe('a Process stream ends as UNAVAILABLE, never well,', () => {
  test('where a message is a fault: what comes after it is not taken', async () => {
    const taken: unknown[] = []
    const { client } = await start({
      process: () =>
        sessionWith({
          take({ request }) {
            taken.push(request)
            return Promise.reject(new Error('a secret of ours'))
          },
        }),
    })
    const call = client.process()

    call.send(requestHeaders())
    call.send(responseHeaders())
    call.halfClose()

    expect(await call.ended).toMatchObject(noVerdict)
    expect(taken).toEqual(['request_headers'])
  })

  test('where a later message is a fault, though the first was answered', async () => {
    const answers = [Promise.resolve({ request_headers: {} }), Promise.reject(new Error('down'))]
    const { client } = await start({
      process: () => sessionWith({ take: () => answers.shift() ?? Promise.resolve({}) }),
    })
    const call = client.process()

    call.send(requestHeaders())
    const first = await call.next()
    call.send(responseHeaders())

    expect(first?.response).toBe('request_headers')
    expect(await call.ended).toMatchObject(noVerdict)
  })

  test('where the session cannot be opened', async () => {
    const { client } = await start({
      process() {
        throw new Error('a bad mode')
      },
    })
    const call = client.process()

    call.send(requestHeaders())

    expect(await call.ended).toMatchObject({
      code: status.UNAVAILABLE,
      details: 'cannot use the initial metadata: see the log of Gatepost',
    })
  })

  test('where the session says that it must not end well', async () => {
    const { client } = await start({
      process: () =>
        sessionWith({
          end() {
            throw new Error('no verdict yet')
          },
        }),
    })
    const call = client.process()

    call.halfClose()

    expect(await call.ended).toMatchObject(noVerdict)
  })

  test('and other streams of the connection go on, before and after', async () => {
    let opens = 0
    const { client } = await start({
      process() {
        opens += 1
        return opens === 2 ? sessionWith({ take: () => Promise.reject(new Error('down')) }) : sessionWith()
      },
    })
    const before = client.process()
    before.send(requestHeaders())
    await before.next()
    const faulty = client.process()
    faulty.send(requestHeaders())

    await faulty.ended

    before.send(responseHeaders())
    const after = client.process()
    after.send(requestHeaders())
    expect((await before.next())?.response).toBe('response_headers')
    expect((await after.next())?.response).toBe('request_headers')
  })
})

describe('with the real door behind it', () => {
  /** Starts a server whose door waits for the verdict that the test gives. */
  async function startDoor() {
    const verdict = Promise.withResolvers<Decision>()
    const asked = Promise.withResolvers<void>()
    const faults: unknown[] = []
    const { client, server } = await start({
      process: createExtProc({
        decide() {
          asked.resolve()
          return verdict.promise
        },
        observe: () => undefined,
        observer: { decided: () => undefined, faulted: (_door, error) => faults.push(error) },
        seal: createSeal(),
        clientAddress: 'peer',
        now: () => 0,
      }),
    })
    return { client, server, verdict, asked: asked.promise, faults }
  }

  test('a clean half-close before any message is UNAVAILABLE', async () => {
    const { client, faults } = await startDoor()
    const call = client.process()

    call.halfClose()

    expect(await call.ended).toMatchObject(noVerdict)
    expect(faults).toHaveLength(1)
  })

  test('a clean half-close before the verdict waits for it, and then ends well', async () => {
    const { client, asked, verdict, faults } = await startDoor()
    const call = client.process()

    call.send(requestHeaders())
    call.halfClose()
    await asked
    verdict.resolve(allowWith())

    expect((await call.next())?.response).toBe('request_headers')
    expect((await call.ended).code).toBe(status.OK)
    expect(faults).toEqual([])
  })

  test('a clean half-close before a verdict that never comes is UNAVAILABLE', async () => {
    const { client, asked, verdict } = await startDoor()
    const call = client.process()

    call.send(requestHeaders())
    call.halfClose()
    await asked
    verdict.reject(new Error('issuer down'))

    expect(await call.next()).toBeUndefined()
    expect(await call.ended).toMatchObject(noVerdict)
  })

  test('a message out of order is UNAVAILABLE', async () => {
    const { client } = await startDoor()
    const call = client.process()

    call.send({ response_trailers: {} })

    expect(await call.ended).toMatchObject(noVerdict)
  })

  test('a stream that Envoy resets while the verdict is made is no fault', async () => {
    const { client, asked, verdict, faults } = await startDoor()
    const call = client.process()
    call.send(requestHeaders())
    await asked

    call.cancel()
    verdict.resolve(allowWith())
    await call.ended

    const next = client.process()
    next.send(requestHeaders())
    expect((await next.next())?.response).toBe('request_headers')
    expect(faults).toEqual([])
  })
})

describe('a Process stream that goes away', () => {
  test.each([
    ['after an answer', 1],
    ['before its first message', 0],
  ])('by a reset %s cancels its session once, and does not end it', async (_when, messages) => {
    const { session, calls } = recordedSession()
    let isOpen = false
    const { client, server } = await start({
      process() {
        isOpen = true
        return session
      },
    })
    const call = client.process()
    for (let sent = 0; sent < messages; sent++) {
      call.send(requestHeaders())
      await call.next()
    }
    await until(() => isOpen)

    call.cancel()
    await until(() => calls.length > 0)
    await server.close(timeoutMs)

    expect(calls).toEqual(['cancel'])
  })

  test('with its connection cancels its session', async () => {
    const { session, calls } = recordedSession()
    const { server } = await start({ process: () => session })
    const leaving = connectStreams(showAddress(server.address))
    const call = leaving.process()
    call.send(requestHeaders())
    await call.next()

    leaving[Symbol.dispose]()
    call.cancel()
    await until(() => calls.length > 0)

    expect(calls).toEqual(['cancel'])
  })

  test('because of bytes that are no message is INTERNAL, and its session is cancelled', async () => {
    const { session, calls } = recordedSession()
    const { client, server } = await start({ process: () => session })
    const call = client.process()

    call.send(cutShort)

    expect((await call.ended).code).toBe(status.INTERNAL)
    await until(() => calls.length > 0)
    expect(calls).toEqual(['cancel'])
    await expect(server.close(timeoutMs)).resolves.toBeUndefined()
  })

  test('because the answer cannot be written is INTERNAL, and the next stream is answered', async () => {
    const answers = [{ request_headers: 'no message' as unknown as object }]
    const { client } = await start({
      process: () => sessionWith({ take: async () => answers.shift() ?? { request_headers: {} } }),
    })
    const call = client.process()

    call.send(requestHeaders())

    expect((await call.ended).code).toBe(status.INTERNAL)
    const next = client.process()
    next.send(requestHeaders())
    expect((await next.next())?.response).toBe('request_headers')
  })
})

describe('an access log stream', () => {
  const batch = (...ids: string[]) => ({
    http_logs: { log_entry: ids.map((request_id) => entryWith({ request: { request_id } })) },
  })

  /** Starts a server that keeps the request ids of each batch. */
  async function startKeeping(onBatch: (ids: string[]) => void = () => undefined) {
    const batches: string[][] = []
    const { client, server } = await start({
      takeBatch({ http_logs }) {
        const ids = (http_logs?.log_entry ?? []).map(({ request }) => request?.request_id ?? '')
        onBatch(ids)
        batches.push(ids)
      },
    })
    return { client, server, batches }
  }

  test('hands over each batch, in order, and ends well when Envoy ends it', async () => {
    const { client, batches } = await startKeeping()
    const stream = client.accessLog()

    stream.send(batch('a', 'b'))
    stream.send(batch('c'))
    stream.halfClose()

    expect((await stream.ended).code).toBe(status.OK)
    expect(batches).toEqual([['a', 'b'], ['c']])
  })

  test('whose batch cannot be taken ends, and disturbs no other', async () => {
    const { client, batches } = await startKeeping((ids) => {
      if (ids.includes('bad')) throw new Error('no room')
    })
    const [first, faulty] = [client.accessLog(), client.accessLog()]
    first.send(batch('a'))
    await until(() => batches.length === 1)

    faulty.send(batch('bad'))
    const end = await faulty.ended
    first.send(batch('b'))
    const later = client.accessLog()
    later.send(batch('c'))
    await until(() => batches.length === 3)

    expect(end).toMatchObject({ code: status.INTERNAL, details: 'batch not taken' })
    expect(batches.flat().sort()).toEqual(['a', 'b', 'c'])
  })

  test('with bytes that are no message ends as INTERNAL, and disturbs no other', async () => {
    const { client, batches } = await startKeeping()
    const [first, faulty] = [client.accessLog(), client.accessLog()]

    faulty.send(cutShort)
    const { code } = await faulty.ended
    first.send(batch('a'))
    await until(() => batches.length === 1)

    expect(code).toBe(status.INTERNAL)
  })

  test('that is reset is forgotten: the server can close at once', async () => {
    const { client, server, batches } = await startKeeping()
    const stream = client.accessLog()
    stream.send(batch('a'))
    await until(() => batches.length === 1)

    stream.cancel()
    await stream.ended

    await expect(server.close(timeoutMs)).resolves.toBeUndefined()
  })
})

describe('stopping', () => {
  test('ends an unfinished Process as UNAVAILABLE once the time is up, and lets none pass', async () => {
    let taken = 0
    let openStreams = 0
    const { client, server } = await start({
      process() {
        openStreams += 1
        return sessionWith({
          take() {
            taken += 1
            return Promise.withResolvers<never>().promise
          },
        })
      },
    })
    const [waiting, idle] = [client.process(), client.process()]
    waiting.send(requestHeaders())
    await until(() => taken === 1 && openStreams === 2)

    const closing = server.close(0)

    for (const { ended } of [waiting, idle]) {
      expect(await ended).toMatchObject({ code: status.UNAVAILABLE, details: 'Gatepost is stopping' })
    }
    await closing
  })

  test('lets a Process finish in time', async () => {
    const { client, server } = await start({})
    const call = client.process()
    call.send(requestHeaders())
    await call.next()

    const closing = server.close(timeoutMs)
    call.send(responseHeaders())
    const answer = await call.next()
    call.halfClose()

    expect(answer?.response).toBe('response_headers')
    expect((await call.ended).code).toBe(status.OK)
    await closing
  })

  test('takes what the access log still has to tell of requests that were answered before', async () => {
    const batches: unknown[] = []
    const { client, server } = await start({ takeBatch: (batch) => batches.push(batch) })
    const stream = client.accessLog()
    stream.send({ http_logs: { log_entry: [] } })
    await until(() => batches.length === 1)

    const closing = server.close(timeoutMs)
    stream.send({ http_logs: { log_entry: [] } })
    const { code } = await stream.ended
    await closing

    expect(code).toBe(status.OK)
    expect(batches).toHaveLength(2)
  })

  test('half-closes the access log streams, while a Process is still under way', async () => {
    const batches: unknown[] = []
    const { client, server } = await start({ takeBatch: (batch) => batches.push(batch) })
    const call = client.process()
    call.send(requestHeaders())
    await call.next()
    const streams = [client.accessLog(), client.accessLog()]
    for (const stream of streams) stream.send({ http_logs: { log_entry: [] } })
    await until(() => batches.length === 2)

    const closing = server.close(timeoutMs)
    const codes = await Promise.all(streams.map(async ({ ended }) => (await ended).code))

    expect(codes).toEqual([status.OK, status.OK])
    call.send(responseHeaders())
    expect((await call.next())?.response).toBe('response_headers')
    call.halfClose()
    await closing
  })
})
