import { join } from 'node:path'
import type { Progress } from '../test/support/cache.ts'
import { type Envoy, startEnvoy } from '../test/support/envoy.ts'
import { type Gatepost, startGatepost, waitUntilReady } from '../test/support/gatepost.ts'
import { type Nginx, startNginx } from '../test/support/nginx.ts'
import { type OpenIdProvider, startOpenIdProvider } from '../test/support/openid-provider.ts'
import { tempFolder } from '../test/support/temp.ts'
import { envoyConfig } from './envoy.ts'
import { type RunningSetup, type Setup, type SetupName, setups } from './setups.ts'
import { type Traffic, writeTraffic } from './traffic.ts'

/** Everything that one benchmark runs; it ends, last started first, when its `await using` scope closes. */
export interface Stack extends AsyncDisposable {
  envoy: Envoy
  upstream: Nginx
  setups: readonly RunningSetup[]
  /** The Gatepost that ghz calls, if that was asked for. */
  checked: Gatepost | undefined
  traffic: Traffic
}

/** What to start. */
export interface StackOptions {
  names: readonly SetupName[]
  /** Start a Gatepost for ghz as well. */
  check: boolean
  /** Write every setup's events to a file. */
  events: boolean
  /** The environment of every Gatepost beside its settings, such as NODE_OPTIONS. */
  environment: Readonly<Record<string, string>>
  progress: Progress
}

/**
 * Starts the identity provider, the upstream, a Gatepost for each setup that has one, and one Envoy with a listener for
 * each setup; and makes sure that each setup does its work: it lets a good token pass and, but for Envoy alone, no
 * request without one.
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { names, check, progress } = options
  await using parts = new AsyncDisposableStack()
  const folder = parts.use(await tempFolder('bench'))
  const provider = parts.use(await startOpenIdProvider('auth0'))
  const traffic = await writeTraffic(provider, folder.path)
  const upstream = parts.use(await startNginx(progress))

  const start = async (env: Record<string, string>) => {
    const common = { GATEPOST_EVENTS_LOG: '', ...issuerOf(provider), ...options.environment }
    const gatepost = parts.use(await startGatepost({ ...common, ...env }))
    await waitUntilReady(gatepost)
    return gatepost
  }
  const eventsFile = (name: SetupName) => (options.events ? join(folder.path, `${name}.jsonl`) : undefined)
  const gateposts = new Map<SetupName, Gatepost>()
  for (const name of names) {
    const { gatepost }: Setup = setups[name]
    const file = eventsFile(name)
    if (gatepost)
      gateposts.set(name, await start({ ...gatepost, ...(file && { GATEPOST_EVENTS_LOG: file }) }))
  }
  const checked = check ? await start({}) : undefined

  const addresses = new Map([...gateposts].map(([name, { grpcAddress }]) => [name, grpcAddress]))
  const config = await envoyConfig({ names, provider, upstream: upstream.address, gateposts: addresses })
  const envoy = parts.use(await startEnvoy(config, { progress }))
  const running = names.map((name) => ({
    name,
    title: setups[name].title,
    url: `http://${envoy.listeners[name]}`,
    gatepost: gateposts.get(name),
    eventsFile: eventsFile(name),
  }))
  for (const setup of running) await proveThatItWorks(setup, traffic)

  const owned = parts.move()
  return {
    envoy,
    upstream,
    setups: running,
    checked,
    traffic,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function issuerOf({ origin, audience }: OpenIdProvider): Record<string, string> {
  return { AUTH0_DOMAIN: origin, AUTH0_AUDIENCE: audience }
}

/** @throws where a setup refuses a good token, or asks for none: its figures would say nothing. */
async function proveThatItWorks({ name, url }: RunningSetup, { tokens }: Traffic): Promise<void> {
  const authorization = `Bearer ${tokens[0]}`
  const good = await fetch(`${url}/users/42`, { headers: { authorization } })
  const bare = await fetch(`${url}/users/42`)
  const expected = name === 'alone' ? 200 : 401
  if (good.status === 200 && bare.status === expected) return
  throw new Error(
    `Cannot measure ${name}: with a good token it answered ${good.status}, not 200; ` +
      `without one ${bare.status}, not ${expected}`,
  )
}
