import { type Client, credentials, makeGenericClientConstructor, type ServiceError } from '@grpc/grpc-js'
import type { AuthorizationClient } from '../../src/envoy/gen/envoy/service/auth/v3/Authorization.ts'
import type { CheckRequest } from '../../src/envoy/gen/envoy/service/auth/v3/CheckRequest.ts'
import type { CheckResponse__Output } from '../../src/envoy/gen/envoy/service/auth/v3/CheckResponse.ts'
import type { HealthClient } from '../../src/envoy/gen/grpc/health/v1/Health.ts'
import { loadProtos } from '../../src/envoy/protos.ts'

/** A client of Gatepost's gRPC services, as Envoy is one. It closes at the end of its `using` scope. */
export interface GrpcClient extends Disposable {
  /** @throws ServiceError where the server gives a status instead of a verdict. */
  check(request: CheckRequest): Promise<CheckResponse__Output>
  /** Sends any bytes as a CheckRequest. */
  checkBytes(message: Buffer): Promise<Buffer>
  /** Asks `grpc.health.v1.Health/Check`. @throws ServiceError */
  health(service?: string): Promise<string | undefined>
  /** Asks `grpc.health.v1.Health/Watch`. */
  watch(service?: string): Watch
}

/** A running health watch. */
interface Watch {
  /** The next status that comes; `ended` after the last. */
  next(): Promise<string>
}

/** How long a call may take before the client gives it up: far longer than any should. */
const callLimitMs = 30_000

/** Connects to Gatepost, by its address as `GATEPOST_GRPC_ADDRESS` spells it. */
export function connectGrpc(address: string): GrpcClient {
  const { Authorization, Health } = loadProtos()
  const insecure = credentials.createInsecure()
  // A pool of its own: a client must not find the connection that an earlier test left behind.
  const options = { 'grpc.use_local_subchannel_pool': 1, 'grpc.max_send_message_length': -1 }
  const Authorizations = makeGenericClientConstructor(Authorization, 'Authorization')
  const Healths = makeGenericClientConstructor(Health, 'Health')
  const authorization = new Authorizations(address, insecure, options) as unknown as AuthorizationClient
  const health = new Healths(address, insecure, options) as unknown as HealthClient
  return {
    check: (request) => call((callback) => authorization.Check(request, limit(), callback)),
    checkBytes: (message) => call((callback) => sendBytes(authorization, message, callback)),
    health: async (service = '') => {
      const { status } = await call<{ status?: string }>((callback) =>
        health.Check({ service }, limit(), callback),
      )
      return status
    },
    watch: (service = '') => watchOf(health.Watch({ service })),
    [Symbol.dispose]() {
      authorization.close()
      health.close()
    },
  }
}

function limit(): { deadline: number } {
  return { deadline: Date.now() + callLimitMs }
}

type Callback<T> = (error: ServiceError | null, reply?: T) => void

function call<T>(start: (callback: Callback<T>) => void): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  start((error, reply) => {
    if (error) reject(error)
    else resolve(reply as T)
  })
  return promise
}

function sendBytes(client: Client, message: Buffer, callback: Callback<Buffer>): void {
  const same = (bytes: Buffer) => bytes
  client.makeUnaryRequest(
    '/envoy.service.auth.v3.Authorization/Check',
    same,
    same,
    message,
    limit(),
    callback,
  )
}

function watchOf(stream: ReturnType<HealthClient['Watch']>): Watch {
  const statuses = stream.iterator({ destroyOnReturn: false })
  return {
    async next() {
      const { done, value } = await statuses.next()
      return done ? 'ended' : String((value as { status?: string }).status)
    },
  }
}
