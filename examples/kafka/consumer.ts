/**
 * Prints every event of Gatepost as a line of JSON, each once.
 *
 *     KAFKA_BROKERS=localhost:9092 node examples/kafka/consumer.ts
 *
 * It understands the KAFKA_… variables that Gatepost does, and takes topics as arguments; without any, it reads those of
 * Gatepost's that are there when it starts. Consumers of the same group share the partitions; the group begins with the
 * oldest event and goes on where it was.
 */
import { Kafka, logLevel, type SASLOptions } from 'kafkajs'

const groupId = 'gatepost-example'
const {
  KAFKA_BROKERS: brokers = 'localhost:9092',
  KAFKA_TLS: tls,
  KAFKA_SASL_MECHANISM: mechanism,
  KAFKA_SASL_USERNAME: username,
  KAFKA_SASL_PASSWORD: password,
} = process.env

/** Events may come twice, soon after one another: after a lost connection, for one. */
const remembered = 10_000
const seen = new Set<string>()

// kafkajs 2.2.4 asks Node for a negative delay (its issue 1751), which does no harm; other warnings are still told.
const emitWarning = process.emitWarning
process.emitWarning = ((...args: Parameters<typeof emitWarning>) => {
  if (!args.includes('TimeoutNegativeWarning')) emitWarning(...args)
}) as typeof emitWarning

const kafka = new Kafka({
  clientId: groupId,
  brokers: brokers.split(','),
  ssl: tls === 'true',
  ...(mechanism && { sasl: { mechanism, username, password } as SASLOptions }),
  logLevel: logLevel.ERROR,
})
const topics = process.argv.length > 2 ? process.argv.slice(2) : await topicsThere()
if (topics.length === 0) {
  console.error(
    'none of the topics is there yet: Gatepost makes them with its first event (KAFKA_CREATE_TOPICS=true)',
  )
  process.exit(1)
}
const consumer = kafka.consumer({ groupId })
await consumer.connect()
await consumer.subscribe({ topics, fromBeginning: true })
consumer.on('consumer.group_join', ({ payload }) => {
  console.error(`waiting for ${Object.keys(payload.memberAssignment).join(', ')}`)
})
await consumer.run({
  // The offset is committed once this has returned: what it throws for comes again.
  eachMessage: async ({ message: { headers, value } }) => {
    const id = String(headers?.['ce_id'])
    if (seen.has(id)) return
    console.log(String(value))
    seen.add(id)
    const [oldest] = seen
    if (seen.size > remembered && oldest !== undefined) seen.delete(oldest)
  },
})

async function topicsThere(): Promise<string[]> {
  const admin = kafka.admin()
  await admin.connect()
  const there = await admin.listTopics()
  await admin.disconnect()
  return there.filter((name) => name.startsWith('gateway.'))
}
