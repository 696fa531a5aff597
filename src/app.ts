import { hash, randomFillSync } from 'node:crypto'
import { hostname } from 'node:os'
import { startAdminServer, startStatusServer } from './admin/server.ts'
import type { Readiness } from './admin/status.ts'
import { writeAdminToken } from './admin/token.ts'
import { type Auth, openAuth } from './app-auth.ts'
import { type Events, needsSpool, openEvents } from './app-events.ts'
import { checkEndpoints } from './app-webhooks.ts'
import type { KeySetState } from './auth/key-set.ts'
import { createCircuits } from './circuit/circuits.ts'
import { type DataDir, openDataDir } from './config/data-dir.ts'
import type { EffectivePolicy } from './config/effective-policy.ts'
import { type FollowedFile, followFile } from './config/followed-file.ts'
import { issuerIdentifier } from './config/issuer-settings.ts'
import { nearest } from './config/nearest.ts'
import type { Settings } from './config/settings.ts'
import { webhookBodies } from './config/webhook-bodies.ts'
import type { CircuitView } from './core/circuit-view.ts'
import { type CircuitSpec, type Circuits, unguarded } from './core/circuits.ts'
import type { Clock } from './core/clock.ts'
import { explain } from './core/explain.ts'
import { type ExplainRequest, explainContext, explainOptions } from './core/explain-request.ts'
import type { Explanation } from './core/explanation.ts'
import { createGateway, type Gateway } from './core/gateway.ts'
import { showAddress } from './core/listen.ts'
import type { Logger } from './core/log.ts'
import { createQuota, type Quota } from './core/quota.ts'
import { createRoutes, type RoutePolicy, type Routes } from './core/routes.ts'
import { createAccessLog } from './envoy/access-log.ts'
import { createExtAuthz } from './envoy/ext-authz.ts'
import { createExtProc } from './envoy/ext-proc.ts'
import { createMutualTls } from './envoy/mutual-tls.ts'
import { createSeal } from './envoy/seal.ts'
import { startGrpcServer } from './envoy/server.ts'
import { createDecisionWatcher, type DecisionWatcher } from './observability/decisions.ts'
import { createMetrics, type Metrics } from './observability/metrics.ts'
import { createOutcomeRecorder } from './observability/outcomes.ts'
import { MemoryLimiter } from './ratelimit/memory.ts'
import type { Surroundings } from './surroundings.ts'

/** The running application. */
export interface App {
  /** Counts and logs a fault that reached nobody who was waiting for it. */
  unforeseen: (error: unknown) => void
  /** Rereads the policy file now. */
  reload: () => void
  /**
   * Says NOT_SERVING, serves on for the drain delay, lets calls under way finish within the drain timeout, and closes
   * everything.
   */
  stop(): Promise<void>
}

/**
 * Puts the concrete parts together and starts them. Resolves once Gatepost is ready: it listens, and the keys of each
 * issuer are loaded or their first fetch has failed.
 * @throws CannotStart
 */
export async function startApp(settings: Settings, surroundings: Surroundings): Promise<App> {
  const { clock, monotonicMs, loggers } = surroundings
  const log = loggers.named('gatepost')
  // What is opened later closes earlier: the doors first, the data folder last.
  await using opening = new AsyncDisposableStack()

  checkEndpoints(settings)
  let dataDir = takeDataDir(settings, log)
  opening.defer(() => dataDir?.close())
  const takeFolder = () => {
    dataDir ??= openDataDir(settings.dataDir)
    return dataDir.path
  }
  const adminToken = settings.admin.token ?? constant(writeAdminToken((dataDir as DataDir).path))

  const metrics = createMetrics({
    cachedTokens: () => auth.cache.size,
    issuers: () => auth.keyStates(),
    askedTokens: () => auth.answerCounts(),
    eventsWaiting: () => events.bus.depth,
    eventLogBytes: () => events.log?.bufferedBytes ?? 0,
    spoolBytes: () => events.spool?.bytes ?? 0,
    spoolBuffered: () => events.spool?.bufferedCharacters ?? 0,
    sinks: () => events.sinkGauges(),
    circuits: () => circuits.list(),
    webhooks: () => events.webhooks.gauges(),
  })
  const events = await openEvents(settings, surroundings, metrics, takeFolder)
  let drainEndsMs = 0
  opening.defer(() => events.close(Math.max(0, drainEndsMs - monotonicMs())))
  const auth = openAuth(settings, surroundings, metrics, dataDir?.path)
  opening.defer(() => auth.close())

  const routes = createRoutes(settings.policy.first.routes)
  const circuits = createCircuits({
    clock,
    publish: events.bus.publish,
    logger: loggers.named('circuit'),
    random: Math.random,
    replica: hostname(),
  })
  opening.defer(() => circuits.close())
  circuits.declare(guardedServices(settings.policy.first.routes))
  const policyFile = followPolicy(settings, surroundings, async ({ issuers, routes: next }) => {
    await auth.adopt(issuers)
    routes.replace(next)
    circuits.declare(guardedServices(next))
  })
  opening.defer(() => policyFile?.close())
  const limiter = new MemoryLimiter({ onOverflow: () => metrics.limitOverflows.inc() })

  const quota = createQuota({
    limiter,
    hash: sha256,
    publish: events.bus.publish,
    events: settings.rateLimitEvents,
  })
  const gateway = createGateway({
    routes,
    authenticate: auth.authenticate,
    credentialHeaders: auth.credentialHeaders,
    circuits,
    quota,
    publish: events.bus.publish,
    onOutcome: createOutcomeRecorder(metrics),
    onShadowFault: (error, request) => watcher.faulted(request.door, error, request),
    tellsShadow: settings.shadowHeader,
    randomId,
    now: clock.now,
  })
  const watcher = createDecisionWatcher({
    metrics,
    logger: loggers.named('decision'),
    logsDecisions: settings.log.level === 'debug',
    now: clock.now,
  })

  const stage = { ready: false, draining: false }
  const readiness = () => describe(stage, auth.keyStates(), watcher, circuits.list(), events)
  const http = { readiness, metrics: () => scrape(metrics), logger: loggers.named('admin') }
  const admin = await startAdminServer(settings.admin.address, {
    ...http,
    token: adminToken,
    circuits,
    explain: createExplain({ routes, auth, circuits, quota, now: clock.now }),
    webhooks: { admin: events.webhooks.admin, bodies: webhookBodies },
    nearest,
  })
  opening.defer(() => admin.close())
  const status = settings.statusAddress && (await startStatusServer(settings.statusAddress, http))
  opening.defer(() => status?.close())

  const { check, process, accessLog } = createDoors(settings, surroundings, gateway, watcher, metrics)
  opening.defer(() => accessLog.flush())
  const grpc = await startGrpcServer({
    ...settings.grpc,
    tls: settings.grpc.tls && createMutualTls(settings.grpc.tls, { clock, logger: loggers.named('grpc') }),
    check,
    process,
    takeBatch: accessLog.takeBatch,
    onReply: watcher.replied,
    monotonicMs,
  })
  opening.defer(() => grpc.close(settings.drain.timeoutMs))

  await auth.start()
  stage.ready = true
  grpc.health.serving = true
  log.info(
    {
      grpc_address: showAddress(grpc.address),
      admin_address: showAddress(admin.address),
      ...(status && { status_address: showAddress(status.address) }),
      auth: settings.policy.first.routes.defaults.auth,
      issuers: settings.policy.first.issuers.map(issuerIdentifier),
      routes: settings.policy.first.routes.routes.length,
      observer: settings.observer,
    },
    'ready',
  )

  const running = opening.move()
  return {
    unforeseen(error) {
      metrics.faults.inc({ part: 'internal' })
      log.error({ exception: error }, 'unforeseen fault')
    },
    reload() {
      void policyFile?.reload()
      events.webhooks.reload()
    },
    async stop() {
      stage.draining = true
      grpc.health.serving = false
      log.info({ delay_ms: settings.drain.delayMs, timeout_ms: settings.drain.timeoutMs }, 'stopping')
      await delay(clock, settings.drain.delayMs)
      drainEndsMs = monotonicMs() + settings.drain.timeoutMs
      await running.disposeAsync()
      log.info({}, 'stopped')
    },
  }
}

/** Follows the policy file, if there is one; a bad one is refused and the old stays. */
function followPolicy(
  { policy: { path, first, read } }: Settings,
  { clock, loggers }: Surroundings,
  adopt: (policy: EffectivePolicy) => Promise<void>,
): FollowedFile<EffectivePolicy> | undefined {
  if (path === undefined) return undefined
  const logger = loggers.named('policy')
  let adopting: Promise<void> = Promise.resolve()
  const onChange = (policy: EffectivePolicy) => {
    adopting = adopting
      .then(() => adopt(policy))
      .catch((error: unknown) => logger.error({ exception: error }, 'policy not adopted'))
  }
  return followFile(path, first, { read, clock, logger, onChange })
}

/** What explaining is made of in this process. */
export interface ExplainSources {
  routes: Routes
  auth: Pick<Auth, 'explainer' | 'credentialHeaders'>
  circuits: Pick<Circuits, 'peek'>
  quota: Quota
  now: () => number
}

/** Makes the answer to `POST /api/explain`; issuers are asked only where the request says so. */
export function createExplain({ routes, auth, circuits, quota, now }: ExplainSources) {
  return (asked: ExplainRequest): Promise<Explanation> => {
    const authenticate = auth.explainer(asked.ask_issuers === true)
    const parts = { routes, authenticate, credentialHeaders: auth.credentialHeaders, circuits, quota }
    return explain(parts, explainContext(asked, now()), explainOptions(asked))
  }
}

/**
 * Explains without a running Gatepost, from the configuration alone: counters are as new, and no issuer's keys are
 * known unless the request says that they may be asked for.
 */
export async function explainOffline(
  settings: Settings,
  surroundings: Surroundings,
  asked: ExplainRequest,
): Promise<Explanation> {
  const metrics = createMetrics({
    cachedTokens: zero,
    askedTokens: none,
    issuers: none,
    eventsWaiting: zero,
    eventLogBytes: zero,
    spoolBytes: zero,
    spoolBuffered: zero,
    sinks: none,
    circuits: none,
    webhooks: none,
  })
  const auth = openAuth(settings, surroundings, metrics, undefined)
  const limiter = new MemoryLimiter()
  const quota = createQuota({ limiter, hash: sha256, publish: () => undefined, events: 'first' })
  const routes = createRoutes(settings.policy.first.routes)
  try {
    if (asked.ask_issuers) await auth.start()
    const circuits = { peek: () => unguarded }
    return await createExplain({ routes, auth, circuits, quota, now: surroundings.clock.now })(asked)
  } finally {
    auth.close()
  }
}

/** The services that the policy names with a circuit. */
export function guardedServices({ routes }: RoutePolicy): ReadonlyMap<string, CircuitSpec> {
  const services = new Map<string, CircuitSpec>()
  for (const { spec } of routes) if (spec.service && spec.circuit) services.set(spec.service, spec.circuit)
  return services
}

function zero(): number {
  return 0
}

function none(): never[] {
  return []
}

/** The doors by which Envoy comes in. */
function createDoors(
  { clientAddress, observer: wanted }: Settings,
  { clock, loggers }: Surroundings,
  { decide, observe }: Gateway,
  watcher: DecisionWatcher,
  metrics: Metrics,
) {
  const seal = createSeal()
  const toOne = oneObserver(wanted, observe, metrics, loggers.named('observer'))
  const common = { decide, observer: watcher, seal, clientAddress, now: clock.now }
  return {
    check: createExtAuthz(common),
    process: createExtProc({ ...common, observe: toOne }),
    accessLog: createAccessLog({
      observe: toOne,
      onIgnored: (why, count) => metrics.ignoredOutcomes.inc({ why }, count),
      observer: watcher,
      seal,
      clientAddress,
      defer: setImmediate,
    }),
  }
}

/** Lets the declared observer through; what a second one tells would count every request twice. */
function oneObserver(
  wanted: Settings['observer'],
  observe: Gateway['observe'],
  metrics: Metrics,
  logger: Logger,
): Gateway['observe'] {
  const warned = new Set<string>()
  return (outcome) => {
    const { observer } = outcome
    if (observer === wanted) return observe(outcome)
    metrics.ignoredOutcomes.inc({ why: observer })
    if (warned.has(observer)) return
    warned.add(observer)
    logger.warn({ observer, wanted }, 'a second observer is attached; GATEPOST_OBSERVER says whom to believe')
  }
}

/**
 * Takes the data folder: a duty where events or the admin token must be written, a help where only keys are kept in it.
 * @throws CannotStart where it is a duty.
 */
function takeDataDir(settings: Settings, log: Logger): DataDir | undefined {
  const isDuty = settings.admin.token === undefined || needsSpool(settings)
  if (!isDuty && settings.policy.first.issuers.length === 0) return undefined
  try {
    return openDataDir(settings.dataDir)
  } catch (error) {
    if (isDuty) throw error
    log.warn({ exception: error }, 'no data folder: issuer keys are not kept across restarts')
    return undefined
  }
}

function describe(
  { ready, draining }: { ready: boolean; draining: boolean },
  issuers: readonly (readonly [string, KeySetState])[],
  { doorsSeen }: DecisionWatcher,
  circuits: readonly CircuitView[],
  events: Pick<Events, 'describeSinks' | 'webhooks'>,
): Readiness {
  const doors = [...doorsSeen].map(([door, seenAtMs]) => [
    door,
    { last_seen: new Date(seenAtMs).toISOString() },
  ])
  return {
    ready: ready && !draining,
    detail: {
      draining,
      issuers: Object.fromEntries(issuers),
      doors: Object.fromEntries(doors),
      circuits: Object.fromEntries(
        circuits.map(({ service, state, unobserved }) => [
          service,
          { state, ...(unobserved && { unobserved }) },
        ]),
      ),
      sinks: events.describeSinks(),
      webhooks: events.webhooks.describe(),
    },
  }
}

async function scrape({ registry }: Metrics): Promise<{ contentType: string; text: string }> {
  return { contentType: registry.contentType, text: await registry.metrics() }
}

function constant<T>(value: T): () => T {
  return () => value
}

function sha256(text: string): string {
  return hash('sha256', text, 'base64url')
}

const idBytes = 16

// One call for many ids: asking the system for each costs more than the rest of it.
const randomPool = Buffer.allocUnsafe(256 * idBytes)
let poolAt = randomPool.length

/** 128 random bits in hex. */
function randomId(): string {
  if (poolAt === randomPool.length) {
    randomFillSync(randomPool)
    poolAt = 0
  }
  poolAt += idBytes
  return randomPool.toString('hex', poolAt - idBytes, poolAt)
}

async function delay(clock: Clock, ms: number): Promise<void> {
  if (ms === 0) return
  const { promise, resolve } = Promise.withResolvers<void>()
  clock.after(ms, resolve)
  await promise
}
