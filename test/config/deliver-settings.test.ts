import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { readDeliverSettings } from '../../src/config/deliver-settings.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'

let folder: TempFolder
let env: Record<string, string>
beforeAll(async () => {
  folder = await tempFolder('deliver-settings')
  const path = join(folder.path, 'webhooks.yaml')
  await writeFile(path, 'webhooks: []\n')
  env = {
    AMQP_URL: 'amqp://127.0.0.1',
    GATEPOST_WEBHOOK_QUEUE: 'rabbitmq',
    GATEPOST_WEBHOOKS_FILE: path,
    GATEPOST_SECRET_KEY: 'k'.repeat(43),
  }
})
afterAll(() => folder.remove())

test('what gatepost deliver needs is where webhooks wait, where they go, and the key; nobody to trust', () => {
  expect(readDeliverSettings(env)).toMatchObject({
    kind: 'settings',
    settings: { amqp: { first: 'amqp://127.0.0.1' }, drainTimeoutMs: 10_000 },
  })
})

test.each<[string, Record<string, string>, string]>([
  [
    'a queue that is not RabbitMQ',
    { GATEPOST_WEBHOOK_QUEUE: '' },
    'GATEPOST_WEBHOOK_QUEUE: gatepost deliver takes webhooks from RabbitMQ; set it to rabbitmq',
  ],
  ['no RabbitMQ', { AMQP_URL: '' }, 'GATEPOST_WEBHOOK_QUEUE: rabbitmq needs AMQP_URL, or AMQP_URL_FILE'],
  [
    'a RabbitMQ that a password would travel to in plain text',
    { AMQP_URL: 'amqp://rabbit.example' },
    'AMQP_URL: the connection to rabbit.example would be plain text',
  ],
  [
    'no key',
    { GATEPOST_SECRET_KEY: '' },
    'GATEPOST_WEBHOOK_QUEUE: rabbitmq needs GATEPOST_SECRET_KEY, or GATEPOST_SECRET_KEY_FILE',
  ],
  [
    'no file of endpoints',
    { GATEPOST_WEBHOOKS_FILE: '' },
    'GATEPOST_WEBHOOK_QUEUE: rabbitmq needs GATEPOST_WEBHOOKS_FILE',
  ],
  ['a variable that there is not', { GATEPOST_WEBHOOK_QUEU: 'x' }, 'GATEPOST_WEBHOOK_QUEU'],
])('%s is a problem', (_what, changes, problem) => {
  const result = readDeliverSettings({ ...env, ...changes })

  expect(result).toEqual({ kind: 'problems', problems: [expect.stringContaining(problem)] })
})
