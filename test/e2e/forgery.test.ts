import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { GatewayEvent } from '../../src/core/events.ts'
import type { EnvoyConfig } from '../support/envoy-config.ts'
import {
  addFaultListener,
  addTrustingListener,
  type Decider,
  forgedAddress,
  forgedHeaders,
  forgedWords,
  letClientsWriteMetadata,
  setRole,
} from '../support/forgery.ts'
import { type Rig, startRig } from '../support/rig.ts'

const START_MS = 300_000

interface Door {
  config: string
  decider: Decider
  env: Record<string, string>
  adjust?: (config: EnvoyConfig) => void
}

const doors: Record<string, Door> = {
  'ext_authz and the access log': {
    config: 'ext-authz',
    decider: 'envoy.filters.http.ext_authz',
    env: {},
  },
  'ext_proc and the access log': {
    config: 'ext-proc',
    decider: 'envoy.filters.http.ext_proc',
    env: {},
  },
  // The access log of the bundled configuration stays: a second observer.
  'ext_proc alone, which decides and observes': {
    config: 'ext-proc',
    decider: 'envoy.filters.http.ext_proc',
    env: { GATEPOST_OBSERVER: 'ext-proc' },
    adjust(config) {
      for (const name of ['ingress', 'fault-allowed']) setRole(config, name, 'decide,observe')
    },
  },
}

interface Row {
  what: string
  listener?: 'ingress' | 'fault-allowed'
  path: string
  authorization?: (rig: Rig) => string
  status: number
  /** What the upstream learns of the caller; undefined where it must not be asked. */
  upstream: Record<string, string> | undefined
  event: Partial<GatewayEvent<'request.completed'>['data']>
  /** Who the event says it was; absent for nobody. */
  who?: { user_id: string; client_id: string }
}

const alice = ({ provider }: Rig) =>
  `Bearer ${provider.signToken({ sub: 'alice', client_id: 'shop', scope: 'read:orders' })}`

const rows: Row[] = [
  {
    what: 'without a credential is refused, and nobody in the events',
    path: '/users',
    status: 401,
    upstream: undefined,
    event: { decision: 'deny', route: 'users', upstream_service: 'user_service' },
  },
  {
    what: 'with a bad token is refused, and nobody in the events',
    path: '/orders',
    authorization: () => 'Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.AA',
    status: 401,
    upstream: undefined,
    event: { decision: 'deny', route: 'orders', upstream_service: 'order_service' },
  },
  {
    what: 'with a token too weak for the route is refused, and its own user in the events',
    path: '/orders',
    authorization: ({ provider }) => `Bearer ${provider.signToken({ sub: 'bob', client_id: 'shop' })}`,
    status: 403,
    upstream: undefined,
    event: { decision: 'deny', route: 'orders' },
    who: { user_id: 'bob', client_id: 'shop' },
  },
  {
    what: 'with a good token passes as who it is',
    path: '/orders',
    authorization: alice,
    status: 200,
    upstream: { 'x-user-id': 'alice', 'x-client-id': 'shop', 'x-auth-scopes': 'read:orders' },
    event: { decision: 'allow', route: 'orders' },
    who: { user_id: 'alice', client_id: 'shop' },
  },
  {
    what: 'on an open route passes as nobody',
    path: '/public',
    status: 200,
    upstream: {},
    event: { decision: 'allow', route: 'public' },
  },
  {
    what: 'with a good token on an open route passes as nobody',
    path: '/public',
    authorization: alice,
    status: 200,
    upstream: {},
    event: { decision: 'allow', route: 'public' },
  },
  {
    what: 'let through without a verdict is a fault and passes as nobody',
    listener: 'fault-allowed',
    path: '/users',
    status: 200,
    upstream: {},
    event: { decision: 'fault', route: 'unmatched' },
  },
  {
    what: 'with a good token, let through without a verdict, is a fault and passes as nobody',
    listener: 'fault-allowed',
    path: '/orders',
    authorization: alice,
    status: 200,
    upstream: {},
    event: { decision: 'fault', route: 'unmatched' },
  },
]

/** Whom an event names. */
function whoOf(event: GatewayEvent<'request.completed'> | undefined) {
  const { user_id, client_id } = event?.data ?? {}
  return { ...(user_id !== undefined && { user_id }), ...(client_id !== undefined && { client_id }) }
}

/** The refusals among the events of a path. */
async function refusalsOf(rig: Rig, path: string): Promise<GatewayEvent<'auth.failed'>[]> {
  const isRefusal = (event: GatewayEvent): event is GatewayEvent<'auth.failed'> =>
    event.event_type === 'auth.failed'
  return (await rig.events()).filter(isRefusal).filter(({ data }) => data.path === path)
}

const identityHeaders = /^x-(user-id|client-id|auth-|gatepost-)/

describe.each(Object.entries(doors))('through %s, a request that forges all it can', (name, door) => {
  let rig: Rig
  beforeAll(async () => {
    rig = await startRig({
      config: door.config,
      env: door.env,
      adjust(config) {
        addFaultListener(config, door.decider)
        door.adjust?.(config)
        letClientsWriteMetadata(config)
      },
    })
  }, START_MS)
  afterAll(async () => rig?.[Symbol.asyncDispose]())

  /** ext_proc does not hear what Envoy makes of a request that it could not decide. */
  const hearsStatus = (row: Row) => !(name.includes('alone') && row.event.decision === 'fault')

  test.each(rows.map((row) => [row.what, row] as const))('%s', async (_what, row) => {
    const path = `${row.path}/${randomUUID()}`
    const authorization = row.authorization?.(rig)

    const reply = await rig.send(
      `${path}?user_id=root`,
      { ...forgedHeaders(), ...(authorization !== undefined && { authorization }) },
      row.listener,
    )

    expect(reply.status).toBe(row.status)
    const received = rig.upstream.requests.filter((request) => request.path.startsWith(path))
    const identities = received.map(({ headers }) =>
      Object.entries(headers).filter(([header]) => identityHeaders.test(header)),
    )
    const expected = row.upstream && {
      ...row.upstream,
      ...(row.upstream['x-user-id'] && { 'x-auth-issuer': rig.provider.issuer }),
    }
    expect(identities.map((entries) => Object.fromEntries(entries))).toEqual(expected ? [expected] : [])
    const events = await rig.completed(path)
    expect(events).toHaveLength(1)
    expect(events[0]?.data).toMatchObject({ ...row.event, method: 'GET', path, client_ip: '127.0.0.1' })
    expect(whoOf(events[0])).toEqual(row.who ?? {})
    if (hearsStatus(row)) expect(events[0]?.data.status_code).toBe(row.status)
  })

  test('is counted as often as it was sent, though every request has one and the same id', async () => {
    const path = `/users/${randomUUID()}`
    const count = 25

    await Promise.all(Array.from({ length: count }, () => rig.send(path, forgedHeaders('one-and-the-same'))))

    const events = await rig.completed(path)
    const refusals = await refusalsOf(rig, path)
    expect(events).toHaveLength(count)
    expect(refusals).toHaveLength(count)
    expect(new Set(events.map(({ id }) => id)).size).toBe(count)
  })

  test('leaves nothing of itself in any event or metric', async () => {
    const path = `/public/${randomUUID()}`
    await rig.send(path, forgedHeaders())
    await rig.send(path, forgedHeaders(), 'fault-allowed')
    await rig.completed(path)

    const events = (await rig.events()).map(({ request_id: _chosen, ...event }) => JSON.stringify(event))
    const series = [...(await rig.metrics()).keys()].filter((one) => one.startsWith('gateway_'))

    expect(events.length).toBeGreaterThan(2)
    expect(events.filter((event) => forgedWords.test(event))).toEqual([])
    expect(series.filter((one) => forgedWords.test(one))).toEqual([])
  })

  test('is counted in the metrics once: as many requests as events', async () => {
    const path = `/public/${randomUUID()}`
    for (let sent = 0; sent < 3; sent++) await rig.send(path, forgedHeaders())
    await rig.completed(path)

    // The event of the last request is there, and the next scrape knows of it.
    const metrics = await rig.metrics()
    const completed = (await rig.events()).filter(({ event_type }) => event_type === 'request.completed')
    const counted = [...metrics].filter(([series]) => series.startsWith('gateway_requests_total{'))
    const consumers = [...metrics].filter(([series]) => series.startsWith('gateway_consumer_requests_total{'))
    const sum = (series: [string, number][]) => series.reduce((total, [, value]) => total + value, 0)
    expect(sum(counted)).toBe(completed.length)
    expect(sum(consumers)).toBe(completed.length)
  })

  test('has its observer’s word counted, and a second observer’s counted apart and warned of once', async () => {
    const path = `/public/${randomUUID()}`
    await rig.send(path, forgedHeaders())
    await rig.send(path, forgedHeaders())

    const second = 'gateway_ignored_outcomes_total{why="access-log"}'
    const hasSecond = name.includes('alone')
    const before = (await rig.metrics()).get(second) ?? 0
    await rig.gatepost.process.until(async () => {
      const ignored = (await rig.metrics()).get(second) ?? 0
      return !hasSecond || ignored > before ? true : rig.send('/public').then(() => undefined)
    })

    expect(await rig.completed(path)).toHaveLength(2)
    const warnings = rig.warnings().filter((message) => message.startsWith('a second observer is attached'))
    expect(warnings).toHaveLength(hasSecond ? 1 : 0)
  })
})

describe.each(['ext-authz', 'ext-proc'])(
  'with %s and GATEPOST_CLIENT_ADDRESS=envoy, the client’s address',
  (config) => {
    let rig: Rig
    beforeAll(async () => {
      rig = await startRig({
        config,
        env: { GATEPOST_CLIENT_ADDRESS: 'envoy' },
        adjust: addTrustingListener,
      })
    }, START_MS)
    afterAll(async () => rig?.[Symbol.asyncDispose]())

    test.each([
      ['is the peer’s, whatever header of that name the client sends', 'ingress', {}, '127.0.0.1'],
      [
        'is the peer’s, whatever X-Forwarded-For says',
        'ingress',
        { 'x-forwarded-for': '198.51.100.4' },
        '127.0.0.1',
      ],
      [
        'is the one that the load balancer in front saw, whatever the client wrote before it',
        'behind-one-hop',
        { 'x-forwarded-for': `${forgedAddress}, 198.51.100.4` },
        '198.51.100.4',
      ],
    ] as const)('%s', async (_what, listener, headers, expected) => {
      const path = `/users/${randomUUID()}`

      await rig.send(path, { ...headers, 'x-envoy-external-address': forgedAddress }, listener)

      const events = await rig.completed(path)
      const refusals = await refusalsOf(rig, path)
      expect(events.map(({ data }) => data.client_ip)).toEqual([expected])
      expect(refusals.map(({ data }) => data.client_ip)).toEqual([expected])
    })
  },
)
