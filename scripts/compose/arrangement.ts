import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Progress } from '../../test/support/cache.ts'
import { findOnPath } from '../../test/support/on-path.ts'
import { RunningProcess, run } from '../../test/support/process.ts'
import { tempFolder } from '../../test/support/temp.ts'
import { Builder } from './builder.ts'
import { type Condition, readServices, type Service } from './compose-file.ts'
import { readStages } from './dockerfile.ts'
import { type LocalImage, localImage, type Workshop } from './images.ts'
import { Places } from './places.ts'

/** A machine that does something else as well may need this long until a service is healthy. */
const healthyLimitMs = 90_000

/** The services of docker-compose.yml, run as plain processes; they end when an `await using` scope closes. */
export interface Arrangement extends AsyncDisposable {
  /** `127.0.0.1:PORT` for a port of a service. */
  address(service: string, port: number): Promise<string>
  /** The folder that stands for a named volume. */
  volume(name: string): string
  /** Runs a command as in the container of a service, to its end. @returns what it says. */
  exec(service: string, command: readonly string[]): Promise<string>
  /** The process of a service. */
  process(service: string): RunningProcess
  /** Services of which only files can be looked at here. */
  left: readonly string[]
}

/** What is started. */
export interface ArrangementOptions {
  /** The checkout. */
  root: string
  profiles: readonly string[]
  /** What the file's variables are filled from. */
  env: Readonly<Record<string, string>>
  progress: Progress
}

interface Running {
  service: Service
  process: RunningProcess
  healthcheck: Command | undefined
  /** A command as the service's container would run it. */
  prepare: (words: readonly string[]) => Promise<Command>
}

interface Command {
  command: string
  args: string[]
  env: Record<string, string>
  cwd: string
}

/**
 * Starts the services of the profiles in their order, each once what it depends on is as it asks, and waits until all are
 * healthy.
 * @throws when one does not start or does not get healthy, with its last lines; all that was started is ended.
 */
export async function startArrangement({
  root,
  profiles,
  env,
  progress,
}: ArrangementOptions): Promise<Arrangement> {
  await using parts = new AsyncDisposableStack()
  const { path: folder } = parts.use(await tempFolder('compose'))
  const stages = readStages(readFileSync(join(root, 'Dockerfile'), 'utf8'))
  const services = readServices(readFileSync(join(root, 'docker-compose.yml'), 'utf8'), profiles, env)
  const places = new Places(
    root,
    folder,
    services.map(({ name }) => name),
  )
  const builder = new Builder(stages, root, join(folder, 'images'))
  const running = new Map<string, Running>()
  const left: string[] = []

  for (const service of services) {
    const own = join(folder, 'services', service.name)
    mkdirSync(own, { recursive: true })
    const workshop: Workshop = { stages, builder, folder: own, progress }
    const image = await localImage(service, workshop)
    if (!image) {
      left.push(service.name)
      continue
    }
    for (const [name, condition] of Object.entries(service.dependsOn))
      await until(running.get(name), condition)
    progress(`${service.name}: starting`)
    if (image.companion) parts.use(new RunningProcess({ name: image.companion.command, ...image.companion }))
    const started = await start(service, image, places)
    parts.use(started.process)
    running.set(service.name, started)
  }
  for (const one of running.values())
    await until(one, one.healthcheck ? 'service_healthy' : 'service_started')

  const there = (name: string): Running => {
    const found = running.get(name)
    if (found) return found
    throw new Error(`Cannot find the process of ${name}: it was not started`)
  }
  const owned = parts.move()
  return {
    left,
    address: async (service, port) => `127.0.0.1:${await places.port(service, port)}`,
    volume: (name) => join(folder, 'volumes', name),
    exec: async (name, command) => run({ name: command.join(' '), ...(await there(name).prepare(command)) }),
    process: (name) => there(name).process,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

async function start(service: Service, image: LocalImage, places: Places): Promise<Running> {
  const { name, mounts } = service
  const paths = new Map(Object.entries(image.folders))
  // Volumes first: the files that are mounted may name what lies in them.
  const foldersFirst = mounts.toSorted(
    (one, other) => Number(one.source.startsWith('.')) - Number(other.source.startsWith('.')),
  )
  for (const mount of foldersFirst) paths.set(mount.target, await places.mount(name, mount, paths))
  const rewrite = (text: string) => places.rewrite(name, text, paths)

  const env: Record<string, string> = { PATH: process.env['PATH'] ?? '' }
  for (const [variable, value] of Object.entries({ ...image.environment, ...service.environment }))
    env[variable] = await rewrite(value)
  const prepare = async (words: readonly string[]): Promise<Command> => {
    const [program = '', ...args] = await Promise.all(words.map(rewrite))
    return { command: image.programs[program] ?? program, args, env, cwd: image.workFolder }
  }

  const entrypoint = service.entrypoint ?? image.entrypoint
  const command = service.command ?? (service.entrypoint ? [] : image.command)
  const healthcheck = service.healthcheck ?? image.healthcheck
  return {
    service,
    process: new RunningProcess({ name, ...(await prepare([...entrypoint, ...command])) }),
    healthcheck: healthcheck && (await prepare(healthcheck)),
    prepare,
  }
}

/** Waits until a service is as another asks of it. One that cannot run here is taken as it is. */
async function until(running: Running | undefined, condition: Condition): Promise<void> {
  if (!running) return
  const { service, process: started, healthcheck } = running
  if (condition === 'service_completed_successfully') {
    const end = await started.ended
    if (end !== 'exit code 0')
      throw new Error(`Cannot go on: ${service.name}: ${end}\n${started.lastWords()}`)
  }
  if (condition !== 'service_healthy') return
  if (!healthcheck) throw new Error(`Cannot wait for ${service.name} to be healthy: it has no health check`)
  if (findOnPath(healthcheck.command) === undefined && !healthcheck.command.startsWith('/'))
    throw new Error(`Cannot run the health check of ${service.name}: ${healthcheck.command} is not on PATH`)
  await started.until(async () => {
    await run({ name: `the health check of ${service.name}`, ...healthcheck })
    return true
  }, healthyLimitMs)
}
