import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { aptCommand } from './apt.ts'
import type { Progress } from './cache.ts'
import { createAuthority } from './certificates.ts'
import { findOnPath } from './on-path.ts'
import { freePort } from './ports.ts'
import { RunningProcess, run } from './process.ts'
import { tempFolder } from './temp.ts'

/** Where Debian has what `rabbitmq-server` on PATH, which wants to be root, leads to. */
const debianFolder = '/usr/lib/rabbitmq/bin'

const startLimitMs = 90_000
const cookie = 'gatepost'

/** Users beside `guest`, with what they may do in every vhost that {@link RabbitMq.addVhost} makes. */
export const rabbitUsers = {
  /** May do everything, and has a name and a password that must be encoded in a URL. */
  odd: { name: 'söphie@gate', password: 'p/a:s%s#ö', configure: '.*', write: '.*' },
  /** May publish, and declare nothing. */
  writer: { name: 'writer', password: 'writer', configure: '^$', write: '.*' },
} as const

/** A running RabbitMQ with a data folder of its own. No message there may be larger than 32 KiB. */
export interface RabbitMq extends AsyncDisposable {
  /** `127.0.0.1:PORT`, plain. */
  address: string
  /** `127.0.0.1:PORT`, TLS. */
  tlsAddress: string
  /** Certificate of the authority that its own is of, PEM. */
  caFile: string
  /** Runs `rabbitmqctl` and gives what it says. */
  ctl(...args: readonly string[]): Promise<string>
  /** Makes a vhost for `guest` and {@link rabbitUsers}. */
  addVhost(name: string): Promise<void>
  /** Ends the node as `kill -9` does. */
  kill(): Promise<void>
  /** Starts it again, on the same ports and data. */
  restart(): Promise<void>
}

const startAttempts = 3

/** What RabbitMQ says where another process has taken a port since it was free. */
const portTaken = /dist_port_already_used|eaddrinuse/i

/** Starts RabbitMQ on free ports of loopback; on others where one of them is taken before it is up. */
export async function startRabbitMq(progress: Progress = () => {}): Promise<RabbitMq> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnFreePorts(progress)
    } catch (error) {
      if (attempt === startAttempts || !portTaken.test((error as Error).message)) throw error
    }
  }
}

async function startOnFreePorts(progress: Progress): Promise<RabbitMq> {
  const bin = await rabbitFolder(progress)
  const folder = await tempFolder('rabbitmq')
  const [port, tlsPort, distributionPort, epmdPort] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ]
  const env = environment(folder.path, distributionPort, epmdPort)
  await writeFiles(folder.path, port, tlsPort)

  // Ours, or the node starts one that outlives it.
  const epmd = new RunningProcess({ name: 'epmd', command: 'epmd', args: ['-port', String(epmdPort)], env })
  let node: RunningProcess | undefined
  const kill = async () => {
    node?.signal('SIGKILL')
    await node?.ended
  }
  const restart = async () => {
    node = new RunningProcess({ name: 'rabbitmq', command: join(bin, 'rabbitmq-server'), args: [], env })
    await node.line((line) => line.includes('Server startup complete'), startLimitMs)
  }
  const stop = async () => {
    await kill()
    await epmd.stop()
    await folder.remove()
  }
  const ctl = (...args: readonly string[]) =>
    run({
      name: `rabbitmqctl ${args.join(' ')}`,
      command: join(bin, 'rabbitmqctl'),
      args: ['--erlang-cookie', cookie, ...args],
      env,
    })
  try {
    await restart()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    address: `127.0.0.1:${port}`,
    tlsAddress: `127.0.0.1:${tlsPort}`,
    caFile: join(folder.path, 'ca.pem'),
    ctl,
    async addVhost(name) {
      const file = join(folder.path, 'vhost.json')
      await writeFile(file, JSON.stringify(definitionsOf(name)))
      await ctl('import_definitions', file)
    },
    kill,
    restart,
    [Symbol.asyncDispose]: stop,
  }
}

/**
 * The folder of RabbitMQ's commands: Debian's own, else that of the one on PATH, else it is installed by apt-get.
 * @throws with all that was tried and what to do.
 */
export async function rabbitFolder(progress: Progress): Promise<string> {
  if (existsSync(debianFolder)) return debianFolder
  const command =
    findOnPath('rabbitmq-server') ?? (await aptCommand('rabbitmq-server', 'rabbitmq-server', progress))
  return existsSync(debianFolder) ? debianFolder : dirname(command)
}

/** Every path and port is named, or the node would share those of the system's own service. */
function environment(folder: string, distributionPort: number, epmdPort: number): NodeJS.ProcessEnv {
  return {
    PATH: process.env['PATH'],
    HOME: join(folder, 'home'),
    LC_ALL: 'C.UTF-8',
    ERL_EPMD_ADDRESS: '127.0.0.1',
    ERL_EPMD_PORT: String(epmdPort),
    RABBITMQ_NODENAME: 'mq@localhost',
    RABBITMQ_DIST_PORT: String(distributionPort),
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
    RABBITMQ_CONF_ENV_FILE: join(folder, 'none.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `-kernel inet_dist_use_interface {127,0,0,1} -setcookie ${cookie}`,
  }
}

async function writeFiles(folder: string, port: number, tlsPort: number): Promise<void> {
  const authority = createAuthority('RabbitMQ of a test')
  const { cert, key } = authority.issue('rabbitmq', { dns: ['localhost'], ips: ['127.0.0.1'] })
  await mkdir(join(folder, 'home'))
  const files = {
    'ca.pem': authority.cert,
    'cert.pem': cert,
    'key.pem': key,
    plugins: '[].\n',
    'definitions.json': JSON.stringify(definitionsOf('/')),
    'rabbitmq.conf': [
      `listeners.tcp.1 = 127.0.0.1:${port}`,
      `listeners.ssl.1 = 127.0.0.1:${tlsPort}`,
      `ssl_options.cacertfile = ${folder}/ca.pem`,
      `ssl_options.certfile = ${folder}/cert.pem`,
      `ssl_options.keyfile = ${folder}/key.pem`,
      'ssl_options.verify = verify_none',
      `load_definitions = ${folder}/definitions.json`,
      'max_message_size = 32768',
      'log.file = false',
      'log.console = true',
      'log.console.level = info',
      '',
    ].join('\n'),
  }
  await Promise.all(Object.entries(files).map(([name, text]) => writeFile(join(folder, name), text)))
}

function definitionsOf(vhost: string) {
  const guest = { name: 'guest', password: 'guest', configure: '.*', write: '.*' }
  const users = [guest, ...Object.values(rabbitUsers)]
  return {
    users: users.map(({ name, password }) => ({ name, password, tags: '' })),
    vhosts: [{ name: vhost }],
    permissions: users.map(({ name, configure, write }) => ({
      user: name,
      vhost,
      configure,
      write,
      read: '.*',
    })),
  }
}
