import { randomBytes } from 'node:crypto'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Makes a password for RabbitMQ, once: its own configuration and the URL for Gatepost, in the folder that the two share
 * and nobody else does.
 * Usage: node rabbitmq-secrets.ts FOLDER HOST:PORT
 */
const [folder = '/run/rabbitmq', address = 'rabbitmq:5672'] = process.argv.slice(2)

if (!existsSync(join(folder, 'amqp-url'))) {
  const password = randomBytes(24).toString('hex')
  // The two run as different users: the volume is what keeps others out.
  write('rabbitmq.conf', `default_user = gatepost\ndefault_pass = ${password}\n`)
  write('amqp-url', `amqp://gatepost:${password}@${address}`)
}

function write(name: string, text: string): void {
  writeFileSync(join(folder, name), text, { mode: 0o444 })
}
