import { mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import sonicBoom from 'sonic-boom'
import type { OnDrop, Sink } from './bus.ts'

/** The most bytes that wait for the file or pipe; events past it are dropped and counted. */
const maxBufferedBytes = 8 * 1024 * 1024

const stdout = 1

/** Writes events as JSON lines. */
export interface LogSink extends Sink {
  /** Bytes waiting to be written. */
  readonly bufferedBytes: number
  /** Writes what waits and closes. */
  close(): void
}

/**
 * Opens the event log. Writing never waits: where stdout is read too slowly or the disk is full, events are kept as
 * far as the bound goes, then dropped, each one counted.
 * @param target `stdout`, or the path of a file that is appended to.
 * @throws Error where the file cannot be opened.
 */
export function openLogSink(target: string, onDrop: OnDrop, onError: (error: unknown) => void): LogSink {
  const fd = target === 'stdout' ? stdout : openFile(target)
  const boom = new sonicBoom.SonicBoom({ fd, sync: false, maxLength: maxBufferedBytes })
  let bufferedBytes = 0
  let refused = false
  boom.on('error', onError)
  boom.on('write', (bytes: number) => {
    bufferedBytes -= bytes
  })
  boom.on('drop', () => {
    refused = true
  })
  return {
    name: 'log',

    get bufferedBytes() {
      return bufferedBytes
    },

    write(events) {
      for (const event of events) {
        const line = `${JSON.stringify(event)}\n`
        refused = false
        boom.write(line)
        if (refused) onDrop('log', event.event_type)
        else bufferedBytes += Buffer.byteLength(line)
      }
    },

    close() {
      boom.flushSync()
      boom.end()
    },
  }
}

function openFile(path: string): number {
  mkdirSync(dirname(path), { recursive: true })
  return openSync(path, 'a', 0o640)
}
