import { mkdir, mkdtemp, readFile, rename, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { KubernetesObject } from './kubernetes.ts'
import { tempFolder } from './temp.ts'

/** A container of a pod, as far as it matters to a process. */
export interface Container {
  name: string
  args?: string[]
  env?: { name: string; value: string }[]
  envFrom?: { configMapRef: { name: string } }[]
  volumeMounts?: { name: string; mountPath: string }[]
  [field: string]: unknown
}

/** A volume of a pod. */
export interface Volume {
  name: string
  configMap?: { name: string }
  secret?: { secretName: string }
  emptyDir?: { sizeLimit?: string }
}

/** What a Deployment makes its pods of. */
export interface PodSpec {
  initContainers?: Container[]
  containers: Container[]
  volumes: Volume[]
  [field: string]: unknown
}

/** A pod's volumes in folders of this machine. */
export interface LaidOutPod extends AsyncDisposable {
  /** The environment of a container, its paths being those of this machine. */
  env(container: string): Record<string, string>
  /** A file as the containers see it, such as `/etc/envoy/envoy.yaml`; the paths in it are those of this machine. */
  read(path: string): Promise<string>
  /** Changes what a volume of a ConfigMap or Secret holds, as kubelet does when the object has changed. */
  renew(volume: string, objects: readonly KubernetesObject[]): Promise<void>
}

/** The pod of a Deployment among the objects. */
export function podSpecOf(objects: readonly KubernetesObject[], deployment: string): PodSpec {
  const { spec } = find(objects, 'Deployment', deployment) as unknown as {
    spec: { template: { spec: PodSpec } }
  }
  return spec.template.spec
}

/**
 * Does kubelet's part of starting a Deployment's pod that plain processes need: volumes become folders, with what the
 * ConfigMaps and Secrets among the objects hold, and every mount path in files and variables becomes such a folder.
 */
export async function layOutPod(
  objects: readonly KubernetesObject[],
  deployment: string,
): Promise<LaidOutPod> {
  const { initContainers = [], containers, volumes } = podSpecOf(objects, deployment)
  const all = [...initContainers, ...containers]
  const root = await tempFolder(`pod-${deployment}`)
  const mounts = all.flatMap(({ volumeMounts = [] }) => volumeMounts)
  const here = (text: string) =>
    mounts.reduce(
      (done, { name, mountPath }) => done.replaceAll(pathPattern(mountPath), join(root.path, name)),
      text,
    )

  for (const volume of volumes) {
    const folder = join(root.path, volume.name)
    await mkdir(folder)
    const content = contentOf(objects, volume)
    await fill(folder, content, here)
    for (const [name] of content) await symlink(join('..data', name), join(folder, name))
  }

  return {
    env(container) {
      const { env = [], envFrom = [] } = all.find(({ name }) => name === container) ?? {}
      const maps = envFrom.flatMap(({ configMapRef }) => dataOf(objects, 'ConfigMap', configMapRef.name))
      const own = env.map(({ name, value }) => [name, value] as const)
      return Object.fromEntries([...maps, ...own].map(([name, value]) => [name, here(value)]))
    },
    read: (path) => readFile(here(path), 'utf8'),
    async renew(name, changed) {
      const volume = volumes.find((each) => each.name === name)
      if (!volume) throw new Error(`Cannot find the volume ${name}`)
      await fill(join(root.path, name), contentOf(changed, volume), here)
    },
    [Symbol.asyncDispose]: () => root.remove(),
  }
}

/**
 * Puts files into a volume all at once, as kubelet does: they stand in a folder of their own, which the link `..data`
 * leads to from one moment to the next.
 */
async function fill(
  volume: string,
  content: readonly [string, string][],
  here: (text: string) => string,
): Promise<void> {
  const folder = await mkdtemp(`${volume}/..`)
  for (const [name, text] of content) await writeFile(join(folder, name), here(text))
  await symlink(folder, join(volume, '..data_tmp'))
  await rename(join(volume, '..data_tmp'), join(volume, '..data'))
}

/** The path itself and as the beginning of longer ones; not of a neighbour whose name goes on. */
function pathPattern(path: string): RegExp {
  return new RegExp(`${RegExp.escape(path)}(?![\\w.-])`, 'g')
}

function contentOf(objects: readonly KubernetesObject[], volume: Volume): [string, string][] {
  if (volume.configMap) return dataOf(objects, 'ConfigMap', volume.configMap.name)
  if (volume.secret) return dataOf(objects, 'Secret', volume.secret.secretName)
  return []
}

function dataOf(objects: readonly KubernetesObject[], kind: string, name: string): [string, string][] {
  const { data, stringData } = find(objects, kind, name) as {
    data?: Record<string, string>
    stringData?: Record<string, string>
  }
  return Object.entries({ ...data, ...stringData })
}

function find(objects: readonly KubernetesObject[], kind: string, name: string): KubernetesObject {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name)
  if (found) return found
  throw new Error(
    `Cannot find the ${kind} ${name} among ${objects.map(({ metadata }) => metadata.name).join(', ')}`,
  )
}
