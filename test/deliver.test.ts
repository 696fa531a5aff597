import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { type DeliverSettings, readDeliverSettings } from '../src/config/deliver-settings.ts'
import { startDelivery } from '../src/deliver.ts'
import { systemClock } from '../src/surroundings.ts'
import { createLogLines } from './support/log-lines.ts'
import { type TempFolder, tempFolder } from './support/temp.ts'
import { until } from './support/until.ts'

const endpointAt = (url: string) => `webhooks: [{ id: hook, url: "${url}", secret: "\${HOOK_SECRET}" }]\n`

let folder: TempFolder
let path: string
beforeEach(async () => {
  folder = await tempFolder('deliver')
  path = join(folder.path, 'webhooks.yaml')
})
afterEach(() => folder.remove())

async function settingsFor(url: string): Promise<DeliverSettings> {
  await writeFile(path, endpointAt(url))
  const result = readDeliverSettings({
    // Nothing listens there: it is waited for.
    AMQP_URL: 'amqp://127.0.0.1:1',
    GATEPOST_WEBHOOK_QUEUE: 'rabbitmq',
    GATEPOST_WEBHOOKS_FILE: path,
    GATEPOST_SECRET_KEY: 'k'.repeat(43),
    GATEPOST_STATUS_ADDRESS: '',
    HOOK_SECRET: 's'.repeat(32),
  })
  if (result.kind === 'problems') throw new Error(result.problems.join('\n'))
  return result.settings
}

function surroundings() {
  const { logger, lines } = createLogLines()
  const loggers = { named: () => logger, flush: () => undefined }
  return { lines, parts: { clock: systemClock, monotonicMs: () => performance.now(), loggers } }
}

test('a file that leads inward keeps a worker from starting, as it keeps Gatepost', async () => {
  const settings = await settingsFor('https://169.254.169.254/hook')

  await expect(startDelivery(settings, surroundings().parts)).rejects.toThrow(
    /^GATEPOST_WEBHOOKS_FILE: webhook "hook": url: 169\.254\.169\.254 is not a public address/,
  )
})

test('a file that comes to lead inward is refused, and the old one stays', async () => {
  const { lines, parts } = surroundings()
  const delivery = await startDelivery(await settingsFor('https://hooks.example.com/hook'), parts)

  await writeFile(path, endpointAt('https://10.0.0.1/hook'))
  delivery.reload()
  await until(() => JSON.stringify(lines).includes('10.0.0.1 is not a public address'))
  await delivery.stop()

  const refused = lines.filter((line) => JSON.stringify(line).includes('10.0.0.1'))
  expect(refused[0]?.level).toBe('error')
})
