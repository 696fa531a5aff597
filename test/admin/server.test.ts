import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { createServer } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import type { HttpServer } from '../../src/admin/http.ts'
import { type AdminParts, startAdminServer, startStatusServer } from '../../src/admin/server.ts'
import type { Readiness } from '../../src/admin/status.ts'
import type { Explanation } from '../../src/core/explanation.ts'
import { CannotListen } from '../../src/core/listen.ts'
import { adminParts, adminToken as token } from '../support/admin-api.ts'
import { createLogLines, type LogLines } from '../support/log-lines.ts'
import { listen } from '../support/ports.ts'

const anyPort = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const

let opened: AsyncDisposableStack
let log: LogLines
let parts: AdminParts
beforeEach(() => {
  opened = new AsyncDisposableStack()
  log = createLogLines()
  parts = adminParts({ logger: log.logger })
})
afterEach(() => opened.disposeAsync())

const start = {
  admin: async (more: Partial<AdminParts> = {}): Promise<HttpServer> =>
    opened.adopt(await startAdminServer(anyPort, { ...parts, ...more }), (server) => server.close()),
  status: async (more: Partial<AdminParts> = {}): Promise<HttpServer> =>
    opened.adopt(await startStatusServer(anyPort, { ...parts, ...more }), (server) => server.close()),
}

interface Reply {
  status: number | undefined
  headers: IncomingMessage['headers']
  text: string
}

/** Sends a request exactly as told, its Host header too. */
async function ask(
  { address: { host, port } }: HttpServer,
  path: string,
  options: RequestOptions = {},
): Promise<Reply> {
  const sending = httpRequest({ host, port, path, agent: false, ...options }).end()
  const [response] = (await once(sending, 'response')) as [IncomingMessage]
  const chunks = await response.toArray()
  return { status: response.statusCode, headers: response.headers, text: Buffer.concat(chunks).toString() }
}

const bearer = { headers: { authorization: `Bearer ${token}` } }

describe.each(['admin', 'status'] as const)('the %s listener', (listener) => {
  test('tells everybody that it is alive', async () => {
    const server = await start[listener]()

    const { status, text } = await ask(server, '/healthz?from=kubelet')

    expect([status, text]).toEqual([200, '{"status":"alive"}'])
  })

  test.each<[string, Readiness, number, object]>([
    ['ready', { ready: true, detail: { issuers: {} } }, 200, { status: 'ready', issuers: {} }],
    ['not ready', { ready: false, detail: { draining: true } }, 503, { status: 'not ready', draining: true }],
  ])('says when it is %s, with what that hangs on', async (_state, readiness, expected, body) => {
    const server = await start[listener]({ readiness: () => readiness })

    const { status, text } = await ask(server, '/readyz')

    expect([status, JSON.parse(text)]).toEqual([expected, body])
  })

  test('hands out the metrics in their own type', async () => {
    const server = await start[listener]()

    const { status, headers, text } = await ask(server, '/metrics')

    expect([status, headers['content-type'], text]).toEqual([200, 'text/plain; version=0.0.4', 'up 1\n'])
  })

  test('answers a fault of ours with a problem that does not tell it, and logs it once', async () => {
    const fault = new Error('secret of ours')
    const server = await start[listener]({
      metrics: async () => {
        throw fault
      },
    })

    const { status, headers, text } = await ask(server, '/metrics')

    expect(status).toBe(500)
    expect(headers['content-type']).toMatch(/^application\/problem\+json/)
    expect(JSON.parse(text)).toEqual({ title: 'Internal error', status: 500 })
    expect(log.lines).toEqual([
      { level: 'error', message: 'admin request failed', fields: { exception: fault } },
    ])
  })

  test('answers what is malformed and goes on', async () => {
    const server = await start[listener]()

    const { status } = await ask(server, '/%zz', bearer)

    expect(status).toBe(400)
    expect((await ask(server, '/healthz')).status).toBe(200)
    expect(log.lines).toEqual([])
  })

  test('cannot listen where somebody else does, and says so', async () => {
    const other = opened.adopt(createServer(), (server) => void server.close())
    const address = { ...anyPort, port: await listen(other) }

    const starting =
      listener === 'admin' ? startAdminServer(address, parts) : startStatusServer(address, parts)

    await expect(starting).rejects.toThrow(CannotListen)
    await expect(starting).rejects.toThrow(
      `Cannot listen on 127.0.0.1:${address.port}: it is in use by another process`,
    )
  })

  test('closes although a client keeps its connection open', async () => {
    const server = await start[listener]()
    const { status } = await ask(server, '/healthz', { headers: { connection: 'keep-alive' } })

    await server.close()

    expect(status).toBe(200)
    await expect(ask(server, '/healthz')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})

describe('without the token, the admin listener', () => {
  test.each([
    ['/', undefined],
    ['/api/circuits', undefined],
    ['/api/circuits', 'Bearer'],
    ['/api/circuits', 'Bearer another-token-of-the-same-length'],
    ['/api/circuits', `Basic ${token}`],
    ['/api/circuits', `Bearer ${token}x`],
    ['/api/circuits', `Bearer ${token}, Bearer ${token}`],
    ['/healthz/', undefined],
    ['//healthz', undefined],
    ['/HEALTHZ', undefined],
    ['/metrics/../api/circuits', undefined],
    ['/metrics%2f..%2fapi', undefined],
  ])('answers %s with authorization "%s" by a challenge and nothing else', async (path, authorization) => {
    const server = await start.admin()

    const reply = await ask(server, path, { headers: { ...(authorization && { authorization }) } })

    expect(reply.status).toBe(401)
    expect(reply.headers['www-authenticate']).toBe('Bearer realm="gatepost-admin"')
    expect(JSON.parse(reply.text)).toEqual({ title: 'The admin token is required', status: 401 })
  })
})

describe('with the token, the admin listener', () => {
  test.each([`Bearer ${token}`, `bearer ${token}`, `BEARER   ${token}`])(
    'says that there is no such thing to "%s"',
    async (authorization) => {
      const server = await start.admin()

      const reply = await ask(server, '/api/nothing', { headers: { authorization } })

      expect(reply.status).toBe(404)
      expect(reply.headers['content-type']).toMatch(/^application\/problem\+json/)
      expect(JSON.parse(reply.text)).toEqual({ title: 'Not found', status: 404 })
    },
  )

  test('asks for the token of the moment, for the file it came from may have changed', async () => {
    const tokens = ['an-older-token-0001', token]
    const server = await start.admin({ token: () => tokens.shift() ?? '' })

    const before = await ask(server, '/api/nothing', bearer)
    const after = await ask(server, '/api/nothing', bearer)

    expect([before.status, after.status]).toEqual([401, 404])
  })
})

describe('POST /api/explain', () => {
  const explanation = { verdict: { decision: 'allow' } } as unknown as Explanation
  let asked: unknown[]
  let server: HttpServer
  beforeEach(async () => {
    asked = []
    server = await start.admin({
      explain: async (request) => {
        asked.push(request)
        return explanation
      },
    })
  })

  async function post(body: string, headers: Record<string, string> = {}): Promise<[number, unknown]> {
    const response = await fetch(`http://127.0.0.1:${server.address.port}/api/explain`, {
      method: 'POST',
      headers: { ...bearer.headers, 'content-type': 'application/json', ...headers },
      body,
    })
    return [response.status, await response.json()]
  }

  test('hands over what is asked and answers with the explanation', async () => {
    const request = {
      method: 'GET',
      path: '/users?page=2',
      host: 'api.example.com:8443',
      headers: { accept: '*/*', cookie: ['a=1', 'b=2'] },
      client_address: '192.0.2.7',
      principal: 'spiffe://example.com/shop',
      route_settings: { route: 'users' },
      ask_issuers: true,
      show_values: true,
    }

    expect(await post(JSON.stringify(request))).toEqual([200, explanation])
    expect(asked).toEqual([request])
  })

  test.each([undefined, 'Bearer another-token-of-the-same-length', `Basic ${token}`])(
    'explains nothing to authorization "%s"',
    async (authorization = '') => {
      const [status] = await post('{"method": "GET", "path": "/"}', { authorization })

      expect([status, asked]).toEqual([401, []])
    },
  )

  test.each([
    ['no JSON', '{"method":', /JSON/],
    ['nothing', '', /empty/],
    ['a list', '[]', /must be object/],
    ['no method', '{"path": "/"}', /required property 'method'/],
    ['no path', '{"method": "GET"}', /required property 'path'/],
    ['a path that is a number', '{"method": "GET", "path": 7}', /^path: must be string$/],
    [
      'a setting that is misspelt',
      '{"method": "GET", "path": "/", "ask_issuer": true}',
      /^the body: there is no setting "ask_issuer", did you mean "ask_issuers"\?$/,
    ],
    [
      'a yes that is a text',
      '{"method": "GET", "path": "/", "ask_issuers": "true"}',
      /^ask_issuers: must be boolean$/,
    ],
    [
      'a header that is a number',
      '{"method": "GET", "path": "/", "headers": {"a": 1}}',
      /^headers\.a: must be string or array$/,
    ],
    ['a method that is too long', `{"method": "${'G'.repeat(65)}", "path": "/"}`, /fewer|more/],
  ])('answers %s by 400 with what is wrong', async (_what, body, title) => {
    const [status, problem] = await post(body)

    expect([status, problem]).toEqual([400, { status: 400, title: expect.stringMatching(title) }])
    expect([asked, log.lines]).toEqual([[], []])
  })

  test('answers a body that is no JSON by its type, or too large, by what HTTP has for it', async () => {
    const large = JSON.stringify({ method: 'GET', path: '/', headers: { a: 'x'.repeat(70_000) } })

    expect((await post('method=GET', { 'content-type': 'application/x-www-form-urlencoded' }))[0]).toBe(415)
    expect((await post(large))[0]).toBe(413)
  })

  test('has no other method', async () => {
    expect((await ask(server, '/api/explain', bearer)).status).toBe(404)
  })
})

describe('the Host header on the admin listener', () => {
  test.each(['127.0.0.1', '127.0.0.1:9002', '10.1.2.3:9002', '[::1]:9002', 'localhost', 'LOCALHOST:1234'])(
    'may be %s, which no page can make point here',
    async (host) => {
      const server = await start.admin()

      const reply = await ask(server, '/healthz', { headers: { host } })

      expect(reply.status).toBe(200)
    },
  )

  test.each([
    'rebind.example.com',
    'rebind.example.com:9002',
    'localhost.example.com',
    '127.0.0.1.example.com',
    '127.0.0.1@rebind.example.com',
    'gatepost.localhost',
    'not a host',
  ])('may not be "%s", on open paths and with the token neither', async (host) => {
    const server = await start.admin()

    const open = await ask(server, '/metrics', { headers: { host } })
    const closed = await ask(server, '/api/nothing', { headers: { ...bearer.headers, host } })

    expect([open.status, closed.status]).toEqual([421, 421])
    expect(JSON.parse(open.text)).toEqual({ title: 'Unknown host', status: 421 })
  })

  test('may be the configured name', async () => {
    const server = opened.adopt(await startAdminServer({ ...anyPort, host: 'localhost' }, parts), (started) =>
      started.close(),
    )

    const reply = await ask(server, '/healthz', { headers: { host: 'localhost:9002' } })

    expect(reply.status).toBe(200)
  })
})

describe('the status listener', () => {
  test.each(['/', '/api/circuits', '/openapi.json', '/healthz/x'])(
    'has no %s, token or not',
    async (path) => {
      const server = await start.status()

      const without = await ask(server, path)
      const withToken = await ask(server, path, bearer)

      expect([without.status, withToken.status]).toEqual([404, 404])
    },
  )

  test('is reached by whatever name a scraper knows it by', async () => {
    const server = await start.status()

    const reply = await ask(server, '/metrics', { headers: { host: 'gatepost.apis.svc.cluster.local:9003' } })

    expect(reply.status).toBe(200)
  })
})
