import type { Cursor } from './cursor.ts'
import { isLoopback } from './decisions.ts'
import { type Rule, type Spot, spotIf } from './rule.ts'
import { gatepostsOf, isGatepost, type Pod, type Scope } from './scope.ts'

/** Traps of pods in which Gatepost runs. */
export const kubernetesRules: readonly Rule[] = [
  {
    id: 'service-links',
    title: 'Kubernetes injects its service links into Gatepost’s pod',
    why: 'A Service called `gatepost` puts GATEPOST_PORT, GATEPOST_SERVICE_HOST and more into the environment, where a variable of yours can have the same name; in a large namespace thousands of them slow every start.',
    mend: 'Set `enableServiceLinks: false` in the pod.',
    check: serviceLinks,
  },
  {
    id: 'sidecar-not-native',
    title: 'Gatepost stands beside other containers as one of them',
    why: 'Such a container may start after Envoy and ends at the same time: while the pod starts and while it drains, Envoy asks nobody.',
    mend: 'Make it a native sidecar: an init container with `restartPolicy: Always`, which starts first and ends last.',
    check: plainSidecars,
  },
  {
    id: 'startup-probe',
    title: 'Gatepost’s pod does not wait for Gatepost',
    why: 'Without a startup probe the containers after a native sidecar start before it listens; without a readiness probe a shared Gatepost is asked before it has its issuers’ keys.',
    mend: 'Probe `/readyz` on GATEPOST_STATUS_ADDRESS, or run `gatepost check`: `startupProbe` in a sidecar, `readinessProbe` in a service.',
    check: missingProbes,
  },
  {
    id: 'emptydir-unbounded',
    title: 'an `emptyDir` that Gatepost mounts has no `sizeLimit`',
    why: 'What grows in it fills the node’s disk, and the kubelet then evicts other pods first.',
    mend: 'Set `emptyDir: { sizeLimit: 512Mi }`, more than GATEPOST_SPOOL_MAX_BYTES.',
    check: unboundedVolumes,
  },
  {
    id: 'security-context',
    title: 'Gatepost runs with more rights than it needs',
    why: 'It listens to whatever Envoy passes on from strangers; what it cannot do, nobody can make it do.',
    mend: 'Set `runAsNonRoot: true`, `readOnlyRootFilesystem: true`, `allowPrivilegeEscalation: false` and `capabilities: { drop: [ALL] }`.',
    check: securityContexts,
  },
  {
    id: 'secret-in-manifest',
    title: 'a secret of Gatepost stands in a manifest',
    why: 'Whoever may read the manifest, its repository or the pod reads the secret.',
    mend: 'Use `valueFrom.secretKeyRef`, or mount it and name the file: NAME_FILE, which Gatepost rereads.',
    check: plainSecrets,
  },
  {
    id: 'admin-address',
    title: 'the admin address can be reached from other pods',
    why: 'It is plain HTTP: its token can be read on the way.',
    mend: 'Leave GATEPOST_ADMIN_ADDRESS on loopback; probes and Prometheus have GATEPOST_STATUS_ADDRESS.',
    check: openAdmin,
  },
  {
    id: 'grace-period',
    title: 'the pod is killed before Gatepost has drained',
    why: 'GATEPOST_DRAIN_DELAY and GATEPOST_DRAIN_TIMEOUT together need longer than `terminationGracePeriodSeconds`: calls end unanswered and events are left in the spool.',
    mend: 'Raise `terminationGracePeriodSeconds` (30 where it is not set) above their sum.',
    check: shortGrace,
  },
]

function gatepostPods({ pods }: Scope): Pod[] {
  return pods.filter((pod) => gatepostsOf(pod).length > 0)
}

function serviceLinks(scope: Scope): Spot[] {
  return gatepostPods(scope)
    .map(({ spec }) => spec.get('enableServiceLinks'))
    .flatMap((links) => spotIf(links.text !== 'false', links, 'enableServiceLinks is not false'))
}

function plainSidecars(scope: Scope): Spot[] {
  return gatepostPods(scope).flatMap(({ spec }) => {
    const containers = spec.get('containers').list()
    const plain = containers.length > 1 ? containers.filter(isGatepost) : []
    const initial = spec.get('initContainers').list().filter(isGatepost)
    return [
      ...plain.map((at) => ({ at, says: 'Gatepost is a container beside others' })),
      ...initial.filter(blocksStart).map((at) => ({
        at,
        says: 'an init container without restartPolicy: Always has to end before the others start',
      })),
    ]
  })
}

function blocksStart(container: Cursor): boolean {
  return container.get('restartPolicy').text !== 'Always' && !runsOnce(container)
}

/** Whether a container is for a command that ends by itself, and not for `serve`. */
function runsOnce(container: Cursor): boolean {
  const words = [...container.get('command').list(), ...container.get('args').list()]
  return words.some(
    ({ text }) => text === 'check' || text === 'lint' || text === 'keys' || text === 'explain',
  )
}

function missingProbes(scope: Scope): Spot[] {
  return gatepostPods(scope).flatMap(({ spec }) => {
    const sidecars = spec
      .get('initContainers')
      .list()
      .filter((container) => isGatepost(container) && container.get('restartPolicy').text === 'Always')
      .map((sidecar) => sidecar.get('startupProbe'))
    const containers = spec.get('containers').list()
    const services = containers.length === 1 ? containers.filter(isGatepost) : []
    return [
      ...sidecars.flatMap((probe) => spotIf(!probe.exists, probe, 'the sidecar has no startupProbe')),
      ...services
        .map((service) => service.get('readinessProbe'))
        .flatMap((probe) => spotIf(!probe.exists, probe, 'the container has no readinessProbe')),
    ]
  })
}

function unboundedVolumes(scope: Scope): Spot[] {
  return gatepostPods(scope).flatMap((pod) => {
    const mounted = gatepostsOf(pod)
      .flatMap((container) => container.get('volumeMounts').list())
      .map((mount) => mount.get('name').text)
    return pod.spec
      .get('volumes')
      .list()
      .filter((volume) => volume.get('emptyDir').exists && mounted.includes(volume.get('name').text))
      .filter((volume) => !volume.get('emptyDir', 'sizeLimit').exists)
      .map((volume) => ({
        at: volume.get('emptyDir'),
        says: `the volume ${volume.get('name').text} has no sizeLimit`,
      }))
  })
}

function* securityContexts(scope: Scope): Iterable<Spot> {
  for (const pod of gatepostPods(scope)) {
    for (const container of gatepostsOf(pod)) {
      const lacking = lackingRights(container.get('securityContext'), pod.spec.get('securityContext'))
      if (lacking.length > 0)
        yield { at: container.get('securityContext'), says: `not set: ${lacking.join(', ')}` }
    }
  }
}

function lackingRights(own: Cursor, ofPod: Cursor): string[] {
  const nonRoot = own.get('runAsNonRoot').exists ? own : ofPod
  const dropped = own.get('capabilities', 'drop').list()
  return [
    nonRoot.get('runAsNonRoot').isTrue ? '' : 'runAsNonRoot: true',
    own.get('readOnlyRootFilesystem').isTrue ? '' : 'readOnlyRootFilesystem: true',
    own.get('allowPrivilegeEscalation').text === 'false' ? '' : 'allowPrivilegeEscalation: false',
    dropped.some(({ text }) => text?.toUpperCase() === 'ALL') ? '' : 'capabilities: { drop: [ALL] }',
  ].filter((right) => right !== '')
}

// Names of this form are secrets of ours, or will be; URLs carry one where they name a user with a password.
const secretName = /(SECRET|TOKEN|PASSWORD|API_KEY|SECRET_KEY)$/
const urlWithPassword = /^[a-z+]+:\/\/[^/@\s]*:[^/@\s]+@/

function* plainSecrets(scope: Scope): Iterable<Spot> {
  for (const { name, at, value } of scope.settings) {
    if (value && (secretName.test(name) || urlWithPassword.test(value)))
      yield { at, says: `${name} has its value here` }
  }
}

function* openAdmin(scope: Scope): Iterable<Spot> {
  for (const { name, at, value } of scope.settings) {
    if (name === 'GATEPOST_ADMIN_ADDRESS' && value && !isLoopback(value))
      yield { at, says: `${name} is ${value}` }
  }
}

const unitsSeconds: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3_600 }
const defaultGraceSeconds = 30

function* shortGrace(scope: Scope): Iterable<Spot> {
  for (const pod of gatepostPods(scope)) {
    const grace = pod.spec.get('terminationGracePeriodSeconds')
    const seconds = Number(grace.text ?? defaultGraceSeconds)
    for (const container of gatepostsOf(pod)) {
      const needed =
        setting(container, 'GATEPOST_DRAIN_DELAY', '0s') + setting(container, 'GATEPOST_DRAIN_TIMEOUT', '10s')
      if (needed > seconds)
        yield { at: grace, says: `draining may take ${needed} s, the pod has ${seconds} s` }
    }
  }
}

/** A duration of the container's environment in seconds; 0 where it is none. */
function setting(container: Cursor, name: string, fallback: string): number {
  const entry = container
    .get('env')
    .list()
    .find((one) => one.get('name').text === name)
  const [, amount = '0', unit = 's'] = /^(\d+)(ms|s|m|h)$/.exec(entry?.get('value').text ?? fallback) ?? []
  return Number(amount) * (unitsSeconds[unit] ?? 0)
}
