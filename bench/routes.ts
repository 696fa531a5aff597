import { writeFile } from 'node:fs/promises'
import { Agent, get } from 'node:http'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createPolicyReader } from '../src/config/effective-policy.ts'
import { readEnvironment } from '../src/config/environment.ts'
import { createRoutes, type Routable, type RoutePolicy, type Routes } from '../src/core/routes.ts'
import { type Envoy, newestEnvoy, startEnvoy } from '../test/support/envoy.ts'
import { bundledConfig, type EnvoyConfig } from '../test/support/envoy-config.ts'
import { type Gatepost, parseLogLine, startGatepost } from '../test/support/gatepost.ts'
import { startNginx } from '../test/support/nginx.ts'
import { startOpenIdProvider } from '../test/support/openid-provider.ts'
import { tempFolder } from '../test/support/temp.ts'

/**
 * `node bench/routes.ts`: what 10,000 routes cost beside 10. First look-ups and memory, in this process; then a reload of
 * the larger file while requests arrive at a fixed rate, through a real Envoy. Ends with 1 where a request was lost.
 */
const sizes = [10, 10_000] as const

const lookups = { rounds: 9, perRound: 200_000 }

const reload = { rounds: 7, perSecond: 300, seconds: 3, afterMs: 500 }

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** What a request looks like that one route is for. */
interface Sample {
  host: string
  path: string
}

/** Routes of five shapes in turn, spread over hosts, each with authentication, scopes and a limit of its own. */
const shapes: readonly ((at: number) => { match: Record<string, unknown>; sample: Sample })[] = [
  (at) => ({
    match: { host: hostOf(at), path: `/v1/items${at}` },
    sample: { host: hostOf(at), path: `/v1/items${at}` },
  }),
  (at) => ({
    match: { host: hostOf(at), path: `/v1/users/{id}/orders${at}` },
    sample: { host: hostOf(at), path: `/v1/users/42/orders${at}` },
  }),
  (at) => ({
    match: { host: hostOf(at), path: `/v1/files${at}/*` },
    sample: { host: hostOf(at), path: `/v1/files${at}/a/b/c.txt` },
  }),
  (at) => ({
    match: { host: `*.tenant${at % 100}.example.com`, path: `/v1/reports${at}/*` },
    sample: { host: `eu.tenant${at % 100}.example.com`, path: `/v1/reports${at}/2029` },
  }),
  (at) => ({
    match: { path: `/v1/any${at}/{id}` },
    sample: { host: 'x.example.com', path: `/v1/any${at}/7` },
  }),
]

function hostOf(at: number): string {
  return `service${at % 100}.example.com`
}

function shapeOf(at: number): ReturnType<(typeof shapes)[number]> {
  return shapes[at % shapes.length]!(at)
}

/** A policy file as a generator writes it. @param generation in the limits, so that a reload changes something. */
function policyText(count: number, generation = 0): string {
  const routes = Array.from({ length: count }, (_, at) => {
    const { match } = shapeOf(at)
    return [
      `  - name: route-${at}`,
      `    match: ${JSON.stringify({ ...match, methods: ['GET', 'POST'] })}`,
      `    service: service-${at % 50}`,
      '    auth: required',
      `    rate_limits: [{name: own, limit: ${1_000_000 + generation}/1m, by: client}]`,
    ]
  })
  return `${['routes:', ...routes.flat()].join('\n')}\n`
}

/** Requests for routes all over the table and, one in ten, for none; the same order in every run. */
function requestsFor(count: number): Routable[] {
  let seed = 1
  const next = () => {
    seed = Math.imul(seed, 1_664_525) + 1_013_904_223
    return (seed >>> 0) / 2 ** 32
  }
  return Array.from({ length: 10_000 }, (_, at) => {
    const { host, path } = shapeOf(Math.floor(next() * count)).sample
    return {
      authority: host,
      path: at % 10 === 0 ? `/none${path}` : path,
      method: 'GET',
      headers: new Map(),
      overrides: {},
    }
  })
}

function compile(count: number): RoutePolicy {
  const env = { GATEPOST_AUTH: 'none' }
  const read = createPolicyReader(readEnvironment(env).values, env)('policy.yaml', policyText(count))
  if (read.kind === 'document') return read.value.routes
  throw new Error(`Cannot measure: ${read.problems.slice(0, 3).join('; ')}`)
}

/** Nanoseconds for a look-up. */
function timeLookups(routes: Routes, requests: readonly Routable[]): number {
  const beganAt = performance.now()
  let found = 0
  for (let at = 0; at < lookups.perRound; at += 1) {
    const match = routes.match(requests[at % requests.length]!)
    if (match.kind === 'route' && match.rule) found += 1
  }
  const tookMs = performance.now() - beganAt
  const expected = lookups.perRound * 0.9
  if (found !== expected) throw new Error(`Cannot measure: ${found} look-ups found a route, not ${expected}`)
  return (tookMs / lookups.perRound) * 1e6
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function heapBytes(): number {
  collect()
  collect()
  return process.memoryUsage().heapUsed
}

interface Table {
  count: number
  routes: Routes
  requests: readonly Routable[]
  bytes: number
  timesNs: number[]
}

/** Several small ones are weighed together: one is lost in what else moves in the heap. */
function load(count: number): Table {
  const before = heapBytes()
  const copies = Array.from({ length: Math.max(1, 5_000 / count) }, () => createRoutes(compile(count)))
  const bytes = (heapBytes() - before) / copies.length
  const [routes] = copies
  if (!routes) throw new Error(`Cannot measure ${count} routes`)
  return { count, routes, requests: requestsFor(count), bytes, timesNs: [] }
}

function measureLookups(): void {
  // What is compiled and cached on first use belongs to neither.
  for (const count of sizes) createRoutes(compile(count))
  const tables = sizes.map(load)
  for (const { routes, requests } of tables) timeLookups(routes, requests)
  for (let round = 0; round < lookups.rounds; round += 1) {
    for (const { routes, requests, timesNs } of tables) timesNs.push(timeLookups(routes, requests))
  }
  print(
    `${lookups.rounds} rounds in turns of ${whole(lookups.perRound)} look-ups, one in ten of them of no route.\n`,
  )
  print('| routes | look-up, median | best | heap, policy and table | for a route |')
  print('|---:|---:|---:|---:|---:|')
  for (const { count, timesNs, bytes } of tables) {
    const { median, least } = spread(timesNs)
    print(
      `| ${whole(count)} | ${whole(median)} ns | ${whole(least)} ns | ${whole(bytes / 1_024)} KiB | ${whole(bytes / count)} B |`,
    )
  }
  const [few, many] = tables.map(({ timesNs }) => spread(timesNs))
  print(
    `\nRatio of the medians ${(many!.median / few!.median).toFixed(2)}, of the best ${(many!.least / few!.least).toFixed(2)}.\n`,
  )
}

/** What one stretch of requests saw. */
interface Stretch {
  sent: number
  lost: number
  latenciesMs: number[]
}

/** Sends at a fixed rate, whatever the answers take: a pause shows in every request that falls into it. */
async function sendFor(url: string, token: string, agent: Agent): Promise<Stretch> {
  const stretch: Stretch = { sent: 0, lost: 0, latenciesMs: [] }
  const open: Promise<void>[] = []
  const beganAt = performance.now()
  const total = reload.perSecond * reload.seconds
  while (stretch.sent < total) {
    const due = Math.min(total, Math.floor(((performance.now() - beganAt) / 1_000) * reload.perSecond))
    while (stretch.sent < due) {
      const dueAt = beganAt + (stretch.sent / reload.perSecond) * 1_000
      open.push(sendOne(url, token, agent, stretch, dueAt))
      stretch.sent += 1
    }
    await delay(1)
  }
  await Promise.all(open)
  return stretch
}

async function sendOne(
  url: string,
  token: string,
  agent: Agent,
  stretch: Stretch,
  dueAt: number,
): Promise<void> {
  const { host, path } = shapeOf(7_501).sample
  const { promise, resolve } = Promise.withResolvers<number>()
  const headers = { host, authorization: `Bearer ${token}` }
  get(`${url}${path}`, { agent, headers }, (response) => {
    response.resume().once('end', () => resolve(response.statusCode ?? 0))
  }).once('error', () => resolve(0))
  if ((await promise) !== 200) stretch.lost += 1
  stretch.latenciesMs.push(performance.now() - dueAt)
}

/** The bundled configuration with one open route: what is asked of a request stands in the policy. */
async function envoyFor(gatepost: Gatepost, upstream: string): Promise<Envoy> {
  const clusters = { gatepost: gatepost.grpcAddress, user_service: upstream, order_service: upstream }
  const config = await bundledConfig('ext-authz', { listenerPort: 0, adminPort: 0, clusters })
  withOneRoute(config)
  return startEnvoy(config)
}

function withOneRoute(config: EnvoyConfig): void {
  const manager = config.static_resources.listeners[0]!.filter_chains[0]!.filters[0]!.typed_config as {
    route_config: { virtual_hosts: { routes: unknown[] }[] }
  }
  manager.route_config.virtual_hosts[0]!.routes = [
    { match: { prefix: '/' }, route: { cluster: 'user_service', timeout: '15s' } },
  ]
}

function reloads({ process: { lines } }: Gatepost): number {
  return lines.filter((line) => parseLogLine(line)?.message === 'file reloaded').length
}

async function measureReload(): Promise<number> {
  await using parts = new AsyncDisposableStack()
  const folder = parts.use(await tempFolder('bench-routes'))
  const file = join(folder.path, 'policy.yaml')
  await writeFile(file, policyText(10_000))
  const provider = parts.use(await startOpenIdProvider('oidc'))
  const upstream = parts.use(await startNginx(() => undefined))
  const gatepost = parts.use(
    await startGatepost({
      GATEPOST_EVENTS_LOG: '',
      OIDC_ISSUER: provider.issuer,
      OIDC_AUDIENCE: provider.audience,
      GATEPOST_POLICY_FILE: file,
    }),
  )
  const envoy = parts.use(await envoyFor(gatepost, upstream.address))
  const url = `http://${envoy.listeners['ingress']}`
  const agent = new Agent({ keepAlive: true })
  parts.defer(() => agent.destroy())
  const token = provider.signToken({})
  await sendFor(url, token, agent)

  const calm: Stretch[] = []
  const during: Stretch[] = []
  for (let round = 1; round <= reload.rounds; round += 1) {
    calm.push(await sendFor(url, token, agent))
    const before = reloads(gatepost)
    const sending = sendFor(url, token, agent)
    await delay(reload.afterMs)
    await writeFile(file, policyText(10_000, round))
    gatepost.process.signal('SIGHUP')
    during.push(await sending)
    await gatepost.process.until(() => (reloads(gatepost) > before ? true : undefined))
  }
  print(
    `${reload.rounds} rounds in turns, each ${reload.perSecond} requests a second for ${reload.seconds} s; latency from the moment a request was due.\n`,
  )
  print('| 10,000 routes | requests | lost | p50 ms | p99 ms, median | p99 ms, best | longest ms, median |')
  print('|---|---:|---:|---:|---:|---:|---:|')
  printStretches('without a reload', calm)
  printStretches('with one reload', during)
  return [...calm, ...during].reduce((sum, { lost }) => sum + lost, 0)
}

function printStretches(title: string, stretches: readonly Stretch[]): void {
  const sum = (read: (stretch: Stretch) => number) =>
    stretches.reduce((total, stretch) => total + read(stretch), 0)
  const [p50, p99, longest] = [0.5, 0.99, 1].map((share) =>
    spread(stretches.map(({ latenciesMs }) => percentile(latenciesMs, share))),
  )
  print(
    `| ${title} | ${whole(sum(({ sent }) => sent))} | ${sum(({ lost }) => lost)} | ${p50!.median.toFixed(1)} | ${p99!.median.toFixed(1)} | ${p99!.least.toFixed(1)} | ${longest!.median.toFixed(0)} |`,
  )
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}

function spread(values: readonly number[]): { least: number; median: number } {
  return { least: Math.min(...values), median: percentile(values, 0.5) }
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

print(
  `${new Date().toISOString().slice(0, 10)}, ${cpus().length} cores; Node ${process.versions.node}, Envoy ${newestEnvoy}.\n`,
)
measureLookups()
const lost = await measureReload()
process.exitCode = lost === 0 ? 0 : 1
