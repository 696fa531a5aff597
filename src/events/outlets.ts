import { Socket } from 'node:net'
import sonicBoom from 'sonic-boom'

/** The most bytes that an outlet keeps waiting. */
export const maxBufferedBytes = 8 * 1024 * 1024

/** Where lines go. Nothing here waits for the other side. */
export interface Outlet {
  /**
   * Takes a line.
   * @param onLost called, at once or later, where it is known that the line does not get out.
   */
  write(line: string, onLost: () => void): void
  /** Bytes waiting to be written. */
  readonly bufferedBytes: number
  /**
   * Writes what waits, as far as that is done within the limit, and closes. To be called once.
   * @returns the bytes that were not written.
   */
  close(limitMs: number): Promise<number>
}

/**
 * A pipe or a socket. Once its reader has gone, every further line is lost.
 * @param fd made non-blocking: a thread that waits for a reader who does not read would keep the process from ending.
 */
export function pipeOutlet(fd: number, onError: (error: unknown) => void): Outlet {
  const socket = new Socket({ fd, readable: false, writable: true })
  socket.on('error', onError)
  const waiting = () => (socket.destroyed ? 0 : socket.writableLength)
  return {
    get bufferedBytes() {
      return waiting()
    },

    write(line, onLost) {
      const bytes = Buffer.from(line)
      if (!socket.writable || socket.writableLength + bytes.length > maxBufferedBytes) return onLost()
      socket.write(bytes, (error) => {
        if (error) onLost()
      })
    },

    async close(limitMs) {
      if (socket.destroyed) return 0
      const { promise: closed, resolve } = Promise.withResolvers<void>()
      socket.once('close', resolve)
      socket.end(() => socket.destroy())
      await atMost(limitMs, closed)
      const unwritten = waiting()
      socket.destroy()
      return unwritten
    },
  }
}

/** A file, or a terminal. Lines that cannot be written, as on a full disk, are kept and tried again with the next. */
export function fileOutlet(fd: number, onError: (error: unknown) => void): Outlet {
  const boom = new sonicBoom.SonicBoom({ fd, sync: false, maxLength: maxBufferedBytes })
  let bufferedBytes = 0
  let refused = false
  let failing = false
  let closed = false
  boom.on('error', (error: unknown) => {
    // The next line fails as well: said once, until one gets through.
    if (!failing) onError(error)
    failing = true
  })
  boom.on('write', (bytes: number) => {
    bufferedBytes -= bytes
    failing = false
  })
  boom.on('drop', () => {
    refused = true
  })
  return {
    get bufferedBytes() {
      return bufferedBytes
    },

    write(line, onLost) {
      if (closed) return onLost()
      refused = false
      boom.write(line)
      if (refused) onLost()
      else bufferedBytes += Buffer.byteLength(line)
    },

    async close(limitMs) {
      closed = true
      const { promise, resolve } = Promise.withResolvers<void>()
      boom.once('close', resolve)
      // What fails now is not tried again.
      boom.once('error', resolve)
      boom.end()
      await atMost(limitMs, promise)
      return bufferedBytes
    },
  }
}

async function atMost(limitMs: number, promise: Promise<void>): Promise<void> {
  const { promise: over, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, limitMs)
  await Promise.race([promise, over])
  clearTimeout(timer)
}
