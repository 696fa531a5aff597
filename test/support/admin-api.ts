import { readFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { openApiPath } from '../../scripts/openapi.ts'
import type { HttpServer } from '../../src/admin/http.ts'
import { type AdminParts, startAdminServer } from '../../src/admin/server.ts'
import { nearest } from '../../src/config/nearest.ts'
import { webhookBodies } from '../../src/config/webhook-bodies.ts'
import { createLogLines } from './log-lines.ts'
import { createTestWebhooks } from './webhook-admin.ts'

/** An operation as OpenAPI describes it, as far as tests look at it. */
export interface Operation {
  operationId: string
  summary?: string
  tags: readonly string[]
  security?: readonly object[]
  responses: Readonly<Record<string, { content?: Readonly<Record<string, { schema: object }>> }>>
}

/** The description of the admin API on disk. */
export const description = JSON.parse(readFileSync(openApiPath, 'utf8')) as {
  openapi: string
  tags: readonly { name: string }[]
  paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  components: { schemas: object }
}

/** Every operation of the description. */
export const operations = Object.entries(description.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
)

/** The token that opens the API in tests. */
export const adminToken = 'the-admin-token-of-this-test'

/** An answer of the API that is as its description says. */
export interface ApiAnswer {
  status: number
  headers: Headers
  body: unknown
}

/** An admin API in front of what a test has made. */
export interface AdminApi extends AsyncDisposable {
  server: HttpServer
  /** Asks with the token. @throws Error where the answer is not as the description says. */
  ask(method: string, path: string, body?: unknown): Promise<ApiAnswer>
  [Symbol.asyncDispose](): Promise<void>
}

const ajv = addFormats.default(new Ajv2020({ strict: false, allErrors: true }))
ajv.addSchema(description, 'api', false, false)

/** Starts the admin API on a free port, with nothing behind it but what `parts` says. */
export async function startAdminApi(parts: Partial<AdminParts> = {}): Promise<AdminApi> {
  const server = await startAdminServer({ kind: 'tcp', host: '127.0.0.1', port: 0 }, adminParts(parts))
  return {
    server,
    async ask(method, path, body) {
      const response = await fetch(`http://127.0.0.1:${server.address.port}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${adminToken}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })
      const text = await response.text()
      const type = (response.headers.get('content-type') ?? '').split(';', 1)[0] ?? ''
      const told: unknown = type.endsWith('json') ? JSON.parse(text) : text
      holdAgainstDescription(method, path, response.status, type, told)
      return { status: response.status, headers: response.headers, body: told }
    },
    [Symbol.asyncDispose]: () => server.close(),
  }
}

/** Parts of an admin API behind which there is nothing; `more` replaces whatever matters. */
export function adminParts(more: Partial<AdminParts> = {}): AdminParts {
  return {
    readiness: () => ({ ready: true, detail: {} }),
    metrics: async () => ({ contentType: 'text/plain; version=0.0.4', text: 'up 1\n' }),
    logger: createLogLines().logger,
    token: () => adminToken,
    circuits: { list: () => [], override: () => undefined },
    webhooks: { admin: createTestWebhooks(), bodies: webhookBodies },
    nearest,
    explain: async () => Promise.reject(new Error('not in this test')),
    ...more,
  }
}

/** @throws Error where an answer is not as the description says of the operation. */
export function holdAgainstDescription(
  method: string,
  path: string,
  status: number,
  type: string,
  body: unknown,
): void {
  const { operation, pointer } = operationOf(method, path)
  const name = String(status) in operation.responses ? String(status) : 'default'
  const response = operation.responses[name]
  const said = `${operation.operationId} answers ${status}`
  if (!response) throw new Error(`${said}, which is not described`)
  if (!response.content && body === '') return
  const place = [...pointer, 'responses', name, 'content', type, 'schema'].map(escapePointer).join('/')
  const validate = response.content?.[type] && ajv.getSchema(`api#/${place}`)
  if (!validate) throw new Error(`${said} by ${type || 'nothing'}, which is not described`)
  if (!validate(body)) throw new Error(`${said} by another body: ${ajv.errorsText(validate.errors)}`)
}

// RFC 6901 §4, in a URI.
function escapePointer(step: string): string {
  return encodeURIComponent(step.replaceAll('~', '~0').replaceAll('/', '~1'))
}

function operationOf(method: string, path: string): { operation: Operation; pointer: readonly string[] } {
  const [bare = ''] = path.split('?', 1)
  const found = operations.filter(
    (candidate) =>
      candidate.method === method &&
      new RegExp(`^${candidate.path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(bare),
  )
  // The one with the fewest parameters is meant: /api/deliveries/replay is no id.
  const [first] = found.sort((one, other) => one.path.split('{').length - other.path.split('{').length)
  if (first) return { operation: first.operation, pointer: ['paths', first.path, method.toLowerCase()] }
  throw new Error(`${method} ${path} is not described`)
}
