import { createHash, timingSafeEqual } from 'node:crypto'
import { isIP } from 'node:net'
import fastify, { type FastifyInstance } from 'fastify'
import type { ExplainRequest } from '../core/explain-request.ts'
import type { Explanation } from '../core/explanation.ts'
import { CannotListen, type TcpAddress } from '../core/listen.ts'
import type { Logger } from '../core/log.ts'
import { type AdminCircuits, type OverrideBody, overrideSchema, readOrder, showCircuit } from './circuits.ts'
import { explainRequestSchema } from './schemas.ts'

/** Answers `/readyz`. */
export interface Readiness {
  ready: boolean
  /** What readiness hangs on, part by part, for a human at three in the morning. */
  detail: Readonly<Record<string, unknown>>
}

/** What everybody may ask. */
export interface StatusParts {
  readiness: () => Readiness
  metrics: () => Promise<{ contentType: string; text: string }>
  logger: Logger
}

/** What the admin listener needs beside. */
export interface AdminParts extends StatusParts {
  /** The current admin token. */
  token: () => string
  /** Says why a request gets the answer that it gets. */
  explain: (asked: ExplainRequest) => Promise<Explanation>
  circuits: AdminCircuits
}

/** A running HTTP listener. */
export interface HttpServer {
  /** Where it listens, with the port that the system chose. */
  address: TcpAddress
  close(): Promise<void>
}

// Bounds for clients that dawdle or flood: nothing here takes long or is large.
const serverOptions = {
  connectionTimeout: 30_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 30_000,
  bodyLimit: 64 * 1024,
  // A misspelt setting of a request is told, not dropped.
  ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
} as const

/**
 * Opens the admin listener: `/healthz`, `/readyz` and `/metrics` for everybody, the rest for bearers of the token, on
 * loopback too, because in a pod the application and every request it can be tricked into share it.
 * @throws CannotListen
 */
export async function startAdminServer(address: TcpAddress, parts: AdminParts): Promise<HttpServer> {
  const app = createServer(parts)
  app.addHook('onRequest', async (request, reply) => {
    if (!isOwnHost(request.headers.host, address.host)) return problem(reply, 421, 'Unknown host')
    if (openPaths.has(request.url.split('?', 1)[0] ?? '')) return undefined
    if (bearsToken(request.headers.authorization, parts.token())) return undefined
    reply.header('www-authenticate', 'Bearer realm="gatepost-admin"')
    return problem(reply, 401, 'The admin token is required')
  })
  app.post('/api/explain', { schema: { body: explainRequestSchema } }, (request) =>
    parts.explain(request.body as ExplainRequest),
  )
  serveCircuits(app, parts.circuits)
  return listen(app, address)
}

function serveCircuits(app: FastifyInstance, circuits: AdminCircuits): void {
  app.get('/api/circuits', async () => ({ circuits: circuits.list().map(showCircuit) }))
  app.post('/api/circuits/:service', { schema: { body: overrideSchema } }, async (request, reply) => {
    const { service } = request.params as { service: string }
    const order = readOrder(request.body as OverrideBody)
    if (typeof order === 'string') return problem(reply, 400, order)
    const view = circuits.override(service, order)
    if (view) return showCircuit(view)
    const known = circuits.list().map((circuit) => circuit.service)
    return problem(
      reply,
      404,
      `There is no circuit ${JSON.stringify(service)}; there are: ${known.join(', ') || 'none'}`,
    )
  })
}

/**
 * Opens the status listener, which has nothing but the three open paths.
 * @throws CannotListen
 */
export async function startStatusServer(address: TcpAddress, parts: StatusParts): Promise<HttpServer> {
  return listen(createServer(parts), address)
}

const openPaths = new Set(['/healthz', '/readyz', '/metrics'])

function createServer({ readiness, metrics, logger }: StatusParts): FastifyInstance {
  const app = fastify({ ...serverOptions, logger: false, forceCloseConnections: true })
  app.get('/healthz', async () => ({ status: 'alive' }))
  app.get('/readyz', async (_request, reply) => {
    const { ready, detail } = readiness()
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : 'not ready', ...detail })
  })
  app.get('/metrics', async (_request, reply) => {
    const { contentType, text } = await metrics()
    return reply.header('content-type', contentType).send(text)
  })
  app.setNotFoundHandler((_request, reply) => problem(reply, 404, 'Not found'))
  app.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
    const status = error.statusCode ?? 500
    if (status >= 500) logger.error({ exception: error }, 'admin request failed')
    return problem(reply, status, status >= 500 ? 'Internal error' : error.message)
  })
  return app
}

interface Reply {
  code(status: number): Reply
  header(name: string, value: string): Reply
  send(body: unknown): Reply
}

function problem(reply: Reply, status: number, title: string): Reply {
  return reply.code(status).header('content-type', 'application/problem+json').send({ title, status })
}

async function listen(app: FastifyInstance, address: TcpAddress): Promise<HttpServer> {
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

/**
 * A page that a browser on this machine shows could reach the listener through a name of its own that points here
 * (DNS rebinding). Addresses cannot be rebound, and neither can `localhost` and the name that was configured.
 */
function isOwnHost(host: string | undefined, configured: string): boolean {
  if (host === undefined) return false
  const name = URL.parse(`http://${host}`)?.hostname.replace(/^\[|\]$/g, '') ?? ''
  return isIP(name) !== 0 || name === 'localhost' || name === configured.toLowerCase()
}

function bearsToken(authorization: string | undefined, token: string): boolean {
  const [, shown] = /^Bearer +(\S+)$/i.exec(authorization ?? '') ?? []
  return shown !== undefined && timingSafeEqual(digest(shown), digest(token))
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
