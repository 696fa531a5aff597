import { type BrokerSettings, createBrokers } from './brokers.ts'
import type { Probe, ProbeResult } from './cli/check.ts'
import type { Logger } from './core/log.ts'
import { systemClock } from './surroundings.ts'

/** How long a broker may take to answer, in milliseconds. */
const patienceMs = 10_000

/** What a probe finds is its result; nothing is logged beside. */
const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}

/** Lists what is tried of the brokers that events go to: whether each can be reached and used. */
export function probesOfBrokers({ kafka, amqp }: BrokerSettings): Probe[] {
  return [
    ...(kafka ? [{ subject: 'kafka', run: () => probe({ kafka }) }] : []),
    ...(amqp ? [{ subject: 'rabbitmq', run: () => probe({ amqp }) }] : []),
  ]
}

async function probe(settings: BrokerSettings): Promise<ProbeResult> {
  const brokers = await createBrokers(settings, { clock: systemClock, logger: silent })
  try {
    const found = await Promise.all(brokers.map((broker) => broker.probe(AbortSignal.timeout(patienceMs))))
    return { outcome: 'ok', detail: found.join('\n') }
  } catch (error) {
    return { outcome: 'unreachable', detail: (error as Error).message }
  } finally {
    await Promise.all(brokers.map((broker) => broker.close()))
  }
}

/** How one sink stands, as `/readyz` tells it. */
interface SinkDetail {
  queued?: number
  oldest_age_seconds?: number
  failing?: boolean
  sent?: number
  dropped?: Readonly<Record<string, number>>
  set_aside?: Readonly<Record<string, number>>
}

/** Says how the sinks of a running Gatepost stand, a line for each. */
export function describeSinks(sinks: Readonly<Record<string, SinkDetail>>): string[] {
  return Object.entries(sinks).map(([name, sink]) => {
    const { queued = 0, oldest_age_seconds: age = 0, failing, sent = 0, dropped = {}, set_aside = {} } = sink
    const parts = [
      ...(failing ? ['failing'] : []),
      `${sent} sent`,
      queued > 0 ? `${queued} queued, the oldest for ${Math.round(age)} s` : 'none queued',
      `${sum(dropped)} dropped`,
      `${sum(set_aside)} set aside`,
    ]
    return `sink ${name}: ${parts.join(', ')}`
  })
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0)
}
