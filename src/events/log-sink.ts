import { constants, fstatSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import type { OnDrop, Sink } from './bus.ts'
import { fileOutlet, type Outlet, pipeOutlet } from './outlets.ts'

const stdout = 1

/** Writes events as JSON lines. */
export interface LogSink extends Sink {
  /** Bytes waiting to be written. */
  readonly bufferedBytes: number
  /**
   * Writes what waits, as far as that is done within the limit, and closes. To be called once.
   * @returns the bytes that were not written.
   */
  close(limitMs: number): Promise<number>
}

/**
 * Opens the event log. Writing never waits: where stdout is read too slowly or the disk is full, 8 MiB of events are
 * kept, further ones dropped, each one counted.
 * @param target `stdout`, or the path of a file that is appended to.
 * @param onError told once each time that writing begins to fail.
 * @throws Error where the file cannot be opened.
 */
export function openLogSink(target: string, onDrop: OnDrop, onError: (error: unknown) => void): LogSink {
  const outlet = target === 'stdout' ? stdoutOutlet(onError) : fileOutlet(openFile(target), onError)
  return {
    name: 'log',

    get bufferedBytes() {
      return outlet.bufferedBytes
    },

    write(events) {
      for (const event of events) {
        outlet.write(`${JSON.stringify(event)}\n`, () => onDrop('log', event.event_type))
      }
    },

    close: outlet.close,
  }
}

function stdoutOutlet(onError: (error: unknown) => void): Outlet {
  const kind = fstatSync(stdout)
  if (kind.isFIFO()) return pipeOutlet(ownPipe(), onError)
  return kind.isSocket() ? pipeOutlet(stdout, onError) : fileOutlet(stdout, onError)
}

/** Opens the pipe of stdout anew: whoever else writes to it goes on as before when ours is made non-blocking. */
function ownPipe(): number {
  try {
    return openSync('/dev/stdout', constants.O_WRONLY | constants.O_NONBLOCK)
  } catch {
    // The pipe belongs to another user, or nobody reads from it any more.
    return stdout
  }
}

function openFile(path: string): number {
  mkdirSync(dirname(path), { recursive: true })
  return openSync(path, 'a', 0o640)
}
