import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { Agent, request as httpsRequest } from 'node:https'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { parse } from 'yaml'
import type { Reply } from '../../demo/send.ts'
import { createAuthority } from '../support/certificates.ts'
import { type Envoy, envoyVersions, newestEnvoy } from '../support/envoy.ts'
import { bundledConfig, listener } from '../support/envoy-config.ts'
import { readEvents } from '../support/event-schema.ts'
import { type Gatepost, startGatepost, waitUntilReady } from '../support/gatepost.ts'
import { analyze, customResources, type Istiod, startIstiod } from '../support/istio.ts'
import { type Kubernetes, type KubernetesObject, startKubernetes } from '../support/kubernetes.ts'
import { kustomize } from '../support/kustomize.ts'
import { type OpenIdProvider, startOpenIdProvider } from '../support/openid-provider.ts'
import { freePort } from '../support/ports.ts'
import { tempFolder } from '../support/temp.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { corsOrigin, sampleObjects, servedHere } from './istio-samples.ts'
import { bearer } from './judge.ts'

// The first time, all of them are built: minutes. Later on each starts within seconds.
jest.setTimeout(120_000)
const installLimitMs = 2_400_000

/** The ways of attaching Gatepost. */
const ways = ['ext-authz', 'custom', 'ext-proc'] as const
type Way = (typeof ways)[number]

const folders = ['traffic', 'gatepost', 'edge', ...ways, 'fault-injection'] as const
type Folder = (typeof folders)[number]

const authority = createAuthority('test authority')
/** A connection for each request: one that stands goes on with what it began with when the listener changes. */
const tls = new Agent({ keepAlive: false, ca: authority.cert, servername: 'api.example.com' })

let built: Record<Folder, { objects: KubernetesObject[]; yaml: string }>
let samples: KubernetesObject[]
let provider: OpenIdProvider
let gatepost: Gatepost
let upstream: Upstream
let kubernetes: Kubernetes
let istiod: Istiod
let port: number
let eventsFile: string
const parts = new AsyncDisposableStack()

beforeAll(async () => {
  const folder = parts.use(await tempFolder('mesh'))
  const policyFile = join(folder.path, 'policy.yaml')
  eventsFile = join(folder.path, 'events.jsonl')
  built = Object.fromEntries(
    await Promise.all(folders.map(async (name) => [name, await kustomize(`istio/${name}`, print)])),
  )
  await writeFile(policyFile, policyOf(built.gatepost.objects))
  const clients = ['demo-app', ...envoyVersions.flatMap((version) => ways.map((way) => `${way}-${version}`))]
  provider = parts.use(await startOpenIdProvider('oidc', { clients }))
  upstream = parts.use(await startUpstream({ name: 'upstream' }))
  gatepost = parts.use(
    await startGatepost({
      OIDC_ISSUER: provider.issuer,
      OIDC_AUDIENCE: provider.audience,
      GATEPOST_POLICY_FILE: policyFile,
      GATEPOST_EVENTS_LOG: eventsFile,
    }),
  )
  await waitUntilReady(gatepost)

  kubernetes = parts.use(await startKubernetes(print))
  await kubernetes.apply(await customResources('istio', print))
  port = await freePort()
  samples = sampleObjects({
    certificate: authority.issue('api', { dns: ['api.example.com'] }),
    upstream: upstream.address,
    gatepost: gatepost.grpcAddress,
  })
  await kubernetes.apply(built.gatepost.objects)
  await kubernetes.apply(samples)
  await kubernetes.apply(built.traffic.objects.map((object) => servedHere(object, port)))
  istiod = parts.use(await startIstiod(kubernetes, await meshConfig(), print))
}, installLimitMs)
afterAll(() => parts.disposeAsync())

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

function policyOf(objects: readonly KubernetesObject[]): string {
  const found = objects.find(({ metadata }) => metadata.name === 'gatepost-policy')
  return (found as unknown as { data: Record<string, string> }).data['policy.yaml'] ?? ''
}

async function meshConfig(): Promise<object> {
  const values = await readFile(new URL('../../istio/custom/istiod-values.yaml', import.meta.url), 'utf8')
  return (parse(values) as { meshConfig: object }).meshConfig
}

describe('the manifests', () => {
  test.each(folders)('of istio/%s pass server-side apply with strict validation', async (folder) => {
    await kubernetes.apply(built[folder].objects, { dryRun: true })
  })

  test('a field that nobody knows is refused', async () => {
    const [policy] = built.custom.objects.filter(({ kind }) => kind === 'AuthorizationPolicy')
    const misspelt = {
      ...policy,
      spec: { selector: {}, action: 'CUSTOM', providers: {} },
    } as KubernetesObject

    await expect(kubernetes.apply([misspelt], { dryRun: true })).rejects.toThrow('spec.providers')
  })

  test.each([...ways.map((way) => ['traffic', way] as const), ['fault-injection', 'ext-authz'] as const])(
    'istioctl has nothing to say against those of istio/%s and istio/%s',
    async (traffic, attachment) => {
      const around = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: samples })
      const shipped = [traffic, 'gatepost' as const, attachment].map((name) => [name, built[name].yaml])

      expect(await analyze({ ...Object.fromEntries(shipped), around })).toEqual([])
    },
  )

  test('istioctl finds what is wrong', async () => {
    const lost = built.traffic.yaml.replaceAll('subset: v2', 'subset: v3')

    expect(await analyze({ lost })).toEqual(expect.arrayContaining([expect.stringContaining('v3')]))
  })
})

describe('what is patched in says the same as the configurations of envoy/', () => {
  test('istio/edge as the guards of envoy/ext-authz.yaml', async () => {
    const { access_log, route_config, http_filters, stat_prefix, ...guards } = await managerOf('ext-authz')
    const [manager, ofListener] = patchesOf('edge')

    expect(manager?.['typed_config']).toEqual(guards)
    expect(listener(await bundledConfig('ext-authz'), 'ingress')).toMatchObject(ofListener as object)
  })

  test.each(['ext-authz', 'ext-proc'] as const)('istio/%s as the filter and the access log', async (way) => {
    const { access_log: accessLog, http_filters: filters } = await managerOf(way)
    const [filter, manager] = patchesOf(way).slice(-4)

    expect(reached(filter)).toEqual(reached(filters.find(({ name }) => name === filter?.['name'])))
    expect(reached(manager)).toMatchObject(reached({ typed_config: { access_log: accessLog } }))
  })
})

/** The HTTP connection manager of a bundled configuration. */
async function managerOf(name: string) {
  const { filter_chains } = listener(await bundledConfig(name), 'ingress')
  return filter_chains[0]?.filters[0]?.typed_config as {
    access_log: object[]
    http_filters: { name: string }[]
    [field: string]: unknown
  }
}

/** What the EnvoyFilters of a folder patch in, one after the other. */
function patchesOf(folder: Folder): Record<string, unknown>[] {
  const filters = built[folder].objects as unknown as {
    spec: { configPatches: { patch: { value: Record<string, unknown> } }[] }
  }[]
  return filters.flatMap(({ spec }) => spec.configPatches).map(({ patch }) => patch.value)
}

/** A configuration but for the cluster by which Gatepost is reached. */
function reached(config: unknown): object {
  return JSON.parse(JSON.stringify(config, (key, value) => (key === 'envoy_grpc' ? 'gatepost' : value)))
}

describe.each(envoyVersions.toReversed())('by istiod, on Envoy %s,', (version) => {
  let gateway: Envoy
  beforeAll(async () => {
    gateway = await istiod.attachGateway(version)
  }, installLimitMs)
  afterAll(() => gateway?.stop())

  describe.each(ways)('attached as istio/%s has it', (way) => {
    beforeAll(() => attach(gateway, way))

    test('Envoy accepts what it is told, and knows all of it', async () => {
      expect(await complaints(gateway)).toEqual({})
    })

    test('the filter stands where its page says', async () => {
      const { filters } = await attachedIn(gateway)

      const [cors, ours] = ['cors.v3.Cors', typeOf[way]].map((type) =>
        filters.findIndex((filter) => filter.includes(type)),
      )
      expect(Math.sign((ours ?? 0) - (cors ?? 0))).toBe(way === 'custom' ? -1 : 1)
    })

    test('each route tells what it is, where the way allows it', async () => {
      const told = await gateway.process.until(async () => {
        const routes = await routesOf(gateway, way)
        return routes.size > 0 ? [...routes] : undefined
      })

      expect(told).toEqual([
        ['users', routeTells[way]('users', 'user-service')],
        ['orders', routeTells[way]('orders', 'order-service')],
      ])
    })

    test('a good token is allowed, and the upstream learns whose it is', async () => {
      const path = `/users/${randomUUID()}`

      const { status } = await send(path, { ...bearer(await provider.issueToken()), 'x-user-id': 'root' })

      expect(status).toBe(200)
      expect(upstream.requests.find((received) => received.path === path)?.headers).toMatchObject({
        'x-user-id': 'demo-app',
        'x-auth-issuer': provider.issuer,
      })
      expect(await completed(path)).toMatchObject({
        status_code: 200,
        route: 'users',
        decision: 'allow',
        client_id: 'demo-app',
      })
    })

    test('without a token there is 401, and the upstream hears nothing', async () => {
      const path = `/orders/${randomUUID()}`

      const { status, headers } = await send(path)

      expect(status).toBe(401)
      expect(headers['content-type']).toBe('application/problem+json')
      expect(upstream.requests.filter((received) => received.path === path)).toEqual([])
      expect(await completed(path)).toMatchObject({ status_code: 401, route: 'orders', decision: 'deny' })
    })

    test('who asks too often gets 429', async () => {
      const client = `${way}-${version}`
      const token = await provider.issueToken({ client, scope: 'read:orders' })
      const paths = Array.from({ length: 100 }, () => `/orders/${randomUUID()}`)
      const statuses = new Map<string, number>()

      for (const path of paths) {
        statuses.set(path, (await send(path, bearer(token))).status)
        if (statuses.get(path) === 429) break
      }

      const [refused = ''] = [...statuses.keys()].slice(-1)
      expect(statuses.get(refused)).toBe(429)
      expect(statuses.size).toBeGreaterThan(30)
      expect(new Set([...statuses.values()].slice(0, -1))).toEqual(new Set([200]))
      expect(await completed(refused)).toMatchObject({ status_code: 429, client_id: client })
    })

    test('CORS is seen to before Gatepost is asked, where the way has it so', async () => {
      const path = '/users'
      const origin = { origin: corsOrigin }

      const preflight = await send(path, { ...origin, 'access-control-request-method': 'GET' }, 'OPTIONS')
      const denial = await send(path, origin)

      const answers = [preflight, denial].map(({ status, headers }) => [
        status,
        headers['access-control-allow-origin'],
      ])
      expect(answers).toEqual(
        way === 'custom'
          ? [
              [401, undefined],
              [401, undefined],
            ]
          : [
              [200, corsOrigin],
              [401, corsOrigin],
            ],
      )
    })

    test.each([
      ['an escaped slash', '/users/..%2forders', {}],
      ['a header that servers take for an identity header', '/users', { x_user_id: 'root' }],
    ])('%s is refused', async (_, path, headers) => {
      const token = await provider.issueToken()

      expect(await send(path, { ...bearer(token), ...headers })).toMatchObject({ status: 400 })
    })
  })
})

test('from one way to the next nobody passes unasked', async () => {
  await using gateway = await istiod.attachGateway(newestEnvoy)
  await attach(gateway, 'ext-authz')
  const statuses: number[] = []
  let isOver = false
  const callers = (async () => {
    while (!isOver) statuses.push((await send(`/users/${randomUUID()}`)).status)
  })()

  for (const way of ['custom', 'ext-proc', 'ext-authz'] as const) await attach(gateway, way)
  isOver = true
  await callers

  expect(statuses.length).toBeGreaterThan(3)
  expect(new Set(statuses)).toEqual(new Set([401]))
})

test('a policy whose provider the mesh does not know lets nobody in', async () => {
  await using gateway = await istiod.attachGateway(newestEnvoy)
  await attach(gateway, 'custom')
  const [policy] = built.custom.objects.filter(({ kind }) => kind === 'AuthorizationPolicy')
  const spec = { ...(policy?.['spec'] as object), provider: { name: 'nobody' } }

  await kubernetes.apply([{ ...policy, spec } as KubernetesObject])

  const body = await gateway.process.until(async () => {
    const reply = await send('/users', bearer(await provider.issueToken()))
    return reply.status === 403 ? reply.body : undefined
  })
  expect(body).toBe('RBAC: access denied')
})

/** Applies the objects of a way, then takes away those of the others, and waits until the gateway goes by both. */
async function attach(gateway: Envoy, way: Way): Promise<void> {
  const own = built[way].objects
  await kubernetes.apply(own)
  const others = ways.filter((other) => other !== way).flatMap((other) => built[other].objects)
  const names = new Set(own.map(nameOf))
  await kubernetes.delete(others.filter((object) => !names.has(nameOf(object))))
  await gateway.process.until(async () => {
    const { ways: seen, loggers } = await attachedIn(gateway)
    return (seen.length === 1 && seen[0] === way && loggers === 1) || undefined
  }, 30_000)
  // The main thread has told the worker; once the worker has answered something, it has heard.
  await send('/')
}

function nameOf({ kind, metadata }: KubernetesObject): string {
  return `${kind}/${metadata.name}`
}

const typeOf: Record<Way, string> = {
  'ext-authz': 'ext_authz.v3.ExtAuthz"',
  custom: 'ext_authz.v3.ExtAuthz"',
  'ext-proc': 'ext_proc.v3.ExternalProcessor"',
}

interface ListenersDump {
  configs: {
    active_state?: {
      listener: {
        filter_chains: {
          filters: { typed_config: { access_log?: unknown[]; http_filters: { typed_config: object }[] } }[]
        }[]
      }
    }
  }[]
}

/** What the gateway's listener has been told: its filters, the ways among them, and how many access logs it writes. */
async function attachedIn({ adminAddress }: Envoy) {
  const answer = await fetch(`http://${adminAddress}/config_dump?resource=dynamic_listeners`)
  const { configs = [] } = (await answer.json()) as Partial<ListenersDump>
  const manager = configs[0]?.active_state?.listener.filter_chains[0]?.filters[0]?.typed_config
  const filters = (manager?.http_filters ?? []).map(({ typed_config }) => JSON.stringify(typed_config))
  return { filters, ways: filters.flatMap(wayOf), loggers: manager?.access_log?.length ?? 0 }
}

function wayOf(filter: string): Way[] {
  if (filter.includes(typeOf['ext-proc'])) return ['ext-proc']
  if (!filter.includes(typeOf['ext-authz'])) return []
  return [filter.includes('filter_enabled_metadata') ? 'custom' : 'ext-authz']
}

/** What a route's own configuration of the filter says, by way. Envoy shows nobody the values of ext_authz's. */
const routeTells: Record<Way, (route: string, service: string) => unknown> = {
  'ext-authz': () =>
    expect.objectContaining({
      check_settings: { context_extensions: { route: '[redacted]', service: '[redacted]' } },
    }),
  custom: () => undefined,
  'ext-proc': (route, service) =>
    expect.objectContaining({
      overrides: {
        grpc_initial_metadata: [
          { key: 'gatepost-route', value: route },
          { key: 'gatepost-service', value: service },
        ],
      },
    }),
}

interface RoutesDump {
  configs: {
    route_config: {
      virtual_hosts: { routes: { name?: string; typed_per_filter_config?: Record<string, unknown> }[] }[]
    }
  }[]
}

/** The configuration of a way's filter, by route. */
async function routesOf({ adminAddress }: Envoy, way: Way): Promise<Map<string, unknown>> {
  const answer = await fetch(`http://${adminAddress}/config_dump?resource=dynamic_route_configs`)
  const { configs = [] } = (await answer.json()) as Partial<RoutesDump>
  const routes = configs
    .flatMap(({ route_config }) => route_config.virtual_hosts)
    .flatMap((host) => host.routes)
  const filter = `envoy.filters.http.${way === 'ext-proc' ? 'ext_proc' : 'ext_authz'}`
  return new Map(routes.map(({ name = '', typed_per_filter_config: own }) => [name, own?.[filter]]))
}

/** What Envoy has refused of its configuration, or did not understand; empty where all is well. */
async function complaints({ adminAddress }: Envoy): Promise<Record<string, number>> {
  const answer = await fetch(
    `http://${adminAddress}/stats?filter=rejected$|unknown_fields$|lds.update_fail&format=json`,
  )
  const { stats } = (await answer.json()) as { stats: { name?: string; value: number }[] }
  return Object.fromEntries(stats.filter(({ value }) => value > 0).map(({ name, value }) => [name, value]))
}

async function send(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Reply> {
  const signal = AbortSignal.timeout(5_000)
  const request = httpsRequest({
    ...{ host: '127.0.0.1', port, agent: tls, method, path, signal },
    headers: { host: 'api.example.com', ...headers },
  })
  request.end()
  const [response] = await once(request, 'response', { signal })
  return { status: response.statusCode, headers: response.headers, body: await text(response) }
}

/** The data of the request.completed of a path, once it has been told. */
function completed(path: string): Promise<object> {
  return gatepost.process.until(async () => {
    const written = await readFile(eventsFile, 'utf8')
    const events = readEvents(written.slice(0, written.lastIndexOf('\n') + 1))
    return events.find(
      (event) => event.event_type === 'request.completed' && (event.data as { path: string }).path === path,
    )?.data
  })
}
