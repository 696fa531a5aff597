import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect } from 'amqplib'
import { Kafka, logLevel } from 'kafkajs'
import { mendRequestQueue } from '../../src/events/sinks/kafkajs-mend.ts'
import type { Arrangement } from './arrangement.ts'

/** What is asked of an arrangement, one thing after the other. */
export interface Stop {
  title: string
  /** Its profile; undefined for what always runs. */
  profile?: string
  /** @throws with what was seen instead. */
  look: (arrangement: Arrangement, root: string) => Promise<void>
}

/** How long what comes by itself (an event, a scrape) may take on a machine that does something else as well. */
const patienceMs = 60_000

/** More than the policy of the sample lets pass in a minute. */
const manyRequests = 40

/** The walk, in its order: what waits for an event listens before it asks for one. */
export const stops: readonly Stop[] = [
  {
    title: 'a request with a token passes, and the upstream learns who it is',
    async look(arrangement) {
      const { status, text } = await get(arrangement, '/orders', await tokenFor(arrangement, 'read:orders'))

      expect(status === 200 && text.includes('"x-client-id": "sample-app"'), status, text)
    },
  },
  {
    title: 'a request without a token is refused',
    async look(arrangement) {
      const { status, text } = await get(arrangement, '/users/7')

      expect(status === 401 && text.includes('missing_token'), status, text)
    },
  },
  {
    title: 'a token without the scope of the route is refused',
    async look(arrangement) {
      const { status, text } = await get(arrangement, '/orders', await tokenFor(arrangement, 'read:users'))

      expect(status === 403 && text.includes('insufficient_scope'), status, text)
    },
  },
  {
    title: 'Gatepost explains a refusal by a command inside its container',
    async look(arrangement) {
      const explained = await arrangement.exec('gatepost', [
        'node',
        '/app/bin/gatepost.js',
        'explain',
        'GET',
        '/x',
      ])

      expect(
        explained.includes('says the gatepost that runs on') && explained.includes('refused: 401'),
        explained,
      )
    },
  },
  {
    title: 'an event goes to Kafka',
    profile: 'kafka',
    async look(arrangement) {
      mendRequestQueue()
      const brokers = [await arrangement.address('kafka', 9092)]
      const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING })
      const consumer = kafka.consumer({ groupId: 'walk', metadataMaxAge: 1_000 })
      const told = Promise.withResolvers<string>()
      await get(arrangement, '/users/kafka')
      await topicThere(arrangement, kafka, 'gateway.requests')
      await consumer.connect()
      try {
        await consumer.subscribe({ topic: 'gateway.requests', fromBeginning: true })
        await consumer.run({
          eachMessage: async ({ message }) => {
            if (`${message.value}`.includes('/users/kafka')) told.resolve(`${message.value}`)
          },
        })
        const event = JSON.parse(await within(told.promise, 'an event in the topic gateway.requests'))

        expect(
          event.event_type === 'request.completed' && event.data.status_code === 401,
          JSON.stringify(event),
        )
      } finally {
        await consumer.disconnect()
      }
    },
  },
  {
    title: 'an event goes to RabbitMQ, under the password that rabbitmq-secrets made',
    profile: 'rabbitmq',
    async look(arrangement) {
      const connection = await connect(
        readFileSync(join(arrangement.volume('rabbitmq-secrets'), 'amqp-url'), 'utf8'),
      )
      const told = Promise.withResolvers<string>()
      try {
        const channel = await connection.createChannel()
        await channel.assertExchange('gateway.events', 'topic', { durable: true })
        const { queue } = await channel.assertQueue('', { exclusive: true })
        await channel.bindQueue(queue, 'gateway.events', 'request.completed')
        await channel.consume(queue, (message) => {
          if (`${message?.content}`.includes('/users/rabbitmq')) told.resolve(`${message?.content}`)
        })
        await get(arrangement, '/users/rabbitmq')
        const event = JSON.parse(await within(told.promise, 'an event of the exchange gateway.events'))

        expect(
          event.event_type === 'request.completed' && event.data.status_code === 401,
          JSON.stringify(event),
        )
      } finally {
        const closed = once(connection, 'close')
        await connection.close()
        await closed
      }
    },
  },
  {
    title: 'a caller who asks too often is limited, and told when to come back',
    async look(arrangement) {
      const token = await tokenFor(arrangement, 'read:users')
      let last = await get(arrangement, '/users/7', token)
      for (let count = 1; last.status === 200 && count < manyRequests; count += 1)
        last = await get(arrangement, '/users/7', token)

      expect(last.status === 429 && last.retryAfter !== null, last.status, last.text)
    },
  },
  {
    title: 'Prometheus scrapes Gatepost and sees the requests',
    profile: 'observability',
    async look(arrangement) {
      const refused = await prometheus(
        arrangement,
        'sum(gateway_requests_total{status="429"})',
        ([value]) => Number(value) > 0,
      )

      expect(Number(refused[0]) > 0, String(refused))
    },
  },
  {
    title: 'Prometheus evaluates every alert, and none fires',
    profile: 'observability',
    async look(arrangement) {
      const response = await fetch(`http://${await arrangement.address('prometheus', 9090)}/api/v1/rules`)
      const { data } = (await response.json()) as {
        data: { groups: { rules: { name: string; health: string; state: string }[] }[] }
      }
      const rules = data.groups.flatMap((group) => group.rules)
      const odd = rules.filter(({ health, state }) => health === 'err' || state === 'firing')

      expect(rules.length > 0 && odd.length === 0, JSON.stringify(odd))
    },
  },
  {
    title: 'Prometheus answers every query of the dashboard',
    profile: 'observability',
    async look(arrangement, root) {
      for (const query of dashboardQueries(root)) await prometheus(arrangement, query, () => true)
    },
  },
]

/** The queries of the dashboard, its variables as Grafana fills them in at first. */
function dashboardQueries(root: string): string[] {
  const text = readFileSync(join(root, 'deploy/observability/grafana/dashboards/gatepost.json'), 'utf8')
  const { panels } = JSON.parse(text) as { panels: { targets?: { expr: string }[] }[] }
  return panels
    .flatMap(({ targets = [] }) => targets)
    .map(({ expr }) => expr.replaceAll('$__rate_interval', '1m').replaceAll(/\$(instance|route)/g, '.*'))
}

/** Asks Prometheus until its answer will do. @returns the values. */
async function prometheus(
  arrangement: Arrangement,
  query: string,
  isEnough: (values: readonly string[]) => boolean,
): Promise<string[]> {
  const address = await arrangement.address('prometheus', 9090)
  return await arrangement.process('prometheus').until(async () => {
    const response = await fetch(`http://${address}/api/v1/query?${new URLSearchParams({ query })}`)
    const { status, error, data } = (await response.json()) as {
      status: string
      error?: string
      data?: { result: { value: [number, string] }[] }
    }
    expect(status === 'success', query, error)
    const values = (data?.result ?? []).map(({ value }) => value[1])
    return isEnough(values) ? values : undefined
  }, patienceMs)
}

/** Gatepost makes its topics itself, in its own time: a consumer of one that is not there fails at once. */
async function topicThere(arrangement: Arrangement, kafka: Kafka, topic: string): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  try {
    await arrangement.process('kafka').until(async () => {
      const topics = await admin.listTopics()
      return topics.includes(topic) || undefined
    }, patienceMs)
  } finally {
    await admin.disconnect()
  }
}

async function tokenFor(arrangement: Arrangement, scope: string): Promise<string> {
  const response = await fetch(
    `http://${await arrangement.address('openid', 8084)}/sample-token?scope=${scope}`,
  )
  return (await response.text()).trim()
}

async function get(arrangement: Arrangement, path: string, token?: string) {
  const response = await fetch(`http://${await arrangement.address('envoy', 8080)}${path}`, {
    headers: { ...(token !== undefined && { authorization: `Bearer ${token}` }) },
  })
  const { status, headers } = response
  return { status, text: await response.text(), retryAfter: headers.get('retry-after') }
}

async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => late.reject(new Error(`There was not, within ${patienceMs} ms: ${what}`)),
    patienceMs,
  )
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

function expect(holds: boolean, ...seen: unknown[]): void {
  if (!holds) throw new Error(`Seen: ${seen.join(' ')}`)
}
