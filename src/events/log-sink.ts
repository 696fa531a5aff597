import { constants, fstatSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import sonicBoom from 'sonic-boom'
import type { OnDrop, Sink } from './bus.ts'

/** The most bytes that wait for the file or pipe; events past it are dropped and counted. */
export const maxBufferedBytes = 8 * 1024 * 1024

/** How long the end waits for what is not yet written, in milliseconds. */
const closeLimitMs = 2_000

const stdout = 1

/** Writes events as JSON lines. */
export interface LogSink extends Sink {
  /** Bytes waiting to be written. */
  readonly bufferedBytes: number
  /** Writes what waits, as far as it can be written within two seconds, and closes. */
  close(): Promise<void>
}

/**
 * Opens the event log. Writing never waits: where stdout is read too slowly or the disk is full, events are kept as
 * far as the bound goes, then dropped, each one counted.
 * @param target `stdout`, or the path of a file that is appended to.
 * @param onError told once of each time that writing begins to fail, and of what the end leaves unwritten.
 * @throws Error where the file cannot be opened.
 */
export function openLogSink(target: string, onDrop: OnDrop, onError: (error: unknown) => void): LogSink {
  const fd = target === 'stdout' ? openStdout() : openFile(target)
  let bufferedBytes = 0
  let refused = false
  let failing = false
  let closed = false
  let abandoned = false
  const boom = new sonicBoom.SonicBoom({
    fd,
    sync: false,
    maxLength: maxBufferedBytes,
    retryEAGAIN: () => !abandoned,
  })
  boom.on('error', (error: unknown) => {
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

  /** @returns whether there was room. */
  function append(line: string): boolean {
    if (closed) return false
    refused = false
    boom.write(line)
    return !refused
  }

  return {
    name: 'log',

    get bufferedBytes() {
      return bufferedBytes
    },

    write(events) {
      for (const event of events) {
        const line = `${JSON.stringify(event)}\n`
        if (append(line)) bufferedBytes += Buffer.byteLength(line)
        else onDrop('log', event.event_type)
      }
    },

    async close() {
      if (closed) return
      closed = true
      const { promise, resolve } = Promise.withResolvers<void>()
      boom.once('close', resolve)
      // What fails now will not be tried again.
      boom.once('error', resolve)
      boom.end()
      const timer = setTimeout(resolve, closeLimitMs)
      await promise
      clearTimeout(timer)
      if (bufferedBytes === 0) return
      abandoned = true
      failing = true
      onError(new Error(`Cannot write the last events: ${bufferedBytes} bytes were not taken in time`))
    },
  }
}

/**
 * A pipe is opened anew, for this process alone, so that writing to it can be told not to wait: a thread that waits for
 * a reader who does not read would keep the process from ever ending.
 */
function openStdout(): number {
  if (!fstatSync(stdout).isFIFO()) return stdout
  try {
    return openSync('/dev/stdout', constants.O_WRONLY | constants.O_NONBLOCK)
  } catch {
    // The pipe belongs to another user.
    return stdout
  }
}

function openFile(path: string): number {
  mkdirSync(dirname(path), { recursive: true })
  return openSync(path, 'a', 0o640)
}
