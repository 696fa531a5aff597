import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals'
import Database from 'better-sqlite3'
import { countInto, type Events, openEvents } from '../src/app-events.ts'
import type { Environment } from '../src/config/environment.ts'
import { readSettings } from '../src/config/settings.ts'
import type { GatewayEvent, Happening } from '../src/core/events.ts'
import { createMetrics, type Metrics } from '../src/observability/metrics.ts'
import { systemClock } from '../src/surroundings.ts'
import { createLogLines, type LogLines } from './support/log-lines.ts'
import { noSources } from './support/metrics.ts'
import { freePort } from './support/ports.ts'
import { type TempFolder, tempFolder } from './support/temp.ts'
import { until } from './support/until.ts'

// A thread is started, on machines that may be busy.
jest.setTimeout(60_000)

const completed = (userId: string): Happening<'request.completed'> => ({
  type: 'request.completed',
  atMs: Date.UTC(2030, 0, 1),
  requestId: '',
  data: {
    method: 'GET',
    path: '/',
    status_code: 200,
    duration_ms: 1,
    user_id: userId,
    client_ip: '192.0.2.7',
    route: 'r',
    decision: 'allow',
  },
})

let folder: TempFolder
let lines: LogLines
beforeEach(async () => {
  folder = await tempFolder('events')
  lines = createLogLines()
})
afterEach(() => folder.remove())

describe('with an event log, and a broker that was never there,', () => {
  let events: Events
  let metrics: Metrics
  beforeEach(async () => {
    metrics = createMetrics({
      ...noSources,
      sinks: () => events.sinkGauges(),
      spoolBytes: () => events.spool?.bytes ?? 0,
    })
    events = await open({ AMQP_URL: `amqp://gatepost:hush@127.0.0.1:${await freePort()}` })
  })

  async function open(env: Environment): Promise<Events> {
    const read = readSettings({
      GATEPOST_AUTH: 'none',
      GATEPOST_DATA_DIR: folder.path,
      GATEPOST_EVENTS_LOG: join(folder.path, 'events.jsonl'),
      GATEPOST_EVENTS_PRIVACY: 'user_id=drop,client_ip=hash',
      GATEPOST_SECRET_KEY: 'k'.repeat(43),
      ...env,
    })
    if (read.kind === 'problems') throw new Error(read.problems.join('\n'))
    const loggers = { named: () => lines.logger, flush: () => undefined }
    const surroundings = { clock: systemClock, monotonicMs: () => performance.now(), loggers }
    return openEvents(read.settings, surroundings, metrics, () => folder.path)
  }

  const logged = () =>
    readFileSync(join(folder.path, 'events.jsonl'), 'utf8')
      .split('\n')
      .filter((line) => line !== '')

  function spooled(): string[] {
    const database = new Database(join(folder.path, 'spool.db'))
    const rows = database.prepare<[], string>('SELECT events FROM log ORDER BY position').pluck().all()
    database.close()
    return rows.flatMap((row) => row.split('\n'))
  }

  test('metrics and details say what waits, since when, and that it fails; nothing tells the password', async () => {
    events.bus.publish(completed('alice'))
    await until(() => events.sinkGauges().some(([, { queued, failing }]) => failing && queued === 1))

    const text = await metrics.registry.metrics()
    const details = events.describeSinks()
    await events.close(0)

    expect(text).toContain('gateway_sink_queued_events{sink="rabbitmq"} 1')
    expect(text).toContain('gateway_sink_failing{sink="rabbitmq"} 1')
    expect(text).toMatch(/gateway_sink_oldest_event_age_seconds\{sink="rabbitmq"\} \d*\.?\d+/)
    expect(details).toMatchObject({ rabbitmq: { queued: 1, failing: true, sent: 0, dropped: {} } })
    const told = lines.lines.map(({ message, fields: { exception } }) => `${message} ${exception}`).join('\n')
    expect(told).toContain('events not delivered')
    expect(told).not.toContain('hush')
  })

  test('what was published last is in both at the end, as redacted for each', async () => {
    for (const user of ['alice', 'bob']) events.bus.publish(completed(user))

    await events.close(0)

    expect(logged()).toHaveLength(2)
    expect(spooled()).toEqual(logged())
    const data = logged().map((line) => (JSON.parse(line) as GatewayEvent<'request.completed'>).data)
    expect(data.map(({ user_id }) => user_id)).toEqual([undefined, undefined])
    expect(data.map(({ client_ip }) => client_ip)).toEqual(
      data.map(() => expect.stringMatching(/^[\w-]{43}$/)),
    )
    expect(new Set(data.map(({ client_ip }) => client_ip)).size).toBe(1)
  })

  test('what comes after the end is counted where it is lost', async () => {
    await events.close(0)

    events.bus.publish(completed('alice'))
    events.bus.flush()

    const text = await metrics.registry.metrics()
    for (const sink of ['log', 'spool']) {
      expect(text).toContain(`gateway_events_dropped_total{sink="${sink}",type="request.completed"} 1`)
    }
  })
})

test('what the spool has done is counted by sink and type, each in its own metric', async () => {
  const metrics = createMetrics(noSources)
  const done = { sent: 5, retried: 2, dropped: { 'auth.failed': 3 }, setAside: { 'request.completed': 4 } }

  countInto(metrics, { damaged: 1, failures: 6, sinks: new Map([['kafka', done]]) })

  const text = await metrics.registry.metrics()
  const found = [
    'gateway_sink_events_sent_total{sink="kafka"} 5',
    'gateway_sink_retries_total{sink="kafka"} 2',
    'gateway_events_dropped_total{sink="kafka",type="auth.failed"} 3',
    'gateway_sink_events_set_aside_total{sink="kafka",type="request.completed"} 4',
  ].filter((line) => text.includes(line))
  expect(found).toHaveLength(4)
  expect(text).toMatch(/gateway_spool_damaged\w* 1\n/)
  expect(text).toMatch(/gateway_spool_failures\w* 6\n/)
})
