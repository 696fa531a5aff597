import { randomUUID } from 'node:crypto'
import { type OutgoingRequest, type Reply, sendHttp1 } from '../../demo/send.ts'
import type { GatewayEvent } from '../../src/core/events.ts'
import { type Envoy, startEnvoy } from './envoy.ts'
import { bundledConfig, type EnvoyConfig } from './envoy-config.ts'
import { type Gatepost, parseLogLine, startGatepost } from './gatepost.ts'
import { type OpenIdProvider, startOpenIdProvider } from './openid-provider.ts'
import { startUpstream, type Upstream } from './upstream.ts'

/** What a rig is made of. */
export interface RigOptions {
  /** A bundled configuration, such as `ext-authz`. */
  config: string
  /** Settings of Gatepost beside its issuer, its ports and its event log. */
  env?: Readonly<Record<string, string>>
  /** Changes the configuration in place, before Envoy sees it. */
  adjust?: (config: EnvoyConfig) => void
}

/** A real provider, a real Gatepost, a real Envoy by a bundled configuration, and an upstream that echoes. */
export interface Rig extends AsyncDisposable {
  provider: OpenIdProvider
  gatepost: Gatepost
  envoy: Envoy
  upstream: Upstream
  /** Sends a GET over HTTP/1.1, to the listener `ingress` unless another is named. */
  send(path: string, headers?: OutgoingRequest['headers'], listener?: string): Promise<Reply>
  /** Every event so far, each held against its schema. */
  events(): Promise<GatewayEvent[]>
  /**
   * The events of type `request.completed` by their path, once all that was sent before has been told: a last request
   * is sent after it, and waited for.
   */
  completed(path: string): Promise<GatewayEvent<'request.completed'>[]>
  /** What a scrape shows: the value of each series, by its name and labels as they stand there. */
  metrics(): Promise<Map<string, number>>
  /** The messages of Gatepost's log at level warn or above. */
  warnings(): string[]
}

/** Starts a rig. */
export async function startRig({ config: name, env = {}, adjust }: RigOptions): Promise<Rig> {
  await using parts = new AsyncDisposableStack()
  const provider = parts.use(await startOpenIdProvider('oidc'))
  const upstream = parts.use(await startUpstream({ name: 'upstream' }))
  const gatepost = parts.use(
    await startGatepost({
      OIDC_ISSUER: provider.issuer,
      OIDC_AUDIENCE: provider.audience,
      ...env,
    }),
  )
  const config = await bundledConfig(name, {
    listenerPort: 0,
    adminPort: 0,
    clusters: {
      gatepost: gatepost.grpcAddress,
      user_service: upstream.address,
      order_service: upstream.address,
    },
  })
  adjust?.(config)
  const envoy = parts.use(await startEnvoy(config))
  const owned = parts.move()

  const send: Rig['send'] = (path, headers = {}, listener = 'ingress') =>
    sendHttp1(`http://${envoy.listeners[listener]}`, { method: 'GET', path, headers })

  const { events } = gatepost

  return {
    provider,
    gatepost,
    envoy,
    upstream,
    send,
    events,

    async completed(path) {
      const last = `/public/${randomUUID()}`
      await send(last)
      return gatepost.process.until(async () => {
        const all = (await events()).filter(isCompleted)
        return all.some(({ data }) => data.path === last)
          ? all.filter(({ data }) => data.path === path)
          : undefined
      })
    },

    async metrics() {
      const text = await (await fetch(`http://${gatepost.adminAddress}/metrics`)).text()
      const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
      return new Map(
        lines.map((line) => {
          const at = line.lastIndexOf(' ')
          return [line.slice(0, at), Number(line.slice(at + 1))]
        }),
      )
    },

    warnings() {
      const lines = gatepost.process.lines.map(parseLogLine)
      return lines
        .filter((line) => line && /warn|error/.test(line.level))
        .map((line) => String(line?.message))
    },

    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function isCompleted(event: GatewayEvent): event is GatewayEvent<'request.completed'> {
  return event.event_type === 'request.completed'
}
