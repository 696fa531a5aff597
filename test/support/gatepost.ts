import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { GatewayEvent } from '../../src/core/events.ts'
import { readEvents } from './event-schema.ts'
import { RunningProcess } from './process.ts'
import { tempFolder } from './temp.ts'

const mainFile = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** A running Gatepost and the addresses it really listens on. */
export interface Gatepost extends AsyncDisposable {
  /** `host:port` or `unix:/path`, as `GATEPOST_GRPC_ADDRESS` spells it. */
  grpcAddress: string
  /** `host:port` of the admin API. */
  adminAddress: string
  dataFolder: string
  process: RunningProcess
  /** Every event so far, each held against its schema; for a Gatepost whose log is of this helper's choice. */
  events(): Promise<GatewayEvent[]>
  /** @throws Error where an event that it wrote is not as its schema says. */
  stop(): Promise<void>
}

/** A line of Gatepost's log; its fields beside these depend on the message. */
export interface LogLine {
  timestamp: string
  level: string
  message: string
  [field: string]: unknown
}

/** Reads a line of Gatepost's log; undefined if it is none. */
export function parseLogLine(line: string): LogLine | undefined {
  try {
    const parsed: unknown = JSON.parse(line)
    return typeof parsed === 'object' && parsed !== null && 'message' in parsed
      ? (parsed as LogLine)
      : undefined
  } catch {
    return undefined
  }
}

/**
 * Starts Gatepost from its sources and waits until it serves. It sees the given environment and nothing else, except
 * PATH and, where they are not given, free ports, a data folder and an event log of its own, in which every event is
 * held against its schema at the end. An empty `GATEPOST_EVENTS_LOG` does without.
 * @throws with its log when it ends before it is ready.
 */
export async function startGatepost(
  env: Record<string, string>,
  { onLine }: { onLine?: (line: string) => void } = {},
): Promise<Gatepost> {
  const folder = await tempFolder('data')
  const dataFolder = env['GATEPOST_DATA_DIR'] ?? join(folder.path, 'data')
  const eventsFile = join(folder.path, 'events.jsonl')
  const gatepost = new RunningProcess({
    name: 'Gatepost',
    command: process.execPath,
    args: [mainFile, 'serve'],
    cwd: folder.path,
    env: {
      PATH: process.env['PATH'],
      GATEPOST_GRPC_ADDRESS: '127.0.0.1:0',
      GATEPOST_ADMIN_ADDRESS: '127.0.0.1:0',
      GATEPOST_DATA_DIR: dataFolder,
      GATEPOST_EVENTS_LOG: eventsFile,
      ...env,
    },
  })
  if (onLine) gatepost.onLine(onLine)
  const stop = async () => {
    await gatepost.stop()
    const written = await textOf(eventsFile)
    await folder.remove()
    wholeEvents(written)
  }
  try {
    const line = await gatepost.line((text) => parseLogLine(text)?.message === 'ready')
    const ready = parseLogLine(line)
    return {
      grpcAddress: String(ready?.['grpc_address']),
      adminAddress: String(ready?.['admin_address']),
      dataFolder,
      process: gatepost,
      events: async () => wholeEvents(await textOf(eventsFile)),
      stop,
      [Symbol.asyncDispose]: stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** The text of a file; empty where there is none. */
function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '')
}

/** The last line may be half written. */
function wholeEvents(written: string): GatewayEvent[] {
  return readEvents(written.slice(0, written.lastIndexOf('\n') + 1))
}

/** Waits until Gatepost says of itself that it is ready: its listener is up and its issuers' keys were asked for. */
export async function waitUntilReady({ adminAddress, process }: Gatepost, limitMs?: number): Promise<void> {
  await process.until(async () => {
    const { ok } = await fetch(`http://${adminAddress}/readyz`)
    return ok || undefined
  }, limitMs)
}
