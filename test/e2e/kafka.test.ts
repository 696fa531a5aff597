import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { Broker, LoggedEvent, Refusal } from '../../src/events/sinks/broker.ts'
import { createKafkaBroker, type KafkaParts } from '../../src/events/sinks/kafka.ts'
import type { KafkaSettings } from '../../src/events/sinks/kafka-session.ts'
import { createAuthority } from '../support/certificates.ts'
import { type Kafka, kafkaStranger, kafkaUser, startKafka, type TopicRecord } from '../support/kafka.ts'
import { loggedEvent, loggedEvents } from '../support/logged-events.ts'
import { freePort } from '../support/ports.ts'
import { RunningProcess } from '../support/process.ts'
import { type ProxiedWay, startToxiproxy, type Toxiproxy } from '../support/toxiproxy.ts'

const authority = createAuthority('the authority of this run')
const never = new AbortController().signal
const progress = (message: string) => process.stderr.write(`${message}\n`)

let kafka: Kafka
let toxiproxy: Toxiproxy
/** The way that every client takes which asks the listener `proxied`. */
let way: ProxiedWay

beforeAll(async () => {
  const proxyPort = await freePort()
  toxiproxy = await startToxiproxy(progress)
  kafka = await startKafka({ progress, proxyPort, tls: authority.issue('kafka', { ips: ['127.0.0.1'] }) })
  way = await toxiproxy.wayTo(kafka.address('proxied'), proxyPort)
  await kafka.administer((admin) => admin.createTopics({ topics: [{ topic: 'gateway.requests' }] }))
}, 300_000)

afterAll(async () => {
  await kafka?.stop()
  await toxiproxy?.stop()
})

/** Lets a test use a broker, and closes it afterwards. */
async function using<T>(
  settings: Partial<KafkaSettings>,
  use: (broker: Broker) => Promise<T>,
  parts: Partial<KafkaParts> = {},
): Promise<T> {
  const whole: KafkaSettings = {
    brokers: [kafka.address('plain')],
    tls: false,
    allowPlaintext: false,
    createTopics: false,
    ...settings,
  }
  const broker = createKafkaBroker(whole, { log: { debug() {}, info() {} }, ...parts })
  try {
    return await use(broker)
  } finally {
    await broker.close()
  }
}

/** Delivers as the reader of the spool does: again and again until it is done. */
async function insist(broker: Broker, events: readonly LoggedEvent[]): Promise<readonly Refusal[]> {
  for (;;) {
    try {
      return await broker.deliver(events, never)
    } catch {
      // Nothing is certain: all of it goes again.
    }
  }
}

/** What a topic holds of these events, without the second and later copies. */
async function firstCopies(topic: string, events: readonly LoggedEvent[]): Promise<TopicRecord[]> {
  const wanted = new Set(events.map(({ id }) => id))
  const records = await kafka.records(topic)
  return records.filter(({ headers }) => wanted.delete(headers['ce_id'] ?? ''))
}

/** The ids of records, by their keys. */
function idsByKey(records: readonly { key: string; id: string }[]): Record<string, string[]> {
  const keys = Map.groupBy(records, ({ key }) => key)
  return Object.fromEntries([...keys].map(([key, those]) => [key, those.map(({ id }) => id)]))
}

async function expectAllInOrder(topic: string, events: readonly LoggedEvent[]): Promise<void> {
  const records = await firstCopies(topic, events)
  const there = records.map(({ key, headers }) => ({ key, id: headers['ce_id'] ?? '' }))
  const expected = events.map(({ id, clientId = '' }) => ({ key: clientId, id }))
  expect(idsByKey(there)).toEqual(idsByKey(expected))
}

describe('an event on its topic', () => {
  test('is the envelope byte by byte, under its client id, with its CloudEvents attributes', async () => {
    const event = loggedEvent({ clientId: 'foobar', json: '{"id":"1","text":"Grüße"}' })

    const refusals = await using({}, (broker) => broker.deliver([event], never))

    expect(refusals).toEqual([])
    expect(await firstCopies('gateway.requests', [event])).toEqual([
      {
        key: 'foobar',
        value: event.json,
        partition: expect.any(Number),
        headers: {
          ce_specversion: '1.0',
          ce_id: event.id,
          ce_type: 'request.completed',
          ce_source: 'urn:gatepost',
          ce_time: event.timestamp,
          ce_subject: 'foobar',
          'content-type': 'application/json',
        },
      },
    ])
  })

  test.each([
    // murmur2 of the key as Kafka's own UtilsTest has it, without its sign, modulo the three partitions.
    ['21', (-973932308 & 0x7fffffff) % 3],
    ['foobar', (-790332482 & 0x7fffffff) % 3],
    ['abc', (479470107 & 0x7fffffff) % 3],
  ])('lies where a Java client would put the key %s', async (clientId, partition) => {
    const event = loggedEvent({ clientId })

    await using({}, (broker) => broker.deliver([event], never))

    expect(await firstCopies('gateway.requests', [event])).toMatchObject([{ partition }])
  })

  test('comes once, and after those that were handed over before it', async () => {
    const events = Array.from({ length: 2_000 }, (_, index) =>
      loggedEvent({ clientId: `client-${index % 7}` }),
    )

    await using({}, async (broker) => {
      await broker.deliver(events.slice(0, 1_200), never)
      await broker.deliver(events.slice(1_200), never)
    })

    const records = await kafka.records('gateway.requests')
    const ids = new Set(events.map(({ id }) => id))
    expect(records.filter(({ headers }) => ids.has(headers['ce_id'] ?? ''))).toHaveLength(2_000)
    await expectAllInOrder('gateway.requests', events)
  })
})

describe('events that are too large', () => {
  beforeAll(async () => {
    const configEntries = [{ name: 'max.message.bytes', value: '4096' }]
    await kafka.administer((admin) =>
      admin.createTopics({ topics: [{ topic: 'gateway.circuit_breakers', configEntries }] }),
    )
  })

  const type = 'circuit_breaker.opened'

  test('are refused, and they alone', async () => {
    const events = [
      ...loggedEvents(4, { type }),
      loggedEvent({ type, padding: 12_000 }),
      ...loggedEvents(6, { type }),
      loggedEvent({ type, padding: 12_000 }),
    ]

    const refusals = await using({}, (broker) => broker.deliver(events, never))

    const reason = expect.stringContaining('MESSAGE_TOO_LARGE')
    expect(refusals).toEqual([
      { index: 4, reason },
      { index: 11, reason },
    ])
    await expectAllInOrder(
      'gateway.circuit_breakers',
      events.filter((_, index) => index !== 4 && index !== 11),
    )
  })

  test('only together are sent in smaller numbers', async () => {
    const events = loggedEvents(12, { type, padding: 2_000 })

    const refusals = await using({}, (broker) => broker.deliver(events, never))

    expect(refusals).toEqual([])
    await expectAllInOrder('gateway.circuit_breakers', events)
  })
})

describe('a topic that does not exist', () => {
  test('keeps the events, and is named with the ways out', async () => {
    const delivery = using({}, (broker) => broker.deliver([loggedEvent({ type: 'auth.failed' })], never))

    await expect(delivery).rejects.toThrow(
      'Cannot deliver to Kafka (gateway.auth): the topic gateway.auth does not exist; create it, or set KAFKA_CREATE_TOPICS=true',
    )
  })

  test('is created where that was asked for, with the partitions that the broker gives', async () => {
    const event = loggedEvent({ type: 'rate_limit.exceeded' })

    await using({ createTopics: true }, (broker) => broker.deliver([event], never))

    const { topics } = await kafka.administer((admin) =>
      admin.fetchTopicMetadata({ topics: ['gateway.rate_limits'] }),
    )
    expect(topics[0]?.partitions).toHaveLength(3)
    expect(await firstCopies('gateway.rate_limits', [event])).toHaveLength(1)
  })
})

describe('SASL', () => {
  const brokers = () => [kafka.address('sasl')]
  test.each(['plain', 'scram-sha-256', 'scram-sha-512'] as const)('by %s', async (mechanism) => {
    const event = loggedEvent()
    const sasl = { mechanism, username: kafkaUser.name }

    await using({ brokers: brokers(), sasl }, (broker) => broker.deliver([event], never), {
      password: () => kafkaUser.password,
    })

    expect(await firstCopies('gateway.requests', [event])).toHaveLength(1)
  })

  test.each(['plain', 'scram-sha-256'] as const)(
    'with a wrong password is told, without the password, and the right one serves once it is there: %s',
    async (mechanism) => {
      const event = loggedEvent()
      let password = 'wrong-one'
      const sasl = { mechanism, username: kafkaUser.name }

      const failure = await using(
        { brokers: brokers(), sasl },
        async (broker) => {
          const error: unknown = await broker.deliver([event], never).catch((thrown: unknown) => thrown)
          password = kafkaUser.password
          await broker.deliver([event], never)
          return String(error)
        },
        { password: () => password },
      )

      expect(failure).toMatch(/authentication failed.*check KAFKA_SASL_MECHANISM/)
      expect(failure).not.toContain('wrong-one')
      expect(await firstCopies('gateway.requests', [event])).toHaveLength(1)
    },
  )

  test('of a user who has no right to the topic is told with the rights that it takes', async () => {
    const sasl = { mechanism: 'scram-sha-256', username: kafkaStranger.name } as const

    const delivery = using({ brokers: brokers(), sasl }, (broker) => broker.deliver([loggedEvent()], never), {
      password: () => kafkaStranger.password,
    })

    await expect(delivery).rejects.toThrow(
      /the topic gateway\.requests is not this user's to use; allow the operations Describe and Write/,
    )
  })

  test('where the broker asks for it and none is set is told', async () => {
    const delivery = using({ brokers: brokers() }, (broker) => broker.deliver([loggedEvent()], never))

    await expect(delivery).rejects.toThrow(/KAFKA_SASL_MECHANISM/)
  })
})

describe('TLS', () => {
  test('by an authority that Node trusts', async () => {
    const event = loggedEvent()
    const before = getCACertificates('default')
    setDefaultCACertificates([...before, authority.cert])
    try {
      const sasl = { mechanism: 'scram-sha-512', username: kafkaUser.name } as const
      const line = await using(
        { brokers: [kafka.address('sasl_tls')], tls: true, sasl, createTopics: true },
        async (broker) => {
          await broker.deliver([event], never)
          return broker.probe(never)
        },
        { password: () => kafkaUser.password },
      )

      expect(line).toMatch(
        /^1 broker; TLS; scram-sha-512 as gatepost; topics .*gateway\.requests.*; to be created: .*gateway\.auth/,
      )
    } finally {
      setDefaultCACertificates(before)
    }
    expect(await firstCopies('gateway.requests', [event])).toHaveLength(1)
  })

  test('by an authority that Node does not know is told, with the way to make it known', async () => {
    const delivery = using({ brokers: [kafka.address('tls')], tls: true }, (broker) =>
      broker.deliver([loggedEvent()], never),
    )

    await expect(delivery).rejects.toThrow(/NODE_EXTRA_CA_CERTS/)
  })

  test('to a listener without it is told', async () => {
    const delivery = using({ tls: true }, (broker) => broker.deliver([loggedEvent()], never))

    await expect(delivery).rejects.toThrow(/KAFKA_TLS/)
  })
})

describe('when the network fails', () => {
  test('a batch whose answer was lost does not swallow the next one of the same size', async () => {
    // The trap: kafkajs counts the sequence numbers of the lost one back, and the broker, which has stored it, takes
    // whatever comes next under them for a copy, says yes and drops it.
    const lost = loggedEvents(5)
    const next = loggedEvents(5)
    await using(
      { brokers: [way.address] },
      async (broker) => {
        await broker.deliver(loggedEvents(1), never)
        await way.poison({ type: 'timeout', attributes: { timeout: 0 } })
        await expect(broker.deliver(lost, never)).rejects.toThrow('no answer within 1500 ms')
        await way.heal()

        await insist(broker, next)
      },
      { runLimitMs: 1_500 },
    )

    await expectAllInOrder('gateway.requests', lost)
    await expectAllInOrder('gateway.requests', next)
  })

  test('a black hole ends when the signal aborts, and the next call finds its way', async () => {
    const event = loggedEvent()
    await using({ brokers: [way.address] }, async (broker) => {
      await way.poison({ type: 'timeout', attributes: { timeout: 0 } })
      const controller = new AbortController()
      const delivery = broker.deliver([event], controller.signal)
      controller.abort(new Error('time to stop'))
      await expect(delivery).rejects.toThrow('time to stop')
      await way.heal()

      await insist(broker, [event])
    })

    expect(await firstCopies('gateway.requests', [event])).toHaveLength(1)
  })

  test.each([
    ['resets connections', { type: 'reset_peer', attributes: { timeout: 0 } }],
    ['cuts answers short', { type: 'limit_data', attributes: { bytes: 20 } }],
  ] as const)('that %s loses nothing', async (_what, toxic) => {
    const events = loggedEvents(50)
    await using({ brokers: [way.address] }, async (broker) => {
      await broker.deliver(events.slice(0, 25), never)
      await way.poison(toxic)
      await expect(broker.deliver(events.slice(25), never)).rejects.toThrow('Cannot deliver to Kafka')
      await way.heal()

      await insist(broker, events.slice(25))
    })

    await expectAllInOrder('gateway.requests', events)
  })

  test('and most brokers of the list are gone, the one that is left is found', async () => {
    const event = loggedEvent()
    const dead = `127.0.0.1:${await freePort()}`

    await using({ brokers: [dead, dead, dead, dead, kafka.address('plain')] }, (broker) =>
      insist(broker, [event]),
    )

    expect(await firstCopies('gateway.requests', [event])).toHaveLength(1)
  })
})

test('a broker that is killed under way and comes back has every event, in order', async () => {
  const batches = Array.from({ length: 40 }, () =>
    Array.from({ length: 100 }, (_, index) => loggedEvent({ clientId: `client-${index % 5}` })),
  )
  let restarted: Promise<void> | undefined
  const killAndRestart = async () => {
    await kafka.kill()
    await kafka.start()
  }

  await using({}, async (broker) => {
    for (const [number, batch] of batches.entries()) {
      // Not waited for: the kill comes while a batch is under way.
      if (number === 10) restarted = killAndRestart()
      await insist(broker, batch)
    }
  })
  await restarted

  await expectAllInOrder('gateway.requests', batches.flat())
}, 60_000)

describe('a probe', () => {
  test('tells of the topics that miss', async () => {
    await expect(using({}, (broker) => broker.probe(never))).rejects.toThrow(
      /^Cannot use Kafka at 127\.0\.0\.1:\d+: .*gateway\.auth.* does not exist; create it, or set KAFKA_CREATE_TOPICS=true$/,
    )
  })

  test('tells of a broker that is not there, with its address', async () => {
    const dead = `127.0.0.1:${await freePort()}`

    const probe = using({ brokers: [dead] }, (broker) => broker.probe(never))

    await expect(probe).rejects.toThrow(
      `Cannot use Kafka at ${dead}: Connection error: connect ECONNREFUSED ${dead}; check KAFKA_BROKERS, and the addresses that the brokers advertise`,
    )
  })
})

test('the example consumer prints each event once, whatever is delivered twice', async () => {
  const topic = 'gateway.rate_limits'
  await kafka.administer((admin) => admin.createTopics({ topics: [{ topic }] }))
  await using consumer = new RunningProcess({
    name: 'the example',
    command: process.execPath,
    args: ['examples/kafka/consumer.ts', topic],
    env: { PATH: process.env['PATH'], KAFKA_BROKERS: kafka.address('plain') },
  })
  const [first, second, last] = loggedEvents(3, { type: 'rate_limit.exceeded' })
  if (!first || !second || !last) throw new Error('three events were asked for')

  await using({}, async (broker) => {
    await broker.deliver([first, second], never)
    await broker.deliver([first], never)
    await broker.deliver([last], never)
  })
  await consumer.line((line) => line.includes(last.id))

  const ours = consumer.lines.filter((line) => [first, second, last].some(({ id }) => line.includes(id)))
  expect(ours).toEqual([first.json, second.json, last.json])
  expect(consumer.lines.filter((line) => line.includes('Warning'))).toEqual([])
})
