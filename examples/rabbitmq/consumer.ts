/**
 * Prints every event of Gatepost as a line of JSON, each once.
 *
 *     AMQP_URL=amqp://localhost node examples/rabbitmq/consumer.ts
 *
 * Start it before Gatepost sends: an event that no queue is bound for has nowhere to go. From then on the queue keeps
 * what comes while this is not running.
 */
import { type ChannelModel, type ConsumeMessage, connect } from 'amqplib'

const exchange = 'gateway.events'
const queue = 'gatepost-example'

/** Every event, or types such as `auth.failed` and `circuit_breaker.*`. */
const pattern = process.argv[2] ?? '#'

/** Events may come twice, soon after one another: after a lost connection, for one. */
const remembered = 10_000
const seen = new Set<string>()

async function consume(connection: ChannelModel): Promise<void> {
  const channel = await connection.createChannel()
  channel.on('error', (error) => console.error(error.message))
  // The exchange exactly as Gatepost declares it, whoever of the two comes first.
  await channel.assertExchange(exchange, 'topic', { durable: true })
  await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } })
  await channel.bindQueue(queue, exchange, pattern)
  await channel.prefetch(100)
  await channel.consume(queue, (message) => {
    if (!message) throw new Error(`The queue ${queue} was deleted`)
    handle(message)
    // Only now: what is not acknowledged comes again.
    channel.ack(message)
  })
  console.error(`waiting for ${pattern} in ${queue}`)
}

function handle({ content, properties }: ConsumeMessage): void {
  if (seen.has(properties.messageId)) return
  console.log(content.toString())
  seen.add(properties.messageId)
  const [oldest] = seen
  if (seen.size > remembered && oldest !== undefined) seen.delete(oldest)
}

const connection = await connect(process.env['AMQP_URL'] ?? 'amqp://localhost', {
  recovery: { setup: consume },
})
connection.on('disconnect', (error) => console.error(`disconnected: ${error.message}`))
