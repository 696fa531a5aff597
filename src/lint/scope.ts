import type { Cursor } from './cursor.ts'
import type { LintDocument } from './document.ts'

/** An Envoy message in a file: from Envoy's own, from an xDS file, or from an EnvoyFilter. */
export interface Typed {
  /** The last part of its type's name, such as `ExtAuthz`. */
  type: string
  config: Cursor
  /** Where an EnvoyFilter has it: `merge` stands for a part of what Istio makes, `whole` for a message of its own. */
  envoyFilter: 'none' | 'whole' | 'merge'
}

/** A pod, or the template of one. */
export interface Pod {
  /** The workload or the pod itself. */
  object: Cursor
  spec: Cursor
}

/** A setting of Gatepost as manifests give it: in a container's `env`, or in a ConfigMap. */
export interface Setting {
  name: string
  at: Cursor
  value: string | undefined
}

/** Everything in the files that rules look for. */
export interface Scope {
  /** Objects of Kubernetes and Istio of one kind; `group` is what stands before the slash in `apiVersion`. */
  objects: (kind: string, group?: string) => readonly Cursor[]
  typed: (type: string) => readonly Typed[]
  clusters: readonly Cursor[]
  /** Istio's mesh configurations: of a ConfigMap, an IstioOperator, Helm values, or by themselves. */
  meshes: readonly Cursor[]
  /** Those that are whole: what a patch of kustomize leaves out stands elsewhere. */
  pods: readonly Pod[]
  settings: readonly Setting[]
}

/** Looks through the documents once, for all rules. */
export function createScope(documents: readonly LintDocument[]): Scope {
  const roots = documents.map(({ root }) => root)
  const objects = roots.flatMap(objectsOf)
  const typed = Map.groupBy(roots.flatMap(typedOf), ({ type }) => type)
  const pods = objects.flatMap(podOf)
  return {
    objects: (kind, group) => objects.filter((object) => isOf(object, kind, group)),
    typed: (type) => typed.get(type) ?? [],
    clusters: [...roots.flatMap(clustersOf), ...(typed.get('Cluster') ?? []).map(({ config }) => config)],
    meshes: roots.flatMap(meshesOf),
    pods: pods.filter((pod) => !isFragment(pod)),
    settings: [...pods.flatMap(settingsOfPod), ...objects.flatMap(settingsOfConfigMap)],
  }
}

/** The objects of a document: itself, or the items of a `List`. */
function objectsOf(root: Cursor): Cursor[] {
  if (root.get('kind').text === undefined || root.get('apiVersion').text === undefined) return []
  return root.get('kind').text === 'List' ? root.get('items').list() : [root]
}

function isOf(object: Cursor, kind: string, group: string | undefined): boolean {
  if (object.get('kind').text !== kind) return false
  return group === undefined || object.get('apiVersion').text?.split('/')[0] === group
}

function typedOf(root: Cursor): Typed[] {
  const isEnvoyFilter = root.get('kind').text === 'EnvoyFilter'
  const patches = root.get('spec', 'configPatches').list()
  return root.descendants().flatMap((message) => {
    const url = message.get('@type').text
    if (url === undefined) return []
    const merged = patches[Number(message.path[2])]?.get('patch', 'operation').text === 'MERGE'
    const envoyFilter = isEnvoyFilter ? (merged ? 'merge' : 'whole') : 'none'
    return [{ ...unwrap(message, url), envoyFilter }]
  })
}

/** Istio's samples wrap messages in a struct that names their type. */
function unwrap(message: Cursor, url: string): Pick<Typed, 'type' | 'config'> {
  if (!url.endsWith('.TypedStruct')) return { type: lastPart(url), config: message }
  return { type: lastPart(message.get('type_url').text ?? ''), config: message.get('value') }
}

function lastPart(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('.') + 1)
}

function clustersOf(root: Cursor): Cursor[] {
  const patches = root.get('spec', 'configPatches').list()
  return [
    ...root.get('static_resources', 'clusters').list(),
    ...patches
      .filter(
        (patch) => patch.get('applyTo').text === 'CLUSTER' && patch.get('patch', 'operation').text === 'ADD',
      )
      .map((patch) => patch.get('patch', 'value')),
  ]
}

function meshesOf(root: Cursor): Cursor[] {
  const places = [
    root,
    root.get('meshConfig'),
    root.get('spec', 'meshConfig'),
    root.get('spec', 'values', 'meshConfig'),
  ]
  return places.filter(isMesh)
}

/** Of a mesh configuration itself nothing says what it is; these are names that only it has. */
function isMesh(place: Cursor): boolean {
  if (place.path.length > 0) return place.exists
  const telling = [
    'extensionProviders',
    'pathNormalization',
    'defaultProviders',
    'trustDomain',
    'rootNamespace',
  ]
  return !place.get('kind').exists && telling.some((name) => place.get(name).exists)
}

/** Where each kind of workload keeps its pod. */
const podPaths: Readonly<Record<string, readonly string[]>> = {
  Pod: ['spec'],
  Deployment: ['spec', 'template', 'spec'],
  StatefulSet: ['spec', 'template', 'spec'],
  DaemonSet: ['spec', 'template', 'spec'],
  ReplicaSet: ['spec', 'template', 'spec'],
  Job: ['spec', 'template', 'spec'],
  CronJob: ['spec', 'jobTemplate', 'spec', 'template', 'spec'],
}

function podOf(object: Cursor): Pod[] {
  const path = podPaths[object.get('kind').text ?? '']
  return path ? [{ object, spec: object.get(...path) }] : []
}

const selecting = new Set(['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet'])

/** Whether a workload cannot stand by itself: it selects no pods, or says of no container what runs in it. */
function isFragment({ object, spec }: Pod): boolean {
  if (selecting.has(object.get('kind').text ?? '') && !object.get('spec', 'selector').exists) return true
  return !spec
    .get('containers')
    .list()
    .some((container) => container.get('image').exists)
}

/** Whether a container runs Gatepost: its name or image says so, or its settings do. */
export function isGatepost(container: Cursor): boolean {
  const image = container
    .get('image')
    .text?.replace(/[:@].*$/, '')
    .split('/')
    .at(-1)
  if (image === 'gatepost' || container.get('name').text === 'gatepost') return true
  return container
    .get('env')
    .list()
    .some((entry) => entry.get('name').text?.startsWith('GATEPOST_'))
}

/** The containers of a pod that run Gatepost, native sidecars among them. */
export function gatepostsOf({ spec }: Pod): Cursor[] {
  return [...spec.get('initContainers').list(), ...spec.get('containers').list()].filter(isGatepost)
}

function settingsOfPod(pod: Pod): Setting[] {
  return gatepostsOf(pod).flatMap((container) =>
    container
      .get('env')
      .list()
      .map((entry) => ({ name: entry.get('name').text ?? '', at: entry, value: entry.get('value').text })),
  )
}

function settingsOfConfigMap(object: Cursor): Setting[] {
  if (object.get('kind').text !== 'ConfigMap') return []
  const entries = object.get('data').entries()
  if (!entries.some(([name]) => name.startsWith('GATEPOST_'))) return []
  return entries.map(([name, at]) => ({ name, at, value: at.text }))
}
