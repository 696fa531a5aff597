import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { newApiKey } from '../../src/auth/api-keys.ts'
import { mendRequestQueue } from '../../src/events/sinks/kafkajs-mend.ts'
import type { Progress } from '../support/cache.ts'
import { type Envoy, startEnvoy } from '../support/envoy.ts'
import { bundledConfig } from '../support/envoy-config.ts'
import { type Gatepost, startGatepost, waitUntilReady } from '../support/gatepost.ts'
import { type Kafka, startKafka } from '../support/kafka.ts'
import { startNginx } from '../support/nginx.ts'
import { freePort } from '../support/ports.ts'
import { type RabbitMq, startRabbitMq } from '../support/rabbitmq.ts'
import { tempFolder } from '../support/temp.ts'
import { type ProxiedWay, startToxiproxy } from '../support/toxiproxy.ts'

/** Both brokers, an Envoy by the bundled `ext-authz` configuration, and an upstream; no Gatepost yet. */
export interface Stage extends AsyncDisposable {
  kafka: Kafka
  rabbit: RabbitMq
  /** The ways that Gatepost takes to the brokers. */
  ways: { kafka: ProxiedWay; rabbitmq: ProxiedWay }
  envoy: Envoy
  /** Where requests are sent to. */
  origin: string
  /** Keys of good callers by their client ids. */
  keys: ReadonlyMap<string, string>
  /** Starts a Gatepost from its sources where Envoy looks for one, and waits until it is ready. */
  startGatepost(dataFolder: string): Promise<Gatepost>
}

const clientCount = 8

/** Starts everything but Gatepost. */
export async function startStage(progress: Progress = () => {}): Promise<Stage> {
  // For the consumers of this process, which else keep it busy while it measures.
  mendRequestQueue()
  await using parts = new AsyncDisposableStack()
  const folder = parts.use(await tempFolder('stage'))
  const proxyPort = await freePort()
  const toxiproxy = parts.use(await startToxiproxy(progress))
  const kafka = parts.use(await startKafka({ progress, proxyPort }))
  const rabbit = parts.use(await startRabbitMq(progress))
  const ways = {
    kafka: await toxiproxy.wayTo(kafka.address('proxied'), proxyPort),
    rabbitmq: await toxiproxy.wayTo(rabbit.address, await freePort()),
  }
  const upstream = parts.use(await startNginx(progress))
  const grpcAddress = `127.0.0.1:${await freePort()}`
  const config = await bundledConfig('ext-authz', {
    listenerPort: 0,
    adminPort: 0,
    clusters: { gatepost: grpcAddress, user_service: upstream.address, order_service: upstream.address },
  })
  const envoy = parts.use(await startEnvoy(config, { progress }))
  const { keys, file } = await writeKeys(folder.path)
  const owned = parts.move()
  return {
    kafka,
    rabbit,
    ways,
    envoy,
    origin: `http://${envoy.listeners['ingress']}`,
    keys,
    async startGatepost(dataFolder) {
      const gatepost = await startGatepost({
        GATEPOST_GRPC_ADDRESS: grpcAddress,
        GATEPOST_DATA_DIR: dataFolder,
        GATEPOST_EVENTS_LOG: '',
        GATEPOST_API_KEYS_FILE: file,
        KAFKA_BROKERS: ways.kafka.address,
        AMQP_URL: `amqp://guest:guest@${ways.rabbitmq.address}`,
      })
      await waitUntilReady(gatepost)
      return gatepost
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

async function writeKeys(folder: string): Promise<{ keys: Map<string, string>; file: string }> {
  const keys = new Map<string, string>()
  const entries = Array.from({ length: clientCount }, (_, at) => {
    const { key, id, hash } = newApiKey()
    const client_id = `client-${at}`
    keys.set(client_id, key)
    return { id, client_id, hash }
  })
  const file = join(folder, 'keys.yaml')
  await writeFile(file, JSON.stringify({ keys: entries }))
  return { keys, file }
}

/** How the sinks of a Gatepost stand, as `/readyz` tells it. */
interface Readiness {
  sinks: Record<string, { queued: number; failing: boolean }>
}

/** How long everything may take to arrive once brokers are there again: two of the reader's longest pauses. */
const settleLimitMs = 120_000

/** Nothing new for so long, which is several of Envoy's flush intervals, means that nothing is on its way. */
const quietMs = 1_000

/** Waits until Envoy has told everything, and every broker has it. */
export async function untilSettled(gatepost: Gatepost): Promise<void> {
  let last = ''
  let sinceMs = performance.now()
  await gatepost.process.until(async () => {
    const { sinks } = (await (await fetch(`http://${gatepost.adminAddress}/readyz`)).json()) as Readiness
    const metrics = await metricsOf(gatepost)
    const told = [...metrics].filter(([series]) => series.startsWith('gateway_events_total')).join()
    if (told !== last) sinceMs = performance.now()
    last = told
    const isQuiet = performance.now() - sinceMs >= quietMs
    const isEmpty = Object.values(sinks).every(({ queued, failing }) => queued === 0 && !failing)
    return isQuiet && isEmpty && metrics.get('gateway_spool_buffered_characters') === 0 ? true : undefined
  }, settleLimitMs)
}

/** What a scrape shows: the value of each series, by its name and labels as they stand there. */
export async function metricsOf({
  adminAddress,
}: Pick<Gatepost, 'adminAddress'>): Promise<Map<string, number>> {
  const text = await (await fetch(`http://${adminAddress}/metrics`)).text()
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ')
      return [line.slice(0, at), Number(line.slice(at + 1))]
    }),
  )
}
