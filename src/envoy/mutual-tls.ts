import { once } from 'node:events'
import { createServer } from 'node:tls'
import { type ConnectionInjector, type Server, ServerCredentials } from '@grpc/grpc-js'
import type { Clock } from '../core/clock.ts'
import type { ListenAddress } from '../core/listen.ts'
import type { LogFields, Logger } from '../core/log.ts'
import { createNameCheck } from './client-names.ts'
import { followTlsFiles, type TlsFiles } from './credentials.ts'

/** What the TLS listener goes by: files, and names. */
export interface MutualTlsSettings extends TlsFiles {
  /** Subject alternative names of which a client must have one; absent if any certificate of the authorities will do. */
  clientNames?: readonly string[]
}

/** A TLS listener that lets nobody in without a certificate. */
export interface MutualTls {
  /**
   * Listens, and hands over to the gRPC server every client that may come in. Once only.
   * @returns the port that the system chose; 0 for a Unix socket.
   */
  listen(server: Server, address: ListenAddress): Promise<number>
  /** Takes no new connections and waits for calls under way, at most so long; then ends them. */
  close(graceMs: number): void
}

/** How long a client may take to show its certificate. */
const handshakeLimitMs = 10_000

/** Anybody can knock: a reason to refuse is told at most once in this time. */
const tellAgainMs = 60_000

/** How much of a refused client's names is logged, in characters. */
const maxNamesLength = 512

/**
 * Reads the TLS files and makes a listener of TLS 1.2 at least that goes by them, also when they change: connections
 * that stand go on, new ones meet the new set.
 *
 * TLS is ended here rather than by credentials of grpc-js: those cannot look at a client's names before its first call,
 * keep it to themselves whom they refused, and read a certificate anew for each call that asks for one.
 * @throws CannotStart where the files will not do.
 */
export function createMutualTls(
  settings: MutualTlsSettings,
  { clock, logger }: { clock: Clock; logger: Logger },
): MutualTls {
  const followed = followTlsFiles(settings, { clock, logger }, ({ context }) =>
    listener.setSecureContext(context),
  )
  const listener = createServer({
    ...followed.first.context,
    requestCert: true,
    rejectUnauthorized: true,
    ALPNProtocols: ['h2'],
    handshakeTimeout: handshakeLimitMs,
  })
  const refuse = createRefusalLog(logger, clock)
  const isWelcome = createNameCheck(settings.clientNames)
  let injector: ConnectionInjector | undefined

  listener.on('tlsClientError', (error: NodeJS.ErrnoException, { authorizationError }) => {
    refuse(String(authorizationError ?? error.code ?? 'unknown'), {})
  })
  listener.on('secureConnection', (socket) => {
    // Whoever takes the socket hears of its errors as well; between two owners nobody would.
    socket.on('error', () => undefined)
    const certificate = socket.getPeerX509Certificate()
    if (certificate && isWelcome(certificate)) {
      if (listener.listening) injector?.injectConnection(socket)
      else socket.destroy()
      return
    }
    refuse('wrong_name', {
      peer: socket.remoteAddress,
      names: certificate?.subjectAltName?.slice(0, maxNamesLength),
    })
    socket.destroy()
  })

  return {
    async listen(server, address) {
      injector = server.createConnectionInjector(ServerCredentials.createInsecure())
      listener.listen(
        address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port },
      )
      await once(listener, 'listening')
      const bound = listener.address()
      return bound !== null && typeof bound === 'object' ? bound.port : 0
    },
    close(graceMs) {
      followed.close()
      listener.close()
      injector?.drain(graceMs)
    },
  }
}

/** Reasons that say nothing about a certificate: a probe of the port, a client that thought better of it. */
const idle: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE'])

/** Reasons are codes of Node and OpenSSL: there are only so many, hence the map is bounded. */
function createRefusalLog(logger: Logger, clock: Clock): (reason: string, fields: LogFields) => void {
  const told = new Map<string, { atMs: number; since: number }>()
  return (reason, fields) => {
    if (idle.has(reason)) return
    const last = told.get(reason)
    const nowMs = clock.now()
    if (last && nowMs - last.atMs < tellAgainMs) {
      last.since += 1
      return
    }
    told.set(reason, { atMs: nowMs, since: 0 })
    logger.warn({ reason, ...fields, untold: last?.since ?? 0 }, 'TLS client refused')
  }
}
