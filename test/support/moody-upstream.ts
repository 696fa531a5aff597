import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import {
  createServer as createHttp2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import { listen } from './ports.ts'

/**
 * How an upstream answers: well, with a status, never, by cutting the connection (before its answer, or in the middle
 * of it), or once it is let go.
 */
export type Mood = 'well' | 'hang' | 'reset' | 'cut' | 'hold' | number

/** An upstream over HTTP/1.1 that answers as it is told. */
export interface MoodyUpstream extends AsyncDisposable {
  /** `127.0.0.1:port`. */
  address: string
  mood: Mood
  /** Requests so far. */
  readonly count: number
  /** Requests that wait for {@link letGo}. */
  readonly held: number
  /** Answers every request that is held. */
  letGo(): void
}

/** Starts an upstream that answers well, at first. */
export async function startMoodyUpstream(): Promise<MoodyUpstream> {
  const held: ServerResponse[] = []
  let count = 0
  const server = createServer((request, response) => {
    count += 1
    request.resume()
    answer(response, upstream.mood, held)
  })
  const upstream: MoodyUpstream = {
    address: `127.0.0.1:${await listen(server, 0)}`,
    mood: 'well',
    get count() {
      return count
    },
    get held() {
      return held.length
    },
    letGo() {
      for (const response of held.splice(0)) response.end('at last\n')
    },
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      if (server.listening) await once(server, 'close')
    },
  }
  return upstream
}

function answer(response: ServerResponse, mood: Mood, held: ServerResponse[]): void {
  switch (mood) {
    case 'well':
      response.end('well\n')
      return
    case 'hang':
      return
    case 'hold':
      held.push(response)
      return
    case 'reset':
      response.socket?.resetAndDestroy()
      return
    case 'cut':
      response.writeHead(200, { 'content-length': '100' })
      response.write('half of it', () => response.socket?.destroy())
      return
    default:
      response.writeHead(mood).end(`${mood}\n`)
  }
}

/** An upstream that answers every call of gRPC with a status in its trailers. */
export interface GrpcUpstream extends AsyncDisposable {
  /** `127.0.0.1:port`. */
  address: string
  /** The gRPC status code of the next answers. */
  status: number
}

/** Starts one that answers OK, at first. */
export async function startGrpcUpstream(): Promise<GrpcUpstream> {
  const sessions = new Set<ServerHttp2Session>()
  const server = createHttp2Server()
  server.on('session', (session) => {
    sessions.add(session)
    session.on('close', () => sessions.delete(session))
  })
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => {})
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': String(upstream.status) }))
    // One empty message: with a body before them the trailers cannot travel as headers.
    stream.end(Buffer.alloc(5))
  })
  const upstream: GrpcUpstream = {
    address: `127.0.0.1:${await listen(server, 0)}`,
    status: 0,
    async [Symbol.asyncDispose]() {
      server.close()
      for (const session of sessions) session.destroy()
      if (server.listening) await once(server, 'close')
    },
  }
  return upstream
}
