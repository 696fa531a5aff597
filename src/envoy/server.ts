import { chmod } from 'node:fs/promises'
import type { SecureServerOptions } from 'node:http2'
import { Server, ServerCredentials, setLogger } from '@grpc/grpc-js'
import { CannotListen, type ListenAddress, showAddress } from '../core/listen.ts'
import type { TakeBatch } from './access-log.ts'
import type { Check } from './ext-authz.ts'
import type { OpenProcSession } from './ext-proc.ts'
import { Health } from './health.ts'
import { letGoOfClosedStreams } from './letting-go.ts'
import type { MutualTls } from './mutual-tls.ts'
import { OpenCalls } from './open-calls.ts'
import { loadProtos } from './protos.ts'
import { clientStream, duplex, type OnReply, unary } from './transport.ts'
import { clearDeadSocket } from './unix-socket.ts'

/** What the gRPC server is made of. */
export interface GrpcServerParts {
  address: ListenAddress
  /** Mode of the Unix socket's file. */
  socketMode: number
  /** Absent for plain text. The server closes it. */
  tls?: MutualTls | undefined
  check: Check
  process: OpenProcSession
  takeBatch: TakeBatch
  onReply: OnReply
  /** Milliseconds that only grow. */
  monotonicMs: () => number
}

/** The running gRPC server. */
export interface GrpcServer {
  /** Where it listens, with the port that the system chose. */
  address: ListenAddress
  health: Health
  /** Takes no new connections and waits for calls under way, at most so long; then ends them as UNAVAILABLE. */
  close(timeoutMs: number): Promise<void>
}

// Envoy accepts up to 8 MiB of request headers: a client must not turn a verdict into a fault by sending many.
const maxMessageBytes = 16 * 1024 * 1024

const serverOptions = {
  'grpc.max_receive_message_length': maxMessageBytes,
  'grpc.max_concurrent_streams': 4_096,
  'grpc.enable_channelz': 0,
}

/** Beyond the drain timeout: how long a peer may take to read its last status, in milliseconds. */
const lastWordsMs = 1_000

/**
 * How long streams that never end by themselves stay open once nothing new is accepted: five of the access log's flush
 * intervals in the bundled configurations. What Envoy has answered by then it has told.
 */
const lastEntriesMs = 500

const serviceNames = [
  'envoy.service.auth.v3.Authorization',
  'envoy.service.ext_proc.v3.ExternalProcessor',
  'envoy.service.accesslog.v3.AccessLogService',
]

/**
 * Opens the doors.
 * @throws CannotListen
 */
export async function startGrpcServer(parts: GrpcServerParts): Promise<GrpcServer> {
  // What grpc-js has to say of an error is in the error: its own lines must not stand between those of the log.
  setLogger({ error: () => undefined, info: console.error, debug: console.error })
  const health = new Health(serviceNames)
  const server = new Server(serverOptions)
  allowManyResets(server)
  const unanswered = new OpenCalls()
  // Streams that never end by themselves.
  const endless = new OpenCalls()
  openDoors(server, { ...parts, unanswered, endless }, health)
  const stopLettingGo = letGoOfClosedStreams()
  const address = await listen(server, parts).catch((cause: unknown) => {
    stopLettingGo()
    parts.tls?.close(0)
    server.forceShutdown()
    throw new CannotListen(parts.address, cause)
  })
  return {
    address,
    health,
    async close(timeoutMs) {
      health.endWatches()
      const lastEntries = setTimeout(() => endless.endAll(), Math.min(lastEntriesMs, timeoutMs))
      const timer = setTimeout(() => unanswered.endAll(), timeoutMs)
      parts.tls?.close(timeoutMs + lastWordsMs)
      await shutDown(server, showAddress(address), timeoutMs + lastWordsMs)
      stopLettingGo()
      clearTimeout(lastEntries)
      clearTimeout(timer)
    },
  }
}

function openDoors(
  server: Server,
  parts: GrpcServerParts & Record<'unanswered' | 'endless', OpenCalls>,
  health: Health,
): void {
  const { Authorization, ExternalProcessor, AccessLogService, Health: HealthService } = loadProtos()
  server.addService(Authorization, { Check: unary('ext_authz', parts.check, parts) })
  server.addService(ExternalProcessor, { Process: duplex('ext_proc', parts.process, parts) })
  server.addService(AccessLogService, { StreamAccessLogs: clientStream(parts.takeBatch, {}, parts.endless) })
  server.addService(HealthService, health.handlers)
}

/**
 * Envoy ends every ext_proc stream by a reset, and Node takes a thousand of these for an attack and drops the
 * connection with all that is under way on it. grpc-js has no option for Node's limit; the server object that it hands
 * to `node:http2` has. The peers are our own proxies.
 */
function allowManyResets(server: Server): void {
  const options = server['commonServerOptions'] as SecureServerOptions
  options.streamResetBurst = 1_000_000
  options.streamResetRate = 1_000_000
}

async function listen(server: Server, { address, socketMode, tls }: GrpcServerParts): Promise<ListenAddress> {
  if (address.kind === 'unix') await clearDeadSocket(address.path)
  const port = await (tls ? tls.listen(server, address) : bind(server, showAddress(address)))
  if (address.kind === 'tcp') return { ...address, port }
  await chmod(address.path, socketMode)
  return address
}

function bind(server: Server, target: string): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.bindAsync(target, ServerCredentials.createInsecure(), (error, port) => {
    // grpc-js tells the system's error code in its message alone.
    if (error) reject(Object.assign(error, { code: /\bE[A-Z]{3,}\b/.exec(error.message)?.[0] }))
    else resolve(port)
  })
  return promise
}

/**
 * Closes every connection once its calls have ended, or when the time is up. A peer that is frozen by then may keep its
 * half of a connection for ever: nobody waits for it.
 */
async function shutDown(server: Server, target: string, timeoutMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  // Not forceShutdown: with channelz off it knows of no connection and leaves all of them open.
  server.drain(target, timeoutMs)
  server.tryShutdown(() => resolve())
  const timer = setTimeout(resolve, timeoutMs)
  await promise
  clearTimeout(timer)
}
