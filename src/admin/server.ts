import { createHash, timingSafeEqual } from 'node:crypto'
import { isIP } from 'node:net'
import type { FastifyInstance, onRequestAsyncHookHandler } from 'fastify'
import type { TcpAddress } from '../core/listen.ts'
import type { Logger } from '../core/log.ts'
import { type AdminCircuits, serveCircuits } from './circuits.ts'
import { serveDeliveries } from './deliveries.ts'
import { type Explain, serveExplain } from './explain.ts'
import { createServer, type HttpServer, listen, problem } from './http.ts'
import { describeApi } from './openapi.ts'
import { openPaths, type StatusSources, serveStatus } from './status.ts'
import { createValidatorCompiler, type Nearest } from './validation.ts'
import { type AdminWebhooks, serveWebhooks } from './webhooks.ts'

/** What the status listener needs. */
export interface StatusParts extends StatusSources {
  logger: Logger
}

/** What the admin API is made of. */
export interface ApiParts extends StatusParts {
  /** Says why a request gets the answer that it gets. */
  explain: Explain
  circuits: AdminCircuits
  webhooks: AdminWebhooks
  nearest: Nearest
}

/** What the admin listener needs beside. */
export interface AdminParts extends ApiParts {
  /** The current admin token. */
  token: () => string
}

/**
 * Opens the admin listener: `/healthz`, `/readyz` and `/metrics` for everybody, the rest for bearers of the token, on
 * loopback too, because in a pod the application and every request it can be tricked into share it.
 * @throws CannotListen
 */
export async function startAdminServer(address: TcpAddress, parts: AdminParts): Promise<HttpServer> {
  const app = await createApi(parts, async (request, reply) => {
    if (!isOwnHost(request.headers.host, address.host)) return problem(reply, 421, 'Unknown host')
    if (openPaths.has(request.url.split('?', 1)[0] ?? '')) return undefined
    if (bearsToken(request.headers.authorization, parts.token())) return undefined
    reply.header('www-authenticate', 'Bearer realm="gatepost-admin"')
    return problem(reply, 401, 'The admin token is required')
  })
  return listen(app, address)
}

/** Makes the admin API with all of its routes and its description. @param guard asked first, for every path. */
export async function createApi(parts: ApiParts, guard: onRequestAsyncHookHandler): Promise<FastifyInstance> {
  const app = createServer(parts.logger)
  app.addHook('onRequest', guard)
  app.setValidatorCompiler(createValidatorCompiler(parts.nearest))
  await describeApi(app)
  serveStatus(app, parts)
  serveExplain(app, parts.explain)
  serveCircuits(app, parts.circuits)
  serveWebhooks(app, parts.webhooks)
  serveDeliveries(app, parts.webhooks.admin)
  return app
}

/**
 * Opens the status listener, which has nothing but the three open paths.
 * @throws CannotListen
 */
export async function startStatusServer(address: TcpAddress, parts: StatusParts): Promise<HttpServer> {
  const app = createServer(parts.logger)
  serveStatus(app, parts)
  return listen(app, address)
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
