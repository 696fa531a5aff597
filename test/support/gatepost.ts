import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
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
 * PATH and, where they are not given, free ports and a data folder of its own.
 * @throws with its log when it ends before it is ready.
 */
export async function startGatepost(
  env: Record<string, string>,
  { onLine }: { onLine?: (line: string) => void } = {},
): Promise<Gatepost> {
  const folder = await tempFolder('data')
  const dataFolder = env['GATEPOST_DATA_DIR'] ?? join(folder.path, 'data')
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
      ...env,
    },
  })
  if (onLine) gatepost.onLine(onLine)
  const stop = async () => {
    await gatepost.stop()
    await folder.remove()
  }
  try {
    const line = await gatepost.line((text) => parseLogLine(text)?.message === 'ready')
    const ready = parseLogLine(line)
    return {
      grpcAddress: String(ready?.['grpc_address']),
      adminAddress: String(ready?.['admin_address']),
      dataFolder,
      process: gatepost,
      stop,
      [Symbol.asyncDispose]: stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Waits until Gatepost says of itself that it is ready: its listener is up and its issuers' keys were asked for. */
export async function waitUntilReady({ adminAddress, process }: Gatepost, limitMs?: number): Promise<void> {
  await process.until(async () => {
    const { ok } = await fetch(`http://${adminAddress}/readyz`)
    return ok || undefined
  }, limitMs)
}
