import { join } from 'node:path'
import { runGatepost } from '../test/support/command.ts'
import { startEnvoy } from '../test/support/envoy.ts'
import { bundledConfig } from '../test/support/envoy-config.ts'
import { startGatepost, waitUntilReady } from '../test/support/gatepost.ts'
import { type OpenIdProvider, startOpenIdProvider } from '../test/support/openid-provider.ts'
import { isFree } from '../test/support/ports.ts'
import type { RunningProcess } from '../test/support/process.ts'
import { tempFolder } from '../test/support/temp.ts'
import { startUpstream } from '../test/support/upstream.ts'
import {
  type Certificates,
  type DemoFiles,
  writeCertificates,
  writeEnvironment,
  writeFiles,
} from './files.ts'
import { addDemoListeners, type Doors, doorsOf } from './listeners.ts'
import { introspectionCacheTtl } from './policy.ts'
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

/** The demo's providers: one for each way to name an issuer, and one in the policy, whose tokens are opaque. */
export type Providers = Record<'auth0' | 'okta' | 'oidc' | 'partner', OpenIdProvider>

/** Everything the demo runs. It ends, last started first, when its `await using` scope closes. */
export interface Stack extends AsyncDisposable {
  attachment: Attachment
  doors: Doors
  providers: Providers
  /** What Gatepost was told: its whole configuration, but for addresses and logs. */
  environment: Readonly<Record<string, string>>
  /** With what commands of `gatepost` find the running one. */
  cli: Cli
  files: DemoFiles
  certificates: Certificates
  /** Made by `gatepost keys new`. */
  apiKey: string
  /** The admin API. */
  admin: { address: string; tokenFile: string }
  /** The processes that must not end while the demo runs. */
  processes: readonly RunningProcess[]
  /** Its log and its events are among its lines. */
  gatepost: RunningProcess
}

/** An environment, and the file that holds it for `node --env-file`. */
export interface Cli {
  environment: Readonly<Record<string, string>>
  file: string
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

  const { path: folder } = parts.use(await tempFolder('demo'))
  const providers: Providers = {
    auth0: parts.use(await startOpenIdProvider('auth0')),
    okta: parts.use(await startOpenIdProvider('okta')),
    oidc: parts.use(await startOpenIdProvider('oidc')),
    partner: parts.use(await startOpenIdProvider('oidc')),
  }
  const users = parts.use(await startUpstream({ name: 'user_service', port: ports.user_service }))
  const orders = parts.use(await startUpstream({ name: 'order_service', port: ports.order_service }))
  const { key: apiKey, entry } = await makeApiKey()
  const files = await writeFiles(folder, providers.partner, entry)
  const certificates = await writeCertificates(folder)
  const environment = settings(providers, files)
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
  await addDemoListeners(config, deciders[attachment], certificates)
  const envoy = parts.use(
    await startEnvoy(config, { progress: (message) => print(paint('dim', `… ${message}`)) }),
  )

  const cli = await writeEnvironment(folder, {
    ...environment,
    GATEPOST_ADMIN_ADDRESS: gatepost.adminAddress,
    GATEPOST_DATA_DIR: gatepost.dataFolder,
  })

  const owned = parts.move()
  return {
    attachment,
    doors: doorsOf(envoy.listeners),
    providers,
    environment,
    cli,
    files,
    certificates,
    apiKey,
    admin: { address: gatepost.adminAddress, tokenFile: join(gatepost.dataFolder, 'admin-token') },
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
function settings({ auth0, okta, oidc }: Providers, { policy, apiKeys }: DemoFiles): Record<string, string> {
  return {
    AUTH0_DOMAIN: auth0.origin,
    AUTH0_AUDIENCE: auth0.audience,
    OKTA_DOMAIN: okta.origin,
    OKTA_AUDIENCE: okta.audience,
    OIDC_ISSUER: oidc.issuer,
    OIDC_AUDIENCE: oidc.audience,
    GATEPOST_POLICY_FILE: policy,
    GATEPOST_API_KEYS_FILE: apiKeys,
    GATEPOST_CLIENT_CERT: 'principal',
    GATEPOST_SHADOW_HEADER: 'true',
    GATEPOST_INTROSPECTION_CACHE_TTL: introspectionCacheTtl.text,
  }
}

/** Makes a key as a user would: by the command. */
async function makeApiKey(): Promise<{ key: string; entry: unknown }> {
  const args = ['keys', 'new', '--client-id', 'batch-job', '--scopes', 'read:orders', '--json']
  const { code, stdout, stderr } = await runGatepost(args)
  if (code === 0) return JSON.parse(stdout) as { key: string; entry: unknown }
  throw new Error(`Cannot make an API key: gatepost keys new ended with ${code}\n${stderr}`)
}

/** The filter that attaches Gatepost in each configuration. */
const deciders: Readonly<Record<Attachment, string>> = {
  'ext-authz': 'envoy.filters.http.ext_authz',
  'ext-proc': 'envoy.filters.http.ext_proc',
  full: 'envoy.filters.http.ext_authz',
}
