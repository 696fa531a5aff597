import { copyFile, mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { aptCommand } from './apt.ts'
import { cached, type Progress } from './cache.ts'
import { KeycloakRealm } from './keycloak-realm.ts'
import { freePort } from './ports.ts'
import { RunningProcess, run } from './process.ts'
import { type TempFolder, tempFolder } from './temp.ts'

const version = '26.5.6'

/** A machine that does something else as well may need this long. */
const readyLimitMs = 120_000

const administrator = { name: 'admin', password: 'the-password-of-this-run' }

/**
 * The folder of a Keycloak whose `kc.sh build --db=dev-file` has been run: `TEST_KEYCLOAK_HOME`, else the cached one,
 * else it is fetched by Maven, unpacked and built.
 * @throws with all that was tried and what to do.
 */
async function keycloakHome(progress: Progress): Promise<string> {
  const given = process.env['TEST_KEYCLOAK_HOME']
  if (given) return given
  try {
    const folder = await cached('keycloak', version, (into) => installKeycloak(into, progress))
    return join(folder, `keycloak-${version}`)
  } catch (cause) {
    throw new Error(
      `Cannot get Keycloak ${version}: TEST_KEYCLOAK_HOME is not set, none is in the cache, and fetching it by Maven ` +
        'failed. Make `mvn` and Java 17 or newer work, or set TEST_KEYCLOAK_HOME to an unpacked Keycloak on which ' +
        `\`bin/kc.sh build --db=dev-file\` has been run.\n${(cause as Error).message}`,
      { cause },
    )
  }
}

async function installKeycloak(folder: string, progress: Progress): Promise<void> {
  const maven = await aptCommand('mvn', 'maven', progress)
  progress(`Keycloak ${version}: downloading some 165 MB, once`)
  await run({
    name: 'mvn dependency:unpack',
    command: maven,
    args: [
      '--batch-mode',
      '--quiet',
      'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:unpack',
      `-Dartifact=org.keycloak:keycloak-quarkus-dist:${version}:zip`,
      `-DoutputDirectory=${folder}`,
    ],
    cwd: folder,
    limitMs: 600_000,
  })
  progress(`Keycloak ${version}: building it for its embedded database`)
  await run({
    name: 'kc.sh build',
    command: join(folder, `keycloak-${version}`, 'bin', 'kc.sh'),
    args: ['build', '--db=dev-file'],
    limitMs: 300_000,
  })
}

/**
 * Starts Keycloak on a free port of loopback, with a data folder of its own, and waits until it serves.
 * @throws with its last lines where it does not come up within two minutes.
 */
export async function startKeycloak({
  progress = () => {},
}: {
  progress?: Progress
} = {}): Promise<Keycloak> {
  const home = await keycloakHome(progress)
  const folder = await tempFolder('keycloak')
  try {
    await layOut(home, folder.path)
    const keycloak = new Keycloak(folder, await freePort())
    await keycloak.start()
    return keycloak
  } catch (error) {
    await folder.remove()
    throw error
  }
}

/** Keycloak writes beside its script and nowhere else: a folder with a script of its own and links has its own data. */
async function layOut(home: string, folder: string): Promise<void> {
  await mkdir(join(folder, 'bin'))
  await copyFile(join(home, 'bin', 'kc.sh'), join(folder, 'bin', 'kc.sh'))
  for (const part of ['lib', 'conf', 'providers', 'themes', 'version.txt']) {
    await symlink(join(home, part), join(folder, part))
  }
}

/** A real Keycloak. What it has committed outlives a kill: its database is a file, written through at each commit. */
export class Keycloak implements AsyncDisposable {
  /** `http://127.0.0.1:PORT`. */
  readonly origin: string
  readonly #folder: TempFolder
  readonly #port: number
  #process: RunningProcess | undefined

  constructor(folder: TempFolder, port: number) {
    this.#folder = folder
    this.#port = port
    this.origin = `http://127.0.0.1:${port}`
  }

  /** Starts the server, at first or after a kill, on the same port and data, and waits until it serves. */
  async start(): Promise<void> {
    const running = new RunningProcess({
      name: 'Keycloak',
      command: join(this.#folder.path, 'bin', 'kc.sh'),
      args: [
        ...['start', '--optimized', '--cache=local', `--hostname=${this.origin}`],
        ...['--http-enabled=true', '--http-host=127.0.0.1', `--http-port=${this.#port}`],
        '--db-url-properties=;NON_KEYWORDS=VALUE;WRITE_DELAY=0',
      ],
      env: environment(),
    })
    this.#process = running
    try {
      await running.until(() => this.#serves(), readyLimitMs)
    } catch (error) {
      await running.stop()
      throw error
    }
  }

  /** Ends the server as a crash would: SIGKILL, to every process of it. */
  async kill(): Promise<void> {
    this.#process?.signal('SIGKILL')
    await this.#process?.ended
  }

  /** Creates a realm that nobody else uses. */
  async createRealm(): Promise<KeycloakRealm> {
    const realm = new KeycloakRealm(this.origin, (method, path, body) => this.#administer(method, path, body))
    await realm.create()
    return realm
  }

  /** Ends the server and removes its data. */
  async stop(): Promise<void> {
    await this.#process?.stop()
    await this.#folder.remove()
  }

  /** Stops when an `await using` scope closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #serves(): Promise<true | undefined> {
    const { status } = await fetch(`${this.origin}/realms/master`)
    return status === 200 || undefined
  }

  async #administer(method: string, path: string, body?: object): Promise<unknown> {
    const response = await fetch(`${this.origin}/admin${path}`, {
      method,
      headers: { authorization: `Bearer ${await this.#adminToken()}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (response.ok) return text === '' ? undefined : JSON.parse(text)
    throw new Error(`Cannot ${method} ${path} of Keycloak: status ${response.status}, ${text}`)
  }

  /** A new one each time: it lives for a minute only. */
  async #adminToken(): Promise<string> {
    const response = await fetch(`${this.origin}/realms/master/protocol/openid-connect/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'password',
        client_id: 'admin-cli',
        username: administrator.name,
        password: administrator.password,
      }),
    })
    const { access_token } = (await response.json()) as { access_token?: string }
    if (access_token) return access_token
    throw new Error(`Cannot administer Keycloak: status ${response.status} for the administrator's token`)
  }
}

/** What Keycloak sees: the way to Java, and no `KC_…` of the user's. */
function environment(): NodeJS.ProcessEnv {
  const { PATH, HOME, JAVA_HOME } = process.env
  return {
    PATH,
    HOME,
    ...(JAVA_HOME && { JAVA_HOME }),
    // It never lives long enough for the better compiler to pay.
    JAVA_OPTS_APPEND: '-XX:TieredStopAtLevel=1',
    KC_BOOTSTRAP_ADMIN_USERNAME: administrator.name,
    KC_BOOTSTRAP_ADMIN_PASSWORD: administrator.password,
  }
}
