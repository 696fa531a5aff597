import { startEnvoy } from '../test/support/envoy.ts'
import {
  bundledConfig,
  copyCluster,
  copyListener,
  type EnvoyConfig,
  httpFilter,
} from '../test/support/envoy-config.ts'
import { startGatepost, waitUntilReady } from '../test/support/gatepost.ts'
import { type OpenIdProvider, startOpenIdProvider } from '../test/support/openid-provider.ts'
import { freePort, isFree } from '../test/support/ports.ts'
import type { RunningProcess } from '../test/support/process.ts'
import { startUpstream } from '../test/support/upstream.ts'
import { paint, print } from './style.ts'

/** The bundled Envoy configurations that the demo can show. */
export const attachments = ['ext-authz', 'ext-proc', 'full'] as const

/** One of the bundled Envoy configurations. */
export type Attachment = (typeof attachments)[number]

/** What the demo is asked to start. */
export interface StackOptions {
  attachment: Attachment
  /** Envoy's port; every other port is then free. Undefined: the ports of the bundled configuration. */
  port: number | undefined
}

/** Where Envoy listens: as shipped, and twice more with a Gatepost that is down. */
export interface Doors {
  ingress: string
  /** Gatepost is down and `failure_mode_allow` is on. */
  faultAllowed: string
  /** Gatepost is down and `failure_mode_allow` is off. */
  faultRefused: string
}

/** The demo's providers, one for each way to name an issuer. */
export type Providers = Record<'auth0' | 'okta' | 'oidc', OpenIdProvider>

/** Everything the demo runs. It ends, last started first, when its `await using` scope closes. */
export interface Stack extends AsyncDisposable {
  attachment: Attachment
  doors: Doors
  providers: Providers
  /** What Gatepost was told about issuers: its whole configuration. */
  environment: Readonly<Record<string, string>>
  /** The processes that must not end while the demo runs. */
  processes: readonly RunningProcess[]
  /** Its log and its events are among its lines. */
  gatepost: RunningProcess
}

const fixedPorts = {
  Envoy: 8080,
  "Envoy's admin": 9901,
  Gatepost: 9001,
  "Gatepost's admin": 9002,
  user_service: 8081,
  order_service: 8082,
}

type Ports = typeof fixedPorts

/**
 * Starts the providers, the upstreams, Gatepost and Envoy, each when those it needs are up.
 * @throws when a port is taken or a part does not start; whatever was started by then is ended.
 */
export async function startStack({ attachment, port }: StackOptions): Promise<Stack> {
  const ports = port === undefined ? fixedPorts : freePortsBut(port)
  await requireFree(ports)
  await using parts = new AsyncDisposableStack()

  const providers: Providers = {
    auth0: parts.use(await startOpenIdProvider('auth0')),
    okta: parts.use(await startOpenIdProvider('okta')),
    oidc: parts.use(await startOpenIdProvider('oidc')),
  }
  const users = parts.use(await startUpstream({ name: 'user_service', port: ports.user_service }))
  const orders = parts.use(await startUpstream({ name: 'order_service', port: ports.order_service }))
  const environment = issuerSettings(providers)
  const gatepost = parts.use(
    await startGatepost({
      ...environment,
      GATEPOST_EVENTS_LOG: 'stdout',
      LOG_LEVEL: 'debug',
      GATEPOST_GRPC_ADDRESS: `127.0.0.1:${ports.Gatepost}`,
      GATEPOST_ADMIN_ADDRESS: `127.0.0.1:${ports["Gatepost's admin"]}`,
    }),
  )
  await waitUntilReady(gatepost)
  const config = await bundledConfig(attachment, {
    listenerPort: ports.Envoy,
    adminPort: ports["Envoy's admin"],
    clusters: {
      gatepost: gatepost.grpcAddress,
      user_service: users.address,
      order_service: orders.address,
    },
  })
  await addFaultListeners(config, deciders[attachment])
  const envoy = parts.use(
    await startEnvoy(config, { progress: (message) => print(paint('dim', `… ${message}`)) }),
  )

  const owned = parts.move()
  return {
    attachment,
    doors: doorsOf(envoy.listeners),
    providers,
    environment,
    processes: [gatepost.process, envoy.process],
    gatepost: gatepost.process,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function freePortsBut(envoy: number): Ports {
  const free = Object.fromEntries(Object.keys(fixedPorts).map((part) => [part, 0])) as Ports
  return { ...free, Envoy: envoy }
}

async function requireFree(ports: Ports): Promise<void> {
  const taken: string[] = []
  for (const [part, port] of Object.entries(ports)) {
    if (!(await isFree(port))) taken.push(`127.0.0.1:${port} (${part})`)
  }
  if (taken.length === 0) return
  throw new Error(
    `Cannot start the demo: somebody else listens on ${taken.join(', ')}. Give Envoy another port, and ` +
      'every other one is chosen free: npm run demo -- --port 8090',
  )
}

/** As a user would set it, but for the plain http, which Gatepost accepts on loopback only. */
function issuerSettings({ auth0, okta, oidc }: Providers): Record<string, string> {
  return {
    AUTH0_DOMAIN: auth0.origin,
    AUTH0_AUDIENCE: auth0.audience,
    OKTA_DOMAIN: okta.origin,
    OKTA_AUDIENCE: okta.audience,
    OIDC_ISSUER: oidc.issuer,
    OIDC_AUDIENCE: oidc.audience,
  }
}

/** The filter that attaches Gatepost in each configuration. */
const deciders: Readonly<Record<Attachment, string>> = {
  'ext-authz': 'envoy.filters.http.ext_authz',
  'ext-proc': 'envoy.filters.http.ext_proc',
  full: 'envoy.filters.http.ext_authz',
}

/** Two copies of the shipped listener that ask a Gatepost where nothing listens: one lets faults pass, one does not. */
async function addFaultListeners(config: EnvoyConfig, decider: string): Promise<void> {
  copyCluster(config, { from: 'gatepost', name: 'gatepost_down', address: `127.0.0.1:${await freePort()}` })
  for (const [name, allow] of [
    ['fault_allowed', true],
    ['fault_refused', false],
  ] as const) {
    const filter = httpFilter(copyListener(config, { from: 'ingress', name }), decider)
    const service = filter['grpc_service'] as { envoy_grpc: { cluster_name: string } }
    service.envoy_grpc.cluster_name = 'gatepost_down'
    filter['failure_mode_allow'] = allow
  }
}

function doorsOf(listeners: Readonly<Record<string, string>>): Doors {
  const url = (name: string) => `http://${listeners[name]}`
  return { ingress: url('ingress'), faultAllowed: url('fault_allowed'), faultRefused: url('fault_refused') }
}
