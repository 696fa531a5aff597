import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { listen } from './ports.ts'

const KEPT_REQUESTS = 1000

/** A request as the upstream received it; header names in lower case, repeated ones joined by Node's rules. */
export interface ReceivedRequest {
  upstream: string
  method: string
  path: string
  headers: Record<string, string>
}

/** A running sample upstream. */
export interface Upstream extends AsyncDisposable {
  name: string
  /** `127.0.0.1:port`. */
  address: string
  /** The last 1,000 requests, oldest first. */
  requests: readonly ReceivedRequest[]
  stop(): Promise<void>
}

/**
 * Starts an HTTP server on loopback that answers every request with what it received, as JSON; with the status that the
 * header `x-answer` names, else 200.
 */
export async function startUpstream({ name, port = 0 }: { name: string; port?: number }): Promise<Upstream> {
  const requests: ReceivedRequest[] = []
  const server = createServer((request, response) => {
    const received = describe(name, request)
    requests.push(received)
    if (requests.length > KEPT_REQUESTS) requests.shift()
    request.resume()
    response.writeHead(answerOf(request), { 'content-type': 'application/json', 'x-upstream': name })
    response.end(`${JSON.stringify(received, null, 2)}\n`)
  })
  const address = `127.0.0.1:${await listen(server, port)}`
  const stop = async () => {
    server.close()
    server.closeAllConnections()
    if (server.listening) await once(server, 'close')
  }
  return { name, address, requests, stop, [Symbol.asyncDispose]: stop }
}

function answerOf({ headers }: IncomingMessage): number {
  const wanted = Number(headers['x-answer'])
  return Number.isInteger(wanted) && wanted >= 200 && wanted <= 599 ? wanted : 200
}

function describe(upstream: string, { method = '', url = '', headers }: IncomingMessage): ReceivedRequest {
  const texts = Object.entries(headers).map(([name, value]) => [name, String(value)])
  return { upstream, method, path: url, headers: Object.fromEntries(texts) }
}
