import { once } from 'node:events'
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { connect } from 'node:http2'
import { request as httpsRequest } from 'node:https'
import { text } from 'node:stream/consumers'

const LIMIT_MS = 5_000

/** A request of the tour, ready to be sent. */
export interface OutgoingRequest {
  method: string
  path: string
  /** A header given several values is sent as often. */
  headers: Readonly<Record<string, string | string[]>>
}

/** What came back. */
export interface Reply {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

/** What a client needs for TLS with a certificate of its own; all PEM. */
export interface ClientTls {
  ca: string
  cert: string
  key: string
}

/** Sends a request over HTTP/1.1. @param tls for an origin of `https`. */
export async function sendHttp1(
  origin: string,
  { method, path, headers }: OutgoingRequest,
  tls?: ClientTls,
): Promise<Reply> {
  const signal = AbortSignal.timeout(LIMIT_MS)
  const transmit = origin.startsWith('https:') ? httpsRequest : httpRequest
  const request = transmit(origin, { method, path, headers, signal, agent: false, ...tls })
  request.end()
  const [response] = await once(request, 'response', { signal })
  return { status: response.statusCode, headers: response.headers, body: await text(response) }
}

/** Sends a request over HTTP/2 without TLS and without an upgrade ("prior knowledge"), as gRPC clients do. */
export async function sendHttp2(origin: string, { method, path, headers }: OutgoingRequest): Promise<Reply> {
  const signal = AbortSignal.timeout(LIMIT_MS)
  const session = connect(origin)
  // The stream fails with it, and is awaited below; an error that nobody listens to would end the process.
  session.on('error', () => {})
  try {
    const stream = session.request({ ':method': method, ':path': path, ...headers }, { signal })
    stream.end()
    const [replyHeaders] = await once(stream, 'response', { signal })
    return { status: replyHeaders[':status'], headers: replyHeaders, body: await text(stream) }
  } finally {
    session.destroy()
  }
}
