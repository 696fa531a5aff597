import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import { buffer } from 'node:stream/consumers'
import type { KeyPair } from './certificates.ts'

/** What a receiver does with a request once it has read it. */
export type Behaviour =
  | { kind: 'answer'; status: number; headers?: Record<string, string>; body?: string }
  /** Drops the connection. */
  | { kind: 'reset' }
  /** Never answers. */
  | { kind: 'silent' }
  /** Answers a byte at a time, and never comes to the end: of its headers, or of its body. */
  | { kind: 'drip'; part: 'headers' | 'body' }
  /** Answers 200 with this many bytes, as fast as they are read. */
  | { kind: 'huge'; bytes: number }
  /** Answers what is no HTTP. */
  | { kind: 'garbage' }

/** A request as the receiver got it. */
export interface Received {
  method: string
  path: string
  headers: IncomingHttpHeaders
  /** Names and values as they stood on the wire, one after the other. */
  rawHeaders: readonly string[]
  body: Buffer
}

/** Where and how a receiver listens. */
export interface ReceiverOptions {
  /** Default: 127.0.0.1. */
  host?: string
  /** Its certificate; plain http without one. */
  tls?: KeyPair
}

const dripEveryMs = 2

type WebServer = Server & { closeAllConnections(): void }

/** A real receiver of webhooks that behaves as its script says: one step for each request, the last for all that follow. */
export class Receiver implements AsyncDisposable {
  readonly received: Received[] = []
  /** Connections made to it, whether or not anything was asked by them. */
  connections = 0
  /** Bytes that it has dripped. */
  dripped = 0
  /** Answers that were cut short by the other side. */
  cut = 0
  readonly port: number
  readonly origin: string
  readonly #server: WebServer
  #script: Behaviour[] = [{ kind: 'answer', status: 200 }]

  constructor(server: WebServer, origin: string, port: number) {
    this.port = port
    this.origin = origin
    this.#server = server
    server.on('connection', () => {
      this.connections += 1
    })
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      void this.#handle(request, response)
    })
  }

  /** Sets what it does from the next request on. */
  behave(...script: readonly Behaviour[]): void {
    this.#script = [...script]
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request)
    const { method = '', url: path = '', headers, rawHeaders } = request
    const step = this.#script.length > 1 ? this.#script.shift() : this.#script[0]
    response.once('close', () => {
      if (!response.writableFinished) this.cut += 1
    })
    this.received.push({ method, path, headers, rawHeaders, body })
    if (step) this.#answer(step, response)
  }

  #answer(step: Behaviour, response: ServerResponse): void {
    switch (step.kind) {
      case 'answer':
        response.writeHead(step.status, step.headers).end(step.body)
        return
      case 'reset':
        response.socket?.resetAndDestroy()
        return
      case 'silent':
        return
      case 'drip':
        this.#drip(step.part, response)
        return
      case 'huge':
        response.writeHead(200)
        pour(response, step.bytes)
        return
      case 'garbage':
        response.socket?.end('220 mail.example.com ready\r\n')
    }
  }

  #drip(part: 'headers' | 'body', response: ServerResponse): void {
    if (part === 'body') response.writeHead(200).flushHeaders()
    else response.socket?.write('HTTP/1.1 200 OK\r\nx-slow: ')
    const timer = setInterval(() => {
      this.dripped += 1
      if (part === 'body') response.write('.')
      else response.socket?.write('.')
    }, dripEveryMs)
    response.once('close', () => clearInterval(timer))
  }
}

function pour(response: ServerResponse, bytes: number): void {
  const chunk = Buffer.alloc(Math.min(bytes, 64 * 1024), 'x')
  if (response.destroyed) return
  if (bytes <= chunk.length) response.end(chunk)
  else response.write(chunk, () => pour(response, bytes - chunk.length))
}

/** Starts a receiver on a free port. */
export async function startReceiver({ host = '127.0.0.1', tls }: ReceiverOptions = {}): Promise<Receiver> {
  const server = tls ? createSecureServer(tls) : createServer()
  server.listen(0, host)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return new Receiver(server, `${tls ? 'https' : 'http'}://${host}:${port}`, port)
}
