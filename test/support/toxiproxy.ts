import { join } from 'node:path'
import { cached, type Progress } from './cache.ts'
import { findOnPath } from './on-path.ts'
import { freePort } from './ports.ts'
import { RunningProcess, run } from './process.ts'

const version = '2.5.0'

/** A fault of the network as toxiproxy makes it; durations in milliseconds, rates in KiB a second. */
export type Toxic =
  /** Delays everything that comes back. */
  | { type: 'latency'; attributes: { latency: number } }
  /** Swallows everything; 0 keeps the connection open for ever. */
  | { type: 'timeout'; attributes: { timeout: number } }
  /** Resets the connection after so long. */
  | { type: 'reset_peer'; attributes: { timeout: number } }
  /** Lets no more than this rate through. */
  | { type: 'bandwidth'; attributes: { rate: number } }
  /** Cuts what comes back into pieces of so many bytes, so many microseconds apart. */
  | { type: 'slicer'; attributes: { average_size: number; size_variation: number; delay: number } }
  /** Closes the connection after so many bytes. */
  | { type: 'limit_data'; attributes: { bytes: number } }

/** A way through the proxy to one server. */
export interface ProxiedWay {
  /** Where it listens: `127.0.0.1:PORT`. */
  address: string
  /** Makes the network misbehave from now on, for connections that are open as well. */
  poison(toxic: Toxic): Promise<void>
  /** Refuses connections from now on, and drops those that are open. */
  cut(): Promise<void>
  /** Leads to another server from now on. @param upstream `host:port`. */
  leadTo(upstream: string): Promise<void>
  /** Ends every fault of this way, connections under it included. */
  heal(): Promise<void>
}

/** A running toxiproxy. */
export interface Toxiproxy extends AsyncDisposable {
  /** Opens a way to a server. @param upstream `host:port`. @param listen a port of 127.0.0.1. */
  wayTo(upstream: string, listen: number): Promise<ProxiedWay>
  stop(): Promise<void>
}

/** Starts toxiproxy, building it on first use. */
export async function startToxiproxy(progress: Progress = () => {}): Promise<Toxiproxy> {
  const command = await toxiproxyBinary(progress)
  const port = await freePort()
  const process = new RunningProcess({
    name: 'toxiproxy',
    command,
    args: ['-host', '127.0.0.1', '-port', String(port)],
    env: { LOG_LEVEL: 'error' },
  })
  const api = apiOf(`http://127.0.0.1:${port}`)
  const stop = () => process.stop()
  try {
    await process.until(() => api('GET', '/version').then(() => true))
  } catch (error) {
    await stop()
    throw error
  }
  let ways = 0
  return {
    stop,
    [Symbol.asyncDispose]: stop,
    async wayTo(upstream, listen) {
      ways += 1
      const name = `way-${ways}`
      const address = `127.0.0.1:${listen}`
      const own = { name, listen: address, upstream, enabled: true }
      await api('POST', '/proxies', own)
      return {
        address,
        poison: (toxic) => api('POST', `/proxies/${name}/toxics`, { ...toxic, stream: 'downstream' }),
        cut: () => api('POST', `/proxies/${name}`, { enabled: false }),
        leadTo: (other) => api('POST', `/proxies/${name}`, { ...own, upstream: other }),
        async heal() {
          // Made anew: a toxic that is only removed leaves the connections that it holds where they are.
          await api('DELETE', `/proxies/${name}`)
          await api('POST', '/proxies', own)
        },
      }
    },
  }
}

function apiOf(origin: string) {
  return async (method: string, path: string, body?: object): Promise<void> => {
    const response = await fetch(origin + path, { method, ...(body && { body: JSON.stringify(body) }) })
    const text = await response.text()
    if (!response.ok) throw new Error(`Cannot tell toxiproxy ${method} ${path}: ${response.status} ${text}`)
  }
}

/**
 * The path of toxiproxy: the one on PATH, else the cached one, else it is built by Go.
 * @throws with all that was tried and what to do.
 */
async function toxiproxyBinary(progress: Progress): Promise<string> {
  const there = findOnPath('toxiproxy-server')
  if (there !== undefined) return there
  try {
    return join(await cached('toxiproxy', version, (folder) => build(folder, progress)), 'server')
  } catch (cause) {
    throw new Error(
      `Cannot get toxiproxy ${version}: toxiproxy-server is neither on PATH nor in the cache, and \`go install\` ` +
        `failed. Put it on PATH, or install Go.\n${(cause as Error).message}`,
      { cause },
    )
  }
}

async function build(folder: string, progress: Progress): Promise<void> {
  progress(`toxiproxy ${version}: building, once; it takes about a minute`)
  await run({
    name: `go install toxiproxy@v${version}`,
    command: 'go',
    args: ['install', `github.com/Shopify/toxiproxy/v2/cmd/server@v${version}`],
    env: { ...process.env, GOBIN: folder },
    limitMs: 600_000,
  })
}
