import { once } from 'node:events'
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import {
  type ChannelCredentials,
  credentials,
  makeGenericClientConstructor,
  Server,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import type { TlsFiles } from '../../src/envoy/credentials.ts'
import type { HealthClient, HealthHandlers } from '../../src/envoy/gen/grpc/health/v1/Health.ts'
import { Health } from '../../src/envoy/health.ts'
import { createMutualTls, type MutualTlsSettings } from '../../src/envoy/mutual-tls.ts'
import { loadProtos } from '../../src/envoy/protos.ts'
import { type Authority, createAuthority, type KeyPair } from '../support/certificates.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { createLogLines, type LogLines } from '../support/log-lines.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'

const lookMs = 2_000
const spiffe = 'spiffe://mesh.example/ns/edge/sa/envoy'
const { Health: healthService } = loadProtos()
const HealthClients = makeGenericClientConstructor(healthService, 'Health')

const servers = createAuthority('servers')
const clients = createAuthority('clients')
const otherClients = createAuthority('clients')
const serverNames = { ips: ['127.0.0.1'], dns: ['localhost'] }
const one = servers.issue('one', serverNames)
const two = servers.issue('two', serverNames)
const envoy = clients.issue('envoy', { uris: [spiffe], dns: ['envoy.mesh.example'] })

let folder: TempFolder
let clock: FakeClock
let log: LogLines
let opened: AsyncDisposableStack
beforeEach(async () => {
  folder = await tempFolder('mtls')
  clock = new FakeClock(Date.now())
  log = createLogLines()
  opened = new AsyncDisposableStack()
  for (const name of ['tls.crt', 'tls.key', 'ca.crt'])
    symlinkSync(join('..data', name), join(folder.path, name))
  release('..1', one, clients)
})
afterEach(async () => {
  await opened.disposeAsync()
  await folder.remove()
})

/** Puts a set of files in place as Kubernetes does: a new folder, then a link to it is swapped. */
function release(name: string, { cert, key }: KeyPair, ...authorities: Authority[]): void {
  const path = join(folder.path, name)
  mkdirSync(path)
  writeFileSync(join(path, 'tls.crt'), cert)
  writeFileSync(join(path, 'tls.key'), key)
  writeFileSync(join(path, 'ca.crt'), authorities.map((authority) => authority.cert).join(''))
  symlinkSync(name, join(folder.path, '..new'))
  renameSync(join(folder.path, '..new'), join(folder.path, '..data'))
}

/** Replaces one of the files, which is a plain one from then on. */
function replace(name: string, text: string): void {
  writeFileSync(join(folder.path, 'new'), text)
  renameSync(join(folder.path, 'new'), join(folder.path, name))
}

function files(): TlsFiles {
  return {
    certFile: join(folder.path, 'tls.crt'),
    keyFile: join(folder.path, 'tls.key'),
    clientCaFile: join(folder.path, 'ca.crt'),
  }
}

interface Running {
  port: number
  health: Health
  calls(): number
  /** Ends the server; resolves once its last connection has closed. */
  stop(graceMs: number): Promise<void>
}

/** Starts a server of the health service alone, and ends it after the test. */
async function start(names: Pick<MutualTlsSettings, 'clientNames'> = {}): Promise<Running> {
  const server = new Server({ 'grpc.enable_channelz': 0 })
  const health = new Health([])
  health.serving = true
  let calls = 0
  const Check: HealthHandlers['Check'] = (call, callback) => {
    calls += 1
    health.handlers.Check(call, callback)
  }
  server.addService(healthService, { ...health.handlers, Check })
  const tls = createMutualTls({ ...files(), ...names }, { clock, logger: log.logger })
  const port = await tls.listen(server, { kind: 'tcp', host: '127.0.0.1', port: 0 })
  const stop = async (graceMs: number) => {
    tls.close(graceMs)
    const { promise, resolve } = Promise.withResolvers<void>()
    server.tryShutdown(() => resolve())
    await promise
  }
  opened.defer(() => stop(0))
  return { port, health, calls: () => calls, stop }
}

/** Connects a gRPC client, and ends it after the test. */
function connect({ port }: Pick<Running, 'port'>, channel: ChannelCredentials): HealthClient {
  // A pool of its own: a client must not find the connection that another one made.
  const options = { 'grpc.use_local_subchannel_pool': 1, 'grpc.ssl_target_name_override': 'localhost' }
  const client = new HealthClients(`127.0.0.1:${port}`, channel, options) as unknown as HealthClient
  opened.defer(() => client.close())
  return client
}

function withCertificate({ cert, key }: KeyPair): ChannelCredentials {
  return credentials.createSsl(Buffer.from(servers.cert), Buffer.from(key), Buffer.from(cert))
}

/** @throws ServiceError */
function check(client: HealthClient): Promise<string | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>()
  client.Check({ service: '' }, { deadline: Date.now() + 30_000 }, (error: ServiceError | null, reply) => {
    if (error) reject(error)
    else resolve(reply?.status as string | undefined)
  })
  return promise
}

/** Connects without gRPC, and ends the connection after the test. */
function connectRaw({ port }: Pick<Running, 'port'>, options: ConnectionOptions = {}): TLSSocket {
  const base = { host: '127.0.0.1', port, servername: 'localhost', ca: servers.cert, ALPNProtocols: ['h2'] }
  const socket = connectTls({ ...base, ...envoy, ...options })
  opened.defer(() => void socket.destroy())
  return socket
}

/** The common name of the certificate that new connections get to see. */
async function shownName(running: Running): Promise<unknown> {
  const socket = connectRaw(running)
  await once(socket, 'secureConnect')
  const { subject } = socket.getPeerCertificate()
  socket.destroy()
  return subject.CN
}

/** Resolves once the server has closed the connection. */
async function closed(socket: TLSSocket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  socket.on('error', () => undefined)
  socket.on('close', () => resolve())
  socket.resume()
  await promise
}

function refusals(): unknown[] {
  return log.lines
    .filter(({ message }) => message === 'TLS client refused')
    .map(({ fields }) => fields['reason'])
}

describe('a client is served', () => {
  test('with a certificate of the authorities', async () => {
    const running = await start()

    await expect(check(connect(running, withCertificate(envoy)))).resolves.toBe('SERVING')
  })

  test.each([
    ['DNS name', 'envoy.mesh.example'],
    ['SPIFFE id', spiffe],
  ])('with an accepted %s', async (_kind, name) => {
    const running = await start({ clientNames: ['other.example', name] })

    await expect(check(connect(running, withCertificate(envoy)))).resolves.toBe('SERVING')
  })

  test('over a Unix socket too', async () => {
    const server = new Server()
    const health = new Health([])
    server.addService(healthService, health.handlers)
    const tls = createMutualTls(files(), { clock, logger: log.logger })
    const path = join(folder.path, 'gatepost.sock')
    await expect(tls.listen(server, { kind: 'unix', path })).resolves.toBe(0)
    opened.defer(() => tls.close(0))
    const options = { 'grpc.ssl_target_name_override': 'localhost' }
    const client = new HealthClients(
      `unix:${path}`,
      withCertificate(envoy),
      options,
    ) as unknown as HealthClient
    opened.defer(() => client.close())

    await expect(check(client)).resolves.toBe('NOT_SERVING')
  })
})

describe('a client is refused', () => {
  const authorityOfNobody = createAuthority('clients')
  const lapsed = { validFrom: new Date(Date.now() - 7_200_000), validTo: new Date(Date.now() - 3_600_000) }

  test.each<[string, ChannelCredentials, string]>([
    [
      'without a certificate',
      credentials.createSsl(Buffer.from(servers.cert)),
      'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE',
    ],
    [
      'of an authority of the same name',
      withCertificate(authorityOfNobody.issue('x', { uris: [spiffe] })),
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    ],
    [
      'whose certificate has expired',
      withCertificate(clients.issue('x', { uris: [spiffe], ...lapsed })),
      'CERT_HAS_EXPIRED',
    ],
    ['of another name', withCertificate(clients.issue(spiffe, { uris: [`${spiffe}-2`] })), 'wrong_name'],
    ['of no name at all', withCertificate(clients.issue(spiffe)), 'wrong_name'],
    ['that speaks plain text', credentials.createInsecure(), 'ERR_SSL_WRONG_VERSION_NUMBER'],
  ])('%s', async (_case, channel, reason) => {
    const running = await start({ clientNames: [spiffe] })

    await expect(check(connect(running, channel))).rejects.toMatchObject({ code: status.UNAVAILABLE })

    await until(() => refusals().length > 0)
    expect(refusals()).toEqual([reason])
    expect(running.calls()).toBe(0)
  })

  test.each<[string, ConnectionOptions]>([
    [
      'that speaks TLS 1.1 at most',
      { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
    ],
    ['that speaks HTTP/1.1', { ALPNProtocols: ['http/1.1'] }],
  ])('%s', async (_case, options) => {
    const running = await start()

    await closed(connectRaw(running, options))

    expect(refusals()).toHaveLength(1)
  })

  test('before it has called, and told of by its names', async () => {
    const running = await start({ clientNames: [spiffe] })

    await closed(connectRaw(running, clients.issue('x', { dns: ['other.example'] })))

    expect(log.lines.map(({ level, fields }) => ({ level, fields }))).toEqual([
      {
        level: 'warn',
        fields: { reason: 'wrong_name', peer: '127.0.0.1', names: 'DNS:other.example', untold: 0 },
      },
    ])
  })

  test('in one line a minute, however often it tries', async () => {
    const running = await start({ clientNames: ['other.example'] })
    for (let i = 0; i < 5; i += 1) await closed(connectRaw(running))
    expect(refusals()).toHaveLength(1)

    await clock.advance(60_000)
    await closed(connectRaw(running))

    expect(log.lines.map(({ fields }) => fields['untold'])).toEqual([0, 4])
  })

  test('without a line where it has only probed the port', async () => {
    const running = await start()
    const probe = createConnection(running.port, '127.0.0.1')
    await once(probe, 'connect')
    probe.destroy()
    await once(probe, 'close')

    await closed(connectRaw(running, { ALPNProtocols: ['http/1.1'] }))

    expect(refusals()).toEqual(['ERR_SSL_NO_APPLICATION_PROTOCOL'])
  })
})

describe('TLS', () => {
  test('is 1.3 where the client can, else 1.2', async () => {
    const running = await start()
    const protocolOf = async (options: ConnectionOptions) => {
      const socket = connectRaw(running, options)
      await once(socket, 'secureConnect')
      return socket.getProtocol()
    }

    await expect(protocolOf({})).resolves.toBe('TLSv1.3')
    await expect(protocolOf({ maxVersion: 'TLSv1.2' })).resolves.toBe('TLSv1.2')
  })

  test('lets a client resume its session, which has kept its name', async () => {
    const running = await start({ clientNames: [spiffe] })
    const session = await sessionOf(connectRaw(running))
    const socket = connectRaw(running, { session })
    socket.resume()

    await once(socket, 'data')

    expect(socket.isSessionReused()).toBe(true)
  })
})

describe('when the files change', () => {
  test('no call of many connections fails, and new connections see the new certificate', async () => {
    const running = await start({ clientNames: [spiffe] })
    const failures: unknown[] = []
    const load = startLoad(running, 24, (error) => failures.push(error))

    await load.goesOn()
    const shown = [await shownName(running)]
    for (const [name, pair] of [
      ['..2', two],
      ['..3', one],
      ['..4', two],
    ] as const) {
      release(name, pair, clients)
      await clock.advance(2 * lookMs)
      shown.push(await shownName(running))
      await load.goesOn()
    }
    for (const [name, text] of [
      ['tls.key', one.key],
      ['tls.crt', one.cert],
    ] as const)
      replace(name, text)
    await clock.advance(2 * lookMs)
    shown.push(await shownName(running))
    await load.goesOn()
    await load.end()

    expect(shown).toEqual(['one', 'two', 'one', 'two', 'one'])
    expect(failures).toEqual([])
    expect(log.lines.map(({ message }) => message)).toEqual(Array(4).fill('new TLS files adopted'))
  }, 60_000)

  test('new connections need a certificate of the new authorities, old connections go on', async () => {
    const running = await start()
    const watch = connect(running, withCertificate(envoy)).Watch({ service: '' })
    const statuses = watch.iterator({ destroyOnReturn: false })
    await statuses.next()
    const session = await sessionOf(connectRaw(running))

    release('..2', two, otherClients)
    await clock.advance(2 * lookMs)

    await expect(check(connect(running, withCertificate(envoy)))).rejects.toMatchObject({
      code: status.UNAVAILABLE,
    })
    await expect(check(connect(running, withCertificate(otherClients.issue('new'))))).resolves.toBe('SERVING')
    await closed(connectRaw(running, { session }))
    running.health.serving = false
    await expect(statuses.next()).resolves.toMatchObject({ value: { status: 'NOT_SERVING' } })
    watch.on('error', () => undefined)
    watch.cancel()
  })

  test('both authorities are believed while the file holds both', async () => {
    const running = await start()
    release('..2', one, clients, otherClients)
    await clock.advance(2 * lookMs)

    await expect(check(connect(running, withCertificate(envoy)))).resolves.toBe('SERVING')
    await expect(check(connect(running, withCertificate(otherClients.issue('new'))))).resolves.toBe('SERVING')
  })

  test.each<[string, () => void]>([
    ['whose key does not fit', () => replace('tls.key', two.key)],
    ['cut short', () => replace('tls.crt', one.cert.slice(0, 300))],
    ['with a file missing', () => rmSync(join(folder.path, 'ca.crt'))],
  ])('a set %s is told once, and the old one stays', async (_case, spoil) => {
    const running = await start()
    spoil()

    await clock.advance(5 * lookMs)

    expect(await shownName(running)).toBe('one')
    await expect(check(connect(running, withCertificate(envoy)))).resolves.toBe('SERVING')
    expect(log.lines.map(({ level, message }) => `${level} ${message}`)).toEqual([
      'warn new TLS files are no good, the old ones stay',
    ])
  })
})

describe('at the end', () => {
  test('connections are closed, and no more are taken', async () => {
    const running = await start()
    const client = connect(running, withCertificate(envoy))
    await check(client)

    await running.stop(1_000)

    await expect(check(connect(running, withCertificate(envoy)))).rejects.toMatchObject({
      code: status.UNAVAILABLE,
    })
    expect(clock.pending).toEqual([])
  })

  test('a call that does not end is ended when its time is up', async () => {
    const running = await start()
    const watch = connect(running, withCertificate(envoy)).Watch({ service: '' })
    const ended = once(watch, 'error')
    await once(watch, 'data')

    await running.stop(10)

    await expect(ended).resolves.toMatchObject([{ code: status.CANCELLED }])
  })
})

/** The session that a client could resume. */
async function sessionOf(socket: TLSSocket): Promise<Buffer> {
  socket.resume()
  const [session] = (await once(socket, 'session')) as [Buffer]
  socket.destroy()
  return session
}

/** Calls without a pause over so many connections. */
function startLoad(running: Running, connections: number, onFailure: (error: unknown) => void) {
  let ended = false
  const work = Array.from({ length: connections }, async () => {
    const client = connect(running, withCertificate(envoy))
    while (!ended) await check(client).catch(onFailure)
  })
  return {
    /** Resolves once each connection has had the time for some more calls. */
    async goesOn() {
      const enough = running.calls() + 10 * connections
      await until(() => running.calls() > enough)
    },
    async end() {
      ended = true
      await Promise.all(work)
    },
  }
}
