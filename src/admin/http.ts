import fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import { CannotListen, type TcpAddress } from '../core/listen.ts'
import type { Logger } from '../core/log.ts'
import { BadRequest } from './validation.ts'

/** A running HTTP listener. */
export interface HttpServer {
  /** Where it listens, with the port that the system chose. */
  address: TcpAddress
  close(): Promise<void>
}

// Bounds for clients that dawdle or flood: nothing here takes long or is large.
const serverOptions = {
  connectionTimeout: 60_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 30_000,
  bodyLimit: 64 * 1024,
} as const

// The names of services have up to 128 characters, each of which may take nine in a URL.
const routerOptions = { maxParamLength: 1_152 }

/** Makes a server without any route: it answers what it does not know, and its own faults, with problems. */
export function createServer(logger: Logger): FastifyInstance {
  const app = fastify({ ...serverOptions, routerOptions, logger: false, forceCloseConnections: true })
  // The schemas of answers describe; a test holds the answers against them.
  app.setSerializerCompiler(() => JSON.stringify)
  app.setNotFoundHandler((_request, reply) => problem(reply, 404, 'Not found'))
  app.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
    if (error instanceof BadRequest) return refuse(reply, 400, error.problems)
    const status = error.statusCode ?? 500
    if (status >= 500) logger.error({ exception: error }, 'admin request failed')
    return problem(reply, status, status >= 500 ? 'Internal error' : error.message)
  })
  return app
}

/** Answers with a problem (RFC 9457). */
export function problem(reply: FastifyReply, status: number, title: string): FastifyReply {
  return reply.code(status).header('content-type', 'application/problem+json').send({ title, status })
}

/** Answers with a problem that is made of several; one stands for itself. */
export function refuse(reply: FastifyReply, status: number, problems: readonly string[]): FastifyReply {
  const [first = '', second] = problems
  if (second === undefined) return problem(reply, status, first)
  const title = `There are ${problems.length} problems`
  return reply
    .code(status)
    .header('content-type', 'application/problem+json')
    .send({ title, status, problems })
}

/** Opens the listener. @throws CannotListen */
export async function listen(app: FastifyInstance, address: TcpAddress): Promise<HttpServer> {
  try {
    await app.listen({ host: address.host, port: address.port })
  } catch (cause) {
    await app.close()
    throw new CannotListen(address, cause)
  }
  const [bound] = app.addresses()
  const port = typeof bound === 'object' ? bound.port : address.port
  return { address: { ...address, port }, close: () => app.close() }
}
