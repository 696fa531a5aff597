import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { aptCommand } from '../../test/support/apt.ts'
import type { Progress } from '../../test/support/cache.ts'
import { envoyBinary } from '../../test/support/envoy.ts'
import { kafkaLibraries } from '../../test/support/kafka.ts'
import { freePort } from '../../test/support/ports.ts'
import { rabbitFolder } from '../../test/support/rabbitmq.ts'
import type { Builder } from './builder.ts'
import type { Service } from './compose-file.ts'
import { imageConfig, type Stage } from './dockerfile.ts'

/** What stands for an image on this machine. */
export interface LocalImage {
  entrypoint: readonly string[]
  command: readonly string[]
  environment: Readonly<Record<string, string>>
  /** Where the image's programs are here, by the word that starts them. */
  programs: Readonly<Record<string, string>>
  /** Where the image's folders are here. */
  folders: Readonly<Record<string, string>>
  workFolder: string
  /** What the image's program would start by itself and leave behind: it is started before it. */
  companion?: { command: string; args: readonly string[] }
  /** The image's own health check, which a service's replaces. */
  healthcheck?: readonly string[] | undefined
}

/** What images are made of. */
export interface Workshop {
  stages: ReadonlyMap<string, Stage>
  builder: Builder
  /** An empty folder of the service's own. */
  folder: string
  progress: Progress
}

/**
 * Finds what stands for a service's image.
 * @returns undefined where there is nothing of the kind to be had without containers.
 * @throws for an image that nothing is known of.
 */
export async function localImage(
  { name, image, buildTarget }: Service,
  workshop: Workshop,
): Promise<LocalImage | undefined> {
  if (buildTarget !== undefined) return builtImage(buildTarget, workshop)
  const make = pulled[image]
  if (!make) throw new Error(`Cannot run ${name} without containers: nothing is known of the image ${image}`)
  const made = await make(workshop)
  return (
    made && {
      entrypoint: [],
      command: [],
      environment: {},
      folders: {},
      workFolder: workshop.folder,
      ...made,
    }
  )
}

const pulled: Readonly<
  Record<
    string,
    (workshop: Workshop) => Promise<(Partial<LocalImage> & Pick<LocalImage, 'programs'>) | undefined>
  >
> = {
  'envoyproxy/envoy': async ({ progress }) => ({
    programs: { envoy: await envoyBinary(undefined, progress) },
  }),
  'prom/prometheus': async ({ progress }) => ({
    entrypoint: ['prometheus'],
    programs: { prometheus: await aptCommand('prometheus', 'prometheus', progress) },
  }),
  'apache/kafka': kafka,
  rabbitmq: rabbitMq,
  // There is no package of it: its files are looked at by the unit tests.
  'grafana/grafana': async () => undefined,
}

async function builtImage(target: string, { stages, builder }: Workshop): Promise<LocalImage> {
  const { workFolder, ...config } = imageConfig(stages, target)
  const folder = await builder.build(target)
  return {
    ...config,
    programs: { node: process.execPath },
    folders: { [workFolder]: folder },
    workFolder: folder,
  }
}

/** The two scripts of Kafka's distribution that the service calls, over the libraries that Maven brings. */
async function kafka({ folder, progress }: Workshop) {
  const libraries = join(await kafkaLibraries(progress), '*')
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  const script = (name: string, main: string) => {
    const path = join(bin, name)
    writeFileSync(
      path,
      `#!/bin/sh\nexec java $KAFKA_HEAP_OPTS -XX:TieredStopAtLevel=1 -cp '${libraries}' ${main} "$@"\n`,
    )
    chmodSync(path, 0o755)
  }
  script('kafka-storage.sh', 'kafka.tools.StorageTool')
  script('kafka-server-start.sh', 'kafka.Kafka')
  return { programs: {}, folders: { '/opt/kafka': folder } }
}

/** A node of its own: what containers keep apart by namespaces has to have a name or a port of its own here. */
async function rabbitMq({ folder, progress }: Workshop) {
  const bin = await rabbitFolder(progress)
  const [distributionPort, epmdPort] = [await freePort(), await freePort()]
  writeFileSync(join(folder, 'plugins'), '[].\n')
  return {
    companion: { command: 'epmd', args: ['-port', String(epmdPort)] },
    programs: {
      'rabbitmq-server': join(bin, 'rabbitmq-server'),
      'rabbitmq-diagnostics': join(bin, 'rabbitmq-diagnostics'),
    },
    environment: {
      HOME: folder,
      LC_ALL: 'C.UTF-8',
      ERL_EPMD_ADDRESS: '127.0.0.1',
      ERL_EPMD_PORT: String(epmdPort),
      RABBITMQ_NODENAME: 'rabbit@localhost',
      RABBITMQ_DIST_PORT: String(distributionPort),
      RABBITMQ_MNESIA_BASE: '/var/lib/rabbitmq',
      RABBITMQ_CONFIG_FILES: '/etc/rabbitmq/conf.d/20-gatepost.conf',
      RABBITMQ_CONF_ENV_FILE: join(folder, 'none.conf'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
    },
  }
}
