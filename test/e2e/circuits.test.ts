import { request as httpRequest } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { type Reply, sendHttp1, sendHttp2 } from '../../demo/send.ts'
import type { showCircuit } from '../../src/admin/circuits.ts'
import { copyCluster, type EnvoyConfig, listener } from '../support/envoy-config.ts'
import {
  type GrpcUpstream,
  type MoodyUpstream,
  startGrpcUpstream,
  startMoodyUpstream,
} from '../support/moody-upstream.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { until as passes } from '../support/until.ts'

// Each test waits for a real Envoy's timeouts, on machines that may be busy.
jest.setTimeout(60_000)

type Circuit = ReturnType<typeof showCircuit>

const adminToken = 'the-admin-token-of-this-test'

/** How Gatepost is attached, and who tells it how requests ended. */
const attachments = [
  { name: 'ext_authz and the access log', config: 'ext-authz', env: {} },
  { name: 'ext_proc and the access log', config: 'ext-proc', env: {} },
  { name: 'ext_proc alone', config: 'ext-proc', env: { GATEPOST_OBSERVER: 'ext-proc' } },
] as const

describe.each(attachments)('by $name', ({ config, env }) => {
  const opened = new AsyncDisposableStack()
  let users: MoodyUpstream
  let calls: GrpcUpstream
  let rig: Rig
  let service: string

  beforeAll(async () => {
    ;[users, calls] = [opened.use(await startMoodyUpstream()), opened.use(await startGrpcUpstream())]
    rig = opened.use(
      await startRig({
        config,
        env: {
          ...env,
          GATEPOST_AUTH: 'none',
          GATEPOST_ADMIN_TOKEN: adminToken,
          // Each test has a service of its own, by a route of its own.
          GATEPOST_POLICY: JSON.stringify({
            defaults: { circuit: settings },
            routes: services.map((name) => ({
              name,
              match: { path: `/${name}` },
              service: name,
              ...(name === 'sluggish' && {
                circuit: { failures: 0, slow: '1ms', min_requests: 3, slow_rate: 1 },
              }),
              ...(name === 'watched' && { shadow: ['circuit'] }),
            })),
          }),
        },
        adjust: (envoy) => route(envoy, users.address, calls.address, 'GATEPOST_OBSERVER' in env),
      }),
    )
  })
  afterAll(() => opened.disposeAsync())
  beforeEach(() => {
    users.mood = 'well'
    calls.status = 0
  })

  async function circuit(): Promise<Circuit> {
    const reply = await fetch(`http://${rig.gatepost.adminAddress}/api/circuits`, {
      headers: { authorization: `Bearer ${adminToken}` },
    })
    const { circuits } = (await reply.json()) as { circuits: Circuit[] }
    return circuits.find((one) => one.service === service) as Circuit
  }

  async function override(body: object): Promise<Circuit> {
    const reply = await fetch(`http://${rig.gatepost.adminAddress}/api/circuits/${service}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    expect(reply.status).toBe(200)
    return (await reply.json()) as Circuit
  }

  /** Waits until the circuit is in a state. */
  async function until(wanted: Circuit['state']): Promise<Circuit> {
    return rig.gatepost.process.until(async () => {
      const now = await circuit()
      return now.state === wanted ? now : undefined
    })
  }

  async function untilCounted(requests: number): Promise<Circuit> {
    return rig.gatepost.process.until(async () => {
      const now = await circuit()
      return now.window.requests >= requests ? now : undefined
    })
  }

  const get = (): Promise<Reply> => rig.send(`/${service}`)

  const call = (): Promise<Reply> =>
    sendHttp2(`http://${rig.envoy.listeners['ingress']}`, {
      method: 'POST',
      path: `/${service}`,
      headers: { 'content-type': 'application/grpc', te: 'trailers' },
    })

  /** Sends a few, one after the other, each once the last is told of. */
  async function send(count: number, one: () => Promise<Reply> = get): Promise<number[]> {
    const statuses: number[] = []
    for (let sent = 1; sent <= count; sent += 1) statuses.push((await one()).status)
    return statuses
  }

  async function types(): Promise<string[]> {
    const events = await rig.events()
    return events
      .filter(({ data }) => 'replica' in data && data.service === service)
      .map(({ event_type }) => event_type)
  }

  test('an upstream that fails is left alone, healed by probes, and let in again', async () => {
    service = 'failing'
    users.mood = 503

    expect(await send(3)).toEqual([503, 503, 503])
    await until('open')
    const before = users.count
    const refused = await get()

    expect(refused).toMatchObject({ status: 503, headers: { 'retry-after': '1' } })
    expect(JSON.parse(refused.body)).toMatchObject({ type: 'urn:gatepost:problem:circuit_open' })
    expect(users.count).toBe(before)

    users.mood = 'well'
    await until('half_open')
    await rig.gatepost.process.until(async () => {
      await get()
      return (await circuit()).state === 'closed' || undefined
    })

    expect((await get()).status).toBe(200)
    expect(await types()).toEqual([
      'circuit_breaker.opened',
      'circuit_breaker.half_opened',
      'circuit_breaker.closed',
    ])
    expect((await rig.metrics()).get(`gateway_circuit_breaker_state{service="${service}"}`)).toBe(0)
  })

  test('a probe that fails opens it again, for longer', async () => {
    service = 'relapsing'
    users.mood = 502
    await send(3)
    const first = await until('open')
    await until('half_open')

    await get()
    const second = await until('open')

    const length = ({ since, retry_at = since }: Circuit) => Date.parse(retry_at) - Date.parse(since)
    expect(length(first)).toBe(500)
    expect(length(second)).toBeGreaterThan(500)
    expect(second.last_trip).toMatchObject({ cause: 'probe_failed' })
  })

  test.each<[string, MoodyUpstream['mood'], number]>([
    ['hangs until the route’s timeout', 'hang', 504],
    ['resets the connection', 'reset', 503],
    ['is its own bad gateway', 502, 502],
    ['times out by itself', 504, 504],
  ])('an upstream that %s opens it', async (what, mood, status) => {
    service = what.split(' ')[0] as string
    users.mood = mood

    expect(await send(3)).toEqual([status, status, status])

    expect((await until('open')).last_trip).toMatchObject({ cause: 'consecutive_failures' })
  })

  test('an upstream that is slow opens it, where slow is too much', async () => {
    service = 'sluggish'
    users.mood = 'hold'
    for (let sent = 0; sent < 3; sent += 1) {
      const reply = get()
      await rig.gatepost.process.until(async () => users.held > 0 || undefined)
      // A millisecond is what is too slow here.
      const heldAtMs = performance.now()
      await passes(() => performance.now() - heldAtMs > 2)
      users.letGo()
      await reply
    }

    expect((await until('open')).last_trip).toEqual({ cause: 'slow_rate', count: 3, threshold: 3 })
  })

  test('errors of gRPC in trailers open it', async () => {
    service = 'grpc'
    calls.status = 14

    expect(await send(3, call)).toEqual([200, 200, 200])
    await until('open')
    const refused = await call()

    expect(refused.headers).toMatchObject({ 'grpc-status': '14', 'retry-after': '1' })
    expect(refused.body).toBe('')
  })

  test('other statuses of gRPC do not', async () => {
    service = 'grpc-errors'
    calls.status = 13

    await send(4, call)

    expect(await untilCounted(4)).toMatchObject({ state: 'closed', window: { failures: 0 } })
  })

  test('one client that provokes 500s on purpose does not open it', async () => {
    service = 'provoked'
    users.mood = 500

    expect(await send(10)).toEqual(Array(10).fill(500))

    expect(await untilCounted(10)).toMatchObject({ state: 'closed', window: { failures: 0 } })
  })

  test('a client that orders a timeout of a millisecond is not obeyed', async () => {
    service = 'ordered'
    users.mood = 'hold'
    const replies = Array.from({ length: 4 }, () =>
      rig.send(`/${service}`, { 'x-envoy-upstream-rq-timeout-ms': '1' }),
    )
    await rig.gatepost.process.until(async () => users.held === 4 || undefined)
    users.letGo()

    expect((await Promise.all(replies)).map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect(await untilCounted(4)).toMatchObject({ state: 'closed', window: { failures: 0 } })
  })

  test('clients that leave do not open it', async () => {
    service = 'left'
    users.mood = 'hang'
    for (let sent = 0; sent < 4; sent += 1) await leave()
    users.mood = 'well'
    await get()

    expect(await untilCounted(1)).toMatchObject({ state: 'closed', window: { requests: 1, failures: 0 } })
  })

  test('full pools do not open it', async () => {
    service = 'overflowing'
    users.mood = 'hold'
    const first = get()
    await rig.gatepost.process.until(async () => users.held === 1 || undefined)

    expect(await send(4)).toEqual([503, 503, 503, 503])
    users.letGo()
    await first

    expect(await untilCounted(1)).toMatchObject({ state: 'closed', window: { requests: 1, failures: 0 } })
  })

  test('denials of ours do not feed it', async () => {
    service = 'denied'
    await override({ override: 'open', reason: 'maintenance', for: '1h' })

    expect(await send(5)).toEqual([503, 503, 503, 503, 503])
    await override({ override: 'none' })
    await get()

    expect(await untilCounted(1)).toMatchObject({ state: 'closed', window: { requests: 1, failures: 0 } })
  })

  test('an override opens it with a reason, and ends by itself', async () => {
    service = 'overridden'
    const view = await override({ override: 'open', reason: 'a migration', for: '400ms' })

    expect(view).toMatchObject({ state: 'open', own_state: 'closed', override: { reason: 'a migration' } })
    expect((await get()).status).toBe(503)

    const closed = await until('closed')
    expect(closed.history.map(({ to, cause }) => [to, cause])).toEqual([
      ['closed', 'override_ended'],
      ['open', 'override'],
    ])
    expect((await get()).status).toBe(200)
  })

  test('in shadow mode it is told, counted and passed', async () => {
    service = 'watched'
    users.mood = 503
    await send(3)
    await until('open')
    users.mood = 'well'

    const reply = await get()

    expect(reply.status).toBe(200)
    expect((await rig.completed(`/${service}`)).at(-1)?.data).toMatchObject({
      decision: 'allow',
      shadow: ['circuit_open'],
    })
    const series = `gateway_shadow_denials_total{part="circuit",reason="circuit_open",route="${service}"}`
    expect((await rig.metrics()).get(series)).toBe(1)
  })

  /** Asks, and goes away before the answer. */
  async function leave(): Promise<void> {
    const before = users.count
    const request = httpRequest(`http://${rig.envoy.listeners['ingress']}/${service}`)
    request.on('error', () => {})
    request.end()
    await rig.gatepost.process.until(async () => users.count > before || undefined)
    request.destroy()
  }
})

test('a cut in the middle of an answer is told by the access log alone', async () => {
  await using users = await startMoodyUpstream()
  await using rig = await startRig({
    config: 'ext-authz',
    env: {
      GATEPOST_AUTH: 'none',
      GATEPOST_POLICY: JSON.stringify({
        defaults: { circuit: settings },
        routes: [{ name: 'cut', match: { path: '/cut' }, service: 'cut' }],
      }),
    },
    adjust: (envoy) => route(envoy, users.address, users.address, false),
  })
  users.mood = 'cut'

  for (let sent = 0; sent < 3; sent += 1)
    await expect(
      sendHttp1(`http://${rig.envoy.listeners['ingress']}`, { method: 'GET', path: '/cut', headers: {} }),
    ).rejects.toThrow()

  const opened = await rig.gatepost.process.until(async () =>
    (await rig.events()).find(({ event_type }) => event_type === 'circuit_breaker.opened'),
  )
  expect(opened.data).toMatchObject({ service: 'cut', failure_count: 3, cause: 'consecutive_failures' })
})

const settings = { failures: 3, open: '500ms', probes: 2, probe_interval: '20ms' }

const services = [
  ...[
    'failing',
    'relapsing',
    'hangs',
    'resets',
    'is',
    'times',
    'sluggish',
    'grpc',
    'grpc-errors',
    'provoked',
  ],
  ...['ordered', 'left', 'overflowing', 'denied', 'overridden', 'watched'],
]

interface Managed {
  route_config: { virtual_hosts: { routes: object[] }[] }
  http_filters: { name: string; typed_config: Record<string, unknown> }[]
}

/** Leads a path of each service to the upstreams, of which Envoy's routes say nothing to Gatepost. */
function route(config: EnvoyConfig, users: string, calls: string, observes: boolean): void {
  copyCluster(config, { from: 'user_service', name: 'moody', address: users })
  const narrow = copyCluster(config, { from: 'user_service', name: 'narrow', address: users })
  const grpc = copyCluster(config, { from: 'user_service', name: 'grpc', address: calls })
  Object.assign(narrow, {
    circuit_breakers: { thresholds: [{ max_requests: 1 }] },
  })
  Object.assign(grpc, { typed_extension_protocol_options: http2Options })
  const manager = listener(config, 'ingress').filter_chains[0]?.filters[0]?.typed_config as unknown as Managed
  const clusters: Record<string, string> = { grpc: 'grpc', 'grpc-errors': 'grpc', overflowing: 'narrow' }
  manager.route_config.virtual_hosts[0]?.routes.unshift(
    ...[...services, 'cut'].map((name) => ({
      match: { path: `/${name}` },
      route: { cluster: clusters[name] ?? 'moody', timeout: name === 'hangs' ? '0.2s' : '15s' },
    })),
  )
  if (!observes) return
  const filter = manager.http_filters.find(({ name }) => name === 'envoy.filters.http.ext_proc')
  const service = filter?.typed_config['grpc_service'] as {
    initial_metadata: { key: string; value: string }[]
  }
  service.initial_metadata = [{ key: 'gatepost-mode', value: 'decide,observe' }]
}

const http2Options = {
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
    '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
    explicit_http_config: { http2_protocol_options: {} },
  },
}
