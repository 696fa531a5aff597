import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { parse } from 'yaml'
import { sendHttp1 } from '../../demo/send.ts'
import { createAuthority } from '../support/certificates.ts'
import { type Envoy, envoyVersions, startEnvoy, validateEnvoyConfig } from '../support/envoy.ts'
import { bundledConfig, type EnvoyConfig, listener } from '../support/envoy-config.ts'
import { readEvents } from '../support/event-schema.ts'
import { type Gatepost, startGatepost, waitUntilReady } from '../support/gatepost.ts'
import { connectGrpc } from '../support/grpc-client.ts'
import { customResources } from '../support/istio.ts'
import { type Kubernetes, type KubernetesObject, startKubernetes } from '../support/kubernetes.ts'
import { type LaidOutPod, layOutPod, type PodSpec, podSpecOf } from '../support/kubernetes-pod.ts'
import { kustomize } from '../support/kustomize.ts'
import { type OpenIdProvider, startOpenIdProvider } from '../support/openid-provider.ts'
import { freePort } from '../support/ports.ts'
import { tempFolder } from '../support/temp.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { bearer } from './judge.ts'

// The first time, all of them are built: minutes. Later on each starts within seconds.
jest.setTimeout(60_000)
const installLimitMs = 2_400_000

const overlays = ['sidecar', 'sidecar-ingress', 'shared', 'shared-gateway-api'] as const
const arrangements = ['sidecar', 'shared'] as const
type Overlay = (typeof overlays)[number]

let built: Record<Overlay, KubernetesObject[]>
let kubernetes: Kubernetes
const parts = new AsyncDisposableStack()

beforeAll(async () => {
  built = Object.fromEntries(
    await Promise.all(
      overlays.map(async (name) => [name, (await kustomize(`kubernetes/overlays/${name}`, print)).objects]),
    ),
  )
  kubernetes = parts.use(await startKubernetes(print))
  await kubernetes.apply(await customResources('gateway-api', print))
  await kubernetes.apply([
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'restricted', labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
    },
  ])
}, installLimitMs)
afterAll(() => parts.disposeAsync())

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

describe.each(overlays)('kubernetes/overlays/%s', (overlay) => {
  test('passes server-side apply with strict validation', async () => {
    await kubernetes.apply(built[overlay], { dryRun: true })
  })

  test('has no pod that a namespace of the level "restricted" would refuse', async () => {
    await kubernetes.apply(pods(built[overlay]).map(inRestricted), { dryRun: true })
  })

  test('tells its pods nothing that they need not know', () => {
    for (const { spec } of pods(built[overlay])) {
      expect(spec).toMatchObject({ automountServiceAccountToken: false, enableServiceLinks: false })
    }
  })

  test('bounds and watches each container', () => {
    for (const container of pods(built[overlay]).flatMap(containersOf)) {
      expect(container).toMatchObject({
        securityContext: { readOnlyRootFilesystem: true },
        resources: { requests: expect.anything(), limits: { memory: expect.anything() } },
        startupProbe: expect.anything(),
        readinessProbe: expect.anything(),
        livenessProbe: expect.anything(),
      })
    }
  })

  test('bounds each volume that a container writes to', () => {
    const volumes = pods(built[overlay]).flatMap(({ spec }) => spec.volumes)

    for (const { emptyDir } of volumes.filter((volume) => volume.emptyDir)) {
      expect(emptyDir).toEqual(expect.objectContaining({ sizeLimit: expect.any(String) }))
    }
  })
})

test('a pod that would run as root is refused where pods are restricted', async () => {
  const [pod] = pods(built.sidecar)
  const asRoot = { ...pod?.spec, securityContext: { runAsUser: 0 } } as unknown as PodSpec

  await expect(
    kubernetes.apply([inRestricted({ name: 'root', spec: asRoot })], { dryRun: true }),
  ).rejects.toThrow('violates PodSecurity')
})

test('the sidecar starts before Envoy and outlives it: it is an init container that is restarted always', () => {
  const { initContainers } = podSpecOf(built.sidecar, 'envoy')

  expect(initContainers).toMatchObject([{ name: 'gatepost', restartPolicy: 'Always' }])
})

describe.each(arrangements)('the arrangement %s, its pods as plain processes,', (arrangement) => {
  let provider: OpenIdProvider
  let users: Upstream
  let orders: Upstream
  let gatepost: Gatepost
  let envoyPod: LaidOutPod
  let envoy: Envoy
  let eventsFile: string
  const own = new AsyncDisposableStack()

  beforeAll(async () => {
    const folder = own.use(await tempFolder('arrangement'))
    eventsFile = join(folder.path, 'events.jsonl')
    provider = own.use(await startOpenIdProvider('oidc', { clients: ['demo-app', 'greedy'] }))
    users = own.use(await startUpstream({ name: 'user-service' }))
    orders = own.use(await startUpstream({ name: 'order-service' }))
    const objects = [...built[arrangement], ...certificates()]
    envoyPod = own.use(await layOutPod(objects, 'envoy'))
    const gatepostPod = arrangement === 'shared' ? own.use(await layOutPod(objects, 'gatepost')) : envoyPod
    gatepost = own.use(await startGatepost(onThisMachine(gatepostPod.env('gatepost'))))
    await waitUntilReady(gatepost)
    envoy = own.use(
      await startEnvoy(
        await envoyConfigOf(envoyPod, {
          'user-service': users.address,
          'order-service': orders.address,
          ...(arrangement === 'shared' && { gatepost: gatepost.grpcAddress }),
        }),
      ),
    )
  }, installLimitMs)
  afterAll(() => own.disposeAsync())

  /** The ports are another process's, perhaps, and the issuer is ours; all else is as in the pod. */
  function onThisMachine(env: Record<string, string>): Record<string, string> {
    return {
      ...env,
      ...(arrangement === 'shared' && { GATEPOST_GRPC_ADDRESS: '127.0.0.1:0' }),
      GATEPOST_STATUS_ADDRESS: '127.0.0.1:0',
      GATEPOST_DRAIN_DELAY: '0s',
      OIDC_ISSUER: provider.issuer,
      OIDC_AUDIENCE: provider.audience,
      GATEPOST_EVENTS_LOG: eventsFile,
    }
  }

  const get = (path: string, headers: Record<string, string> = {}, name = 'ingress') =>
    sendHttp1(`http://${envoy.listeners[name]}`, {
      method: 'GET',
      path,
      headers: { host: 'api.example.com', ...headers },
    })

  const completed = (path: string) =>
    gatepost.process.until(async () => {
      const written = await readFile(eventsFile, 'utf8')
      const events = readEvents(written.slice(0, written.lastIndexOf('\n') + 1))
      return events.find(
        (event) => event.event_type === 'request.completed' && (event.data as { path: string }).path === path,
      )?.data
    })

  test.each([
    ['/users/7', '/7'],
    ['/users', '/'],
    ['/users/', '/'],
    ['/users?a=/users/', '/?a=/users/'],
    ['/users/7/orders', '/7/orders'],
  ])('%s reaches the user service as %s', async (path, stripped) => {
    const marker = randomUUID()

    const { status } = await get(path, { ...bearer(await provider.issueToken()), 'x-marker': marker })

    const received = users.requests.find(({ headers }) => headers['x-marker'] === marker)
    expect(status).toBe(200)
    expect(received).toMatchObject({ path: stripped, headers: { 'x-user-id': 'demo-app' } })
  })

  test('a path that merely begins alike has no route', async () => {
    const { status } = await get('/users-export', bearer(await provider.issueToken()))

    expect(status).toBe(404)
  })

  test('without a token there is 401, and the event has the address that the proxy before Envoy wrote', async () => {
    const path = `/users/${randomUUID()}`

    const { status } = await get(path, { 'x-forwarded-for': '198.51.100.1, 203.0.113.7' })

    expect(status).toBe(401)
    expect(await completed(path)).toMatchObject({
      status_code: 401,
      route: 'users',
      decision: 'deny',
      client_ip: '203.0.113.7',
    })
  })

  test('orders ask for a scope', async () => {
    const lacking = await get('/orders/1', bearer(await provider.issueToken()))
    const holding = await get('/orders/1', bearer(await provider.issueToken({ scope: 'read:orders' })))

    expect([lacking.status, holding.status]).toEqual([403, 200])
  })

  test('who asks too often gets 429', async () => {
    const token = await provider.issueToken({ client: 'greedy', scope: 'read:orders' })
    const statuses: number[] = []

    while (statuses.length < 100 && statuses.at(-1) !== 429) {
      statuses.push((await get('/orders', bearer(token))).status)
    }

    expect(statuses.length).toBeGreaterThan(30)
    expect(new Set(statuses.slice(0, -1))).toEqual(new Set([200]))
    expect(statuses.at(-1)).toBe(429)
  })

  test('kubelet and Prometheus see two pages of Envoy, and no more', async () => {
    const pages = ['/ready', '/stats/prometheus', '/config_dump', '/ready/../config_dump', '/']

    const statuses = await Promise.all(pages.map(async (page) => (await get(page, {}, 'status')).status))

    expect(statuses).toEqual([200, 200, 404, 404, 404])
  })

  test.each(envoyVersions)(
    'has a configuration that is valid on Envoy %s',
    async (version) => {
      await using folder = await tempFolder('envoy')
      const file = join(folder.path, 'envoy.yaml')
      await writeFile(file, await envoyPod.read('/etc/envoy/envoy.yaml'))

      await validateEnvoyConfig(file, version)
    },
    installLimitMs,
  )

  test('guards as envoy/ext-authz.yaml does', async () => {
    const shipped = parse(await envoyPod.read('/etc/envoy/envoy.yaml')) as EnvoyConfig

    expect(guardsOf(shipped)).toEqual(guardsOf(await bundledConfig('ext-authz')))
  })
})

test.each([
  ['envoy', 200],
  ['somebody-else', 503],
])(
  'where the service is shared and everybody may pass, an Envoy that is called %s gets %i',
  async (client, status) => {
    await using own = new AsyncDisposableStack()
    const objects = [...built.shared, ...certificates({ client })]
    const envoyPod = own.use(await layOutPod(objects, 'envoy'))
    const gatepostPod = own.use(await layOutPod(objects, 'gatepost'))
    const upstream = own.use(await startUpstream({ name: 'user-service' }))
    const gatepost = own.use(
      await startGatepost({
        ...gatepostPod.env('gatepost'),
        GATEPOST_GRPC_ADDRESS: '127.0.0.1:0',
        GATEPOST_STATUS_ADDRESS: '127.0.0.1:0',
        GATEPOST_DRAIN_DELAY: '0s',
        GATEPOST_POLICY: 'defaults: { auth: none }',
        GATEPOST_POLICY_FILE: '',
      }),
    )
    const config = parse(await envoyPod.read('/etc/envoy/envoy.yaml')) as EnvoyConfig
    config.admin.address = socket('127.0.0.1:0')
    for (const each of config.static_resources.listeners) each.address = socket('127.0.0.1:0')
    pointAt(config, 'gatepost', gatepost.grpcAddress)
    pointAt(config, 'user-service', upstream.address)
    const envoy = own.use(await startEnvoy(config))

    const reply = await sendHttp1(`http://${envoy.listeners['ingress']}`, {
      method: 'GET',
      path: '/users/7',
      headers: { host: 'api.example.com' },
    })

    expect(reply.status).toBe(status)
    if (status === 503) expect(reply.body).toBe('')
    expect(upstream.requests).toHaveLength(status === 200 ? 1 : 0)
  },
)

test('a certificate that is renewed in its Secret is taken up by an Envoy that runs', async () => {
  await using own = new AsyncDisposableStack()
  const envoyPod = own.use(await layOutPod([...built.shared, ...certificates()], 'envoy'))
  const envoy = own.use(await startEnvoy(await envoyConfigOf(envoyPod, { gatepost: '127.0.0.1:9' })))
  const shown = async () => (await fetch(`http://${envoy.adminAddress}/certs`)).text()
  const before = await shown()

  await envoyPod.renew('envoy-tls', certificates())

  const after = await envoy.process.until(async () => {
    const now = await shown()
    return serials(now).some((serial) => !before.includes(serial)) ? now : undefined
  })
  expect(serials(before)).toHaveLength(2)
  expect(serials(after)).toHaveLength(2)
})

test('a policy that changes in its ConfigMap holds for the Gatepost that runs', async () => {
  await using own = new AsyncDisposableStack()
  const provider = own.use(await startOpenIdProvider('oidc'))
  const pod = own.use(await layOutPod(built.sidecar, 'envoy'))
  const gatepost = own.use(
    await startGatepost({
      ...pod.env('gatepost'),
      GATEPOST_STATUS_ADDRESS: '127.0.0.1:0',
      OIDC_ISSUER: provider.issuer,
      OIDC_AUDIENCE: provider.audience,
    }),
  )
  const client = own.use(connectGrpc(gatepost.grpcAddress))
  const http = { method: 'GET', path: '/users/7', host: 'api.example.com', headers: {} }
  const isAllowed = async () =>
    Boolean((await client.check({ attributes: { request: { http } } })).ok_response)
  const before = await isAllowed()

  const data = { 'policy.yaml': 'defaults: { auth: none }' }
  await pod.renew('gatepost-policy', [
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'gatepost-policy' }, data },
  ])

  await gatepost.process.until(async () => (await isAllowed()) || undefined)
  expect(before).toBe(false)
})

/** The serial numbers of certificates in Envoy's own words. */
function serials(certs: string): string[] {
  return [...certs.matchAll(/"serial_number": "(\w+)"/g)].map(([, serial = '']) => serial)
}

interface NamedPod {
  name: string
  spec: PodSpec
}

function pods(objects: readonly KubernetesObject[]): NamedPod[] {
  return objects
    .filter(({ kind }) => kind === 'Deployment')
    .map(({ metadata: { name } }) => ({ name, spec: podSpecOf(objects, name) }))
}

function containersOf({ spec }: NamedPod) {
  return [...(spec.initContainers ?? []), ...spec.containers]
}

function inRestricted({ name, spec }: NamedPod): KubernetesObject {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'restricted' }, spec }
}

/** The two Secrets that the shared service needs. */
function certificates({ client = 'envoy' }: { client?: string } = {}): KubernetesObject[] {
  const authority = createAuthority('gateway')
  return Object.entries({ 'gatepost-tls': 'gatepost', 'gatepost-client-tls': client }).map(
    ([secret, name]) => {
      const { cert, key } = authority.issue(name, { dns: [name] })
      const stringData = { 'tls.crt': cert, 'tls.key': key, 'ca.crt': authority.cert }
      return { apiVersion: 'v1', kind: 'Secret', metadata: { name: secret }, stringData }
    },
  )
}

/** The configuration in a pod, all of it on loopback, and clusters at other addresses than the pod's. */
async function envoyConfigOf(pod: LaidOutPod, clusters: Record<string, string>): Promise<EnvoyConfig> {
  const config = parse(await pod.read('/etc/envoy/envoy.yaml')) as EnvoyConfig
  const admin = `127.0.0.1:${await freePort()}`
  config.admin.address = socket(admin)
  for (const each of config.static_resources.listeners) each.address = socket('127.0.0.1:0')
  for (const [name, address] of Object.entries({ ...clusters, admin })) pointAt(config, name, address)
  return config
}

function pointAt({ static_resources }: EnvoyConfig, name: string, address: string): void {
  const cluster = static_resources.clusters.find((each) => each.name === name)
  for (const { endpoint } of cluster?.load_assignment.endpoints.flatMap((each) => each.lb_endpoints) ?? []) {
    endpoint.address = socket(address)
  }
}

function socket(address: string) {
  const { hostname, port } = new URL(`tcp://${address}`)
  return { socket_address: { address: hostname, port_value: Number(port || 0) } }
}

/** What closes a way around the decision or bounds a client. */
function guardsOf(config: EnvoyConfig): object {
  const { per_connection_buffer_limit_bytes: buffer, filter_chains } = listener(
    config,
    'ingress',
  ) as ReturnType<typeof listener> & { per_connection_buffer_limit_bytes: number }
  const manager = filter_chains[0]?.filters[0]?.typed_config ?? {}
  const { access_log: accessLog, ...rest } = manager
  const guards = Object.entries(rest).filter(
    ([name]) => !['stat_prefix', 'xff_num_trusted_hops', 'route_config', 'http_filters'].includes(name),
  )
  const { overload_manager: overload } = config as unknown as Record<string, unknown>
  return { buffer, accessLog, overload, guards: Object.fromEntries(guards) }
}
