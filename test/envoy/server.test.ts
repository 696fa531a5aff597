import { once } from 'node:events'
import { statSync, writeFileSync } from 'node:fs'
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import { createConnection, createServer } from 'node:net'
import { join } from 'node:path'
import { status } from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { CannotListen, type ListenAddress, showAddress, type TcpAddress } from '../../src/core/listen.ts'
import { type GrpcServer, type GrpcServerParts, startGrpcServer } from '../../src/envoy/server.ts'
import { connectGrpc, type GrpcClient } from '../support/grpc-client.ts'
import { listen } from '../support/ports.ts'
import { RunningProcess } from '../support/process.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'

const onTcp: ListenAddress = { kind: 'tcp', host: '127.0.0.1', port: 0 }
const timeoutMs = 30_000

let folder: TempFolder
let opened: AsyncDisposableStack
beforeEach(async () => {
  folder = await tempFolder('server')
  opened = new AsyncDisposableStack()
})
afterEach(async () => {
  await opened.disposeAsync()
  await folder.remove()
})

function onSocket(): ListenAddress {
  return { kind: 'unix', path: join(folder.path, 'gatepost.sock') }
}

/** Starts a server that allows, or does what `parts` say, and ends it after the test. */
async function start(parts: Partial<GrpcServerParts> = {}): Promise<GrpcServer> {
  const server = await startGrpcServer({
    address: onTcp,
    socketMode: 0o660,
    check: async () => ({ status: { code: 0 } }),
    process: () => ({ take: async () => undefined, end: () => undefined, cancel: () => undefined }),
    takeBatch: () => undefined,
    onReply: () => undefined,
    monotonicMs: () => 0,
    ...parts,
  })
  opened.defer(() => server.close(0))
  return server
}

/** Connects a client, and ends it after the test. */
function connect({ address }: Pick<GrpcServer, 'address'>): GrpcClient {
  return opened.use(connectGrpc(showAddress(address)))
}

describe.each([
  ['TCP', () => onTcp],
  ['a Unix socket', onSocket],
] as const)('over %s', (_transport, address) => {
  test('a Check gets the answer of the door', async () => {
    const server = await start({
      address: address(),
      check: async ({ attributes }) => ({ status: { message: attributes?.request?.http?.path ?? '' } }),
    })

    const reply = await connect(server).check({ attributes: { request: { http: { path: '/users' } } } })

    expect(reply.status?.message).toBe('/users')
  })

  test('health is asked on the same connection', async () => {
    const server = await start({ address: address() })
    server.health.serving = true

    await expect(connect(server).health()).resolves.toBe('SERVING')
  })
})

describe('health', () => {
  test.each(['', 'envoy.service.auth.v3.Authorization'])(
    'of the service "%s" is NOT_SERVING until it is said to serve',
    async (service) => {
      const server = await start()
      const client = connect(server)

      const before = await client.health(service)
      server.health.serving = true
      const after = await client.health(service)

      expect([before, after]).toEqual(['NOT_SERVING', 'SERVING'])
    },
  )

  test('of a service there is not is NOT_FOUND', async () => {
    const client = connect(await start())

    await expect(client.health('no.such.Service')).rejects.toMatchObject({ code: status.NOT_FOUND })
  })

  test('is pushed to those who watch when it changes, once for each change', async () => {
    const server = await start()
    const watch = connect(server).watch()
    const first = await watch.next()

    server.health.serving = true
    server.health.serving = true
    const second = await watch.next()
    server.health.serving = false
    const third = await watch.next()

    expect([first, second, third]).toEqual(['NOT_SERVING', 'SERVING', 'NOT_SERVING'])
  })

  test('of a service there is not can be watched, in case it comes', async () => {
    const watch = connect(await start()).watch('no.such.Service')

    await expect(watch.next()).resolves.toBe('SERVICE_UNKNOWN')
  })

  test('goes on for others when a watcher leaves', async () => {
    const server = await start()
    const leaving = connectGrpc(showAddress(server.address))
    await leaving.watch().next()
    const staying = connect(server).watch()
    await staying.next()

    leaving[Symbol.dispose]()
    server.health.serving = true

    await expect(staying.next()).resolves.toBe('SERVING')
  })
})

describe('a message that gets no verdict', () => {
  test('because of a fault is UNAVAILABLE, and the next one is answered', async () => {
    const answers = [Promise.reject(new Error('a secret of ours')), Promise.resolve({ status: { code: 0 } })]
    const client = connect(await start({ check: () => answers.shift() as Promise<object> }))

    const first = client.check({})

    await expect(first).rejects.toMatchObject({
      code: status.UNAVAILABLE,
      details: 'no verdict: see the log of Gatepost',
    })
    await expect(client.check({})).resolves.toMatchObject({ status: {} })
  })

  test.each([
    ['is cut short', Buffer.from([0x0a, 0xff, 0x01, 0x00])],
    ['has a wrong wire type', Buffer.from([0x0f, 0x0f, 0x0f])],
    ['has an endless number', Buffer.alloc(64, 0xff)],
  ])('because it %s is an error, and the next one is answered', async (_what, bytes) => {
    const client = connect(await start())

    const first = client.checkBytes(bytes)

    await expect(first).rejects.toMatchObject({ code: status.INTERNAL })
    await expect(client.check({})).resolves.toMatchObject({ status: {} })
  })

  test('because it is too large is RESOURCE_EXHAUSTED, and the next one is answered', async () => {
    const client = connect(await start())

    const first = client.checkBytes(Buffer.alloc(17 * 1024 * 1024))

    await expect(first).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED })
    await expect(client.check({})).resolves.toMatchObject({ status: {} })
  })

  test('because the answer cannot be written is an error, and the next one is answered', async () => {
    const answers = [{ status: 'no message' as unknown as object }, { status: { code: 0 } }]
    const client = connect(await start({ check: async () => answers.shift() ?? {} }))

    const first = client.check({})

    await expect(first).rejects.toMatchObject({ code: status.INTERNAL })
    await expect(client.check({})).resolves.toMatchObject({ status: {} })
  })
})

test('a request with 8 MiB of headers, the most that Envoy accepts, gets its verdict', async () => {
  const client = connect(
    await start({
      check: async ({ attributes }) => ({
        status: { message: String(Object.keys(attributes?.request?.http?.headers ?? {}).length) },
      }),
    }),
  )
  const headers = Object.fromEntries(
    Array.from({ length: 8_192 }, (_, at) => [`x-${at}`, 'v'.repeat(1_024 - 12)]),
  )

  const reply = await client.check({ attributes: { request: { http: { headers } } } })

  expect(reply.status?.message).toBe('8192')
})

test('each reply is told with the door and how long it took, faults too', async () => {
  const told: unknown[] = []
  const times = [100, 103.5, 200, 201]
  const answers = [Promise.resolve({ status: { code: 0 } }), Promise.reject(new Error('down'))]
  const client = connect(
    await start({
      check: () => answers.shift() as Promise<object>,
      onReply: (...reply) => told.push(reply),
      monotonicMs: () => times.shift() ?? 0,
    }),
  )

  await client.check({})
  await client.check({}).catch(() => undefined)

  expect(told).toEqual([
    ['ext_authz', 3.5],
    ['ext_authz', 1],
  ])
})

describe('the address', () => {
  test('has the port that the system chose', async () => {
    const server = await start()

    expect(server.address).toEqual({ ...onTcp, port: expect.any(Number) })
    expect(server.address).not.toEqual(onTcp)
  })

  test('that somebody else has is refused with the reason', async () => {
    const other = createServer()
    const port = await listen(other)
    opened.defer(() => void other.close())

    const starting = start({ address: { kind: 'tcp', host: '127.0.0.1', port } })

    await expect(starting).rejects.toThrow(CannotListen)
    await expect(starting).rejects.toThrow(
      `Cannot listen on 127.0.0.1:${port}: it is in use by another process`,
    )
  })

  test('that this machine does not have is refused with the reason', async () => {
    const starting = start({ address: { kind: 'tcp', host: '192.0.2.1', port: 0 } })

    await expect(starting).rejects.toThrow('Cannot listen on 192.0.2.1:0: this machine has no such address')
  })

  test('whose socket file has a mode gets that mode', async () => {
    const address = onSocket()

    await start({ address, socketMode: 0o600 })

    expect(statSync(pathOf(address)).mode & 0o777).toBe(0o600)
  })

  test('whose socket file a killed process left behind is taken over', async () => {
    const address = onSocket()
    await leaveSocketBehind(pathOf(address))
    expect(statSync(pathOf(address)).isSocket()).toBe(true)

    const server = await start({ address })

    await expect(connect(server).health()).resolves.toBe('NOT_SERVING')
  })

  test('whose socket file has a living owner is refused, and the owner goes on', async () => {
    const address = onSocket()
    const owner = await start({ address })

    const starting = start({ address })

    await expect(starting).rejects.toThrow(
      `Cannot listen on unix:${pathOf(address)}: it is in use by another process`,
    )
    await expect(connect(owner).health()).resolves.toBe('NOT_SERVING')
  })

  test('whose place a file of another kind has is refused, and the file stays', async () => {
    const address = onSocket()
    writeFileSync(pathOf(address), 'precious')

    const starting = start({ address })

    await expect(starting).rejects.toThrow(
      `Cannot listen on unix:${pathOf(address)}: a file that is no socket stands there`,
    )
    expect(statSync(pathOf(address)).size).toBe('precious'.length)
  })

  test('whose folder is missing is refused', async () => {
    const starting = start({ address: { kind: 'unix', path: join(folder.path, 'missing', 'gatepost.sock') } })

    await expect(starting).rejects.toThrow(CannotListen)
  })
})

describe('closing', () => {
  test('waits for a call under way and lets it finish', async () => {
    const { check, arrived, answer } = heldCheck()
    const server = await start({ check })
    const reply = connect(server).check({})
    await arrived

    const closing = server.close(timeoutMs)
    answer()

    await expect(reply).resolves.toMatchObject({ status: { message: 'late' } })
    await closing
  })

  test('takes no new connection', async () => {
    const server = await start()

    await server.close(timeoutMs)

    await expect(connect(server).check({})).rejects.toMatchObject({ code: status.UNAVAILABLE })
  })

  test('ends a call that does not finish in time as an error, never as a verdict', async () => {
    const { check, arrived, answer } = heldCheck()
    const server = await start({ check })
    const reply = connect(server).check({})
    const ended = expect(reply).rejects.toMatchObject({
      code: status.UNAVAILABLE,
      details: 'Gatepost is stopping',
    })
    await arrived

    await server.close(0)
    answer()

    await ended
  })

  test('ends the connection of a call whose message never came', async () => {
    const server = await start()
    const session = connectHttp2(`http://${showAddress(server.address)}`)
    opened.defer(() => session.destroy())
    await once(session, 'connect')
    const half = session.request({
      ':method': 'POST',
      ':path': '/envoy.service.auth.v3.Authorization/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
    })
    const ended = Promise.all(
      [session, half].map((end) => new Promise<void>((resolve) => end.once('close', resolve))),
    )
    for (const end of [session, half]) end.on('error', () => undefined)
    await answered(session)

    await server.close(0)

    await ended
    expect(half.closed).toBe(true)
  })

  test('does not wait for a peer that reads nothing any more', async () => {
    const server = await start()
    const { port } = server.address as TcpAddress
    const frozen = createConnection({ host: '127.0.0.1', port }).pause()
    opened.defer(() => void frozen.destroy())
    await once(frozen, 'connect')
    frozen.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

    await expect(server.close(0)).resolves.toBeUndefined()
  })

  test('ends the watches, which never end by themselves', async () => {
    const server = await start()
    const watch = connect(server).watch()
    await watch.next()

    await server.close(timeoutMs)

    await expect(watch.next()).resolves.toBe('ended')
  })

  test('removes the socket file', async () => {
    const address = onSocket()
    const server = await start({ address })

    await server.close(timeoutMs)

    expect(statSync(pathOf(address), { throwIfNoEntry: false })).toBeUndefined()
  })
})

/** Resolves once the other side has answered a ping, and so has seen all that was sent before it. */
function answered(session: ClientHttp2Session): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  session.ping(() => resolve())
  return promise
}

/** A door that holds its one call until told to answer. */
function heldCheck() {
  const arrival = Promise.withResolvers<void>()
  const verdict = Promise.withResolvers<{ status: { message: string } }>()
  return {
    check: () => {
      arrival.resolve()
      return verdict.promise
    },
    arrived: arrival.promise,
    answer: () => verdict.resolve({ status: { message: 'late' } }),
  }
}

function pathOf(address: ListenAddress): string {
  return address.kind === 'unix' ? address.path : ''
}

/** Lets another process listen on the path and kills it. */
async function leaveSocketBehind(path: string): Promise<void> {
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`
  await using other = new RunningProcess({
    name: 'listener',
    command: process.execPath,
    args: ['-e', script],
  })
  await other.line((line) => line === 'up')
  other.signal('SIGKILL')
  await other.ended
}
