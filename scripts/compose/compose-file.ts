import { parse } from 'yaml'

/** When a service may start: what must be so of one that it depends on. */
export type Condition = 'service_started' | 'service_healthy' | 'service_completed_successfully'

/** A folder or file of the host, or a named volume, and where the container has it. */
export interface Mount {
  source: string
  target: string
}

/** A service, as far as it matters to a process that runs without containers. */
export interface Service {
  name: string
  image: string
  /** The stage of the Dockerfile that its image is built from; undefined where it is pulled. */
  buildTarget: string | undefined
  /** Undefined: the image's own. */
  entrypoint: readonly string[] | undefined
  /** Undefined: the image's own. */
  command: readonly string[] | undefined
  environment: Readonly<Record<string, string>>
  mounts: readonly Mount[]
  dependsOn: Readonly<Record<string, Condition>>
  /** The command of its health check; undefined where it has none. */
  healthcheck: readonly string[] | undefined
}

interface RawService {
  image: string
  build?: { target: string }
  profiles?: string[]
  entrypoint?: string[]
  command?: string[]
  environment?: Record<string, string>
  volumes?: string[]
  depends_on?: Record<string, { condition: Condition; required?: boolean }>
  healthcheck?: { test?: string[]; disable?: boolean }
}

/**
 * Reads the services that run under some profiles, each after those that it depends on. It knows the forms that
 * docker-compose.yml uses and no others.
 * @param text the file.
 * @param env what `${NAME:-default}` and `${NAME:+instead}` are filled from.
 * @throws where a service depends on one that its profiles leave out, or on itself.
 */
export function readServices(
  text: string,
  profiles: readonly string[],
  env: Readonly<Record<string, string>>,
): Service[] {
  // As Compose does: filled in once it is parsed, so that an empty variable is an empty text.
  const fill = (_key: unknown, value: unknown) =>
    typeof value === 'string' ? interpolate(value, env) : value
  const { services } = parse(text, fill, { merge: true }) as { services: Record<string, RawService> }
  const active = Object.entries(services).filter(
    ([, { profiles: own = [] }]) => own.length === 0 || own.some((profile) => profiles.includes(profile)),
  )
  const names = new Set(active.map(([name]) => name))
  return inOrder(active.map(([name, raw]) => serviceOf(name, raw, names)))
}

/** Fills in variables as Compose does; `$$` is a dollar sign. */
function interpolate(text: string, env: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$\$|\$\{(\w+):([-+])([^}]*)\}/g, (match, name = '', sign = '', word = '') => {
    if (match === '$$') return '$'
    const value = env[name] ?? ''
    return sign === '-' ? value || word : value && word
  })
}

function serviceOf(name: string, raw: RawService, active: ReadonlySet<string>): Service {
  const { image, build, entrypoint, command, environment = {}, volumes = [], healthcheck } = raw
  return {
    name,
    image: image.replace(/:[^/:]*$/, ''),
    buildTarget: build?.target,
    entrypoint,
    command,
    environment,
    mounts: volumes.map(mountOf),
    dependsOn: dependenciesOf(name, raw, active),
    healthcheck: healthcheck?.test && healthCommand(healthcheck.test),
  }
}

function mountOf(text: string): Mount {
  const [source = '', target = ''] = text.split(':')
  return { source, target }
}

function dependenciesOf(
  name: string,
  { depends_on: all = {} }: RawService,
  active: ReadonlySet<string>,
): Record<string, Condition> {
  const there = Object.entries(all).filter(([other, { required = true }]) => {
    if (active.has(other)) return true
    if (required) throw new Error(`Cannot start ${name}: it depends on ${other}, which no profile starts`)
    return false
  })
  return Object.fromEntries(there.map(([other, { condition }]) => [other, condition]))
}

function healthCommand([kind, ...command]: readonly string[]): readonly string[] {
  if (kind === 'CMD') return command
  throw new Error(`Cannot run a health check of the form ${kind}: only CMD is known`)
}

function inOrder(services: readonly Service[]): Service[] {
  const ordered: Service[] = []
  let waiting = [...services]
  while (waiting.length > 0) {
    const isReady = ({ dependsOn }: Service) =>
      Object.keys(dependsOn).every((name) => ordered.some((started) => started.name === name))
    const ready = waiting.filter(isReady)
    if (ready.length === 0)
      throw new Error(`Cannot order ${waiting.map(({ name }) => name).join(', ')}: they wait for each other`)
    ordered.push(...ready)
    waiting = waiting.filter((service) => !ready.includes(service))
  }
  return ordered
}
