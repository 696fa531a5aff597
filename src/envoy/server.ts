import { chmod } from 'node:fs/promises'
import { type handleUnaryCall, Server, ServerCredentials, status } from '@grpc/grpc-js'
import { CannotListen, type ListenAddress, showAddress } from '../core/listen.ts'
import type { Door } from '../core/request.ts'
import type { Check } from './ext-authz.ts'
import { Health } from './health.ts'
import { loadProtos } from './protos.ts'
import { clearDeadSocket } from './unix-socket.ts'

/** Told how long a door took from message to reply, in milliseconds; for metrics. */
export type OnReply = (door: Door, tookMs: number) => void

/** What the gRPC server is made of. */
export interface GrpcServerParts {
  address: ListenAddress
  /** Mode of the Unix socket's file. */
  socketMode: number
  check: Check
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

const serviceNames = ['envoy.service.auth.v3.Authorization']

/**
 * Opens the doors.
 * @throws CannotListen
 */
export async function startGrpcServer(parts: GrpcServerParts): Promise<GrpcServer> {
  const { Authorization, Health: HealthService } = loadProtos()
  const health = new Health(serviceNames)
  const server = new Server(serverOptions)
  server.addService(Authorization, { Check: unary('ext_authz', parts.check, parts) })
  server.addService(HealthService, health.handlers)
  const address = await listen(server, parts).catch((cause: unknown) => {
    server.forceShutdown()
    throw new CannotListen(parts.address, cause)
  })
  return {
    address,
    health,
    async close(timeoutMs) {
      health.endWatches()
      await shutDown(server, timeoutMs)
    },
  }
}

async function listen(server: Server, { address, socketMode }: GrpcServerParts): Promise<ListenAddress> {
  if (address.kind === 'unix') await clearDeadSocket(address.path)
  const port = await bind(server, showAddress(address))
  if (address.kind === 'tcp') return { ...address, port }
  await chmod(address.path, socketMode)
  return address
}

function bind(server: Server, target: string): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.bindAsync(target, ServerCredentials.createInsecure(), (error, port) => {
    if (error) reject(error)
    else resolve(port)
  })
  return promise
}

async function shutDown(server: Server, timeoutMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(() => {
    server.forceShutdown()
    resolve()
  }, timeoutMs)
  server.tryShutdown(() => resolve())
  await promise
  clearTimeout(timer)
}

/** Fits a door to grpc-js: its reply goes out, its fault becomes a status, so that Envoy's failure mode rules. */
function unary<I, O>(
  door: Door,
  handle: (message: I) => Promise<O>,
  { onReply, monotonicMs }: Pick<GrpcServerParts, 'onReply' | 'monotonicMs'>,
): handleUnaryCall<I, O> {
  return (call, callback) => {
    const startedMs = monotonicMs()
    handle(call.request)
      .then(
        (reply) => callback(null, reply),
        // The door has counted and logged it.
        () => callback({ code: status.UNAVAILABLE, details: 'no verdict: see the log of Gatepost' }),
      )
      .finally(() => onReply(door, monotonicMs() - startedMs))
  }
}
