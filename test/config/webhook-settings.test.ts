import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { readSettings, type Settings } from '../../src/config/settings.ts'
import { tempFolder } from '../support/temp.ts'

const open = { GATEPOST_AUTH: 'none' }
const key = 'k'.repeat(43)

function problems(env: Record<string, string>): readonly string[] {
  const result = readSettings({ ...open, ...env })
  return result.kind === 'problems' ? result.problems : []
}

function webhooks(env: Record<string, string>): Settings['webhooks'] {
  const result = readSettings({ ...open, ...env })
  if (result.kind === 'problems') throw new Error(result.problems.join('\n'))
  return result.settings.webhooks
}

describe('webhooks in the environment', () => {
  test('are none unless a file says so, wait in the data folder and go to public addresses alone', () => {
    expect(webhooks({})).toMatchObject({ first: [], queue: 'embedded', allowPrivate: false })
    expect(webhooks({})).not.toHaveProperty('path')
  })

  test('are those of the file', async () => {
    await using folder = await tempFolder('webhooks')
    const path = join(folder.path, 'webhooks.yaml')
    await writeFile(path, 'webhooks: [{id: a, url: "https://x.example/", secret: "${' + 'HOOK}"}]\n')

    const read = webhooks({
      GATEPOST_WEBHOOKS_FILE: path,
      GATEPOST_WEBHOOK_ALLOW_PRIVATE: 'true',
      GATEPOST_SECRET_KEY: key,
      HOOK: 'a-secret-0123456789',
    })

    expect(read).toMatchObject({ path, allowPrivate: true, first: [{ id: 'a', url: 'https://x.example/' }] })
    expect(read.first[0]?.secrets[0]?.value()).toBe('a-secret-0123456789')
  })

  test('are refused with the variable, the file and the place', async () => {
    await using folder = await tempFolder('webhooks')
    const path = join(folder.path, 'webhooks.yaml')
    await writeFile(
      path,
      'webhooks:\n  - {id: a, url: "http://x.example/", secret: "plain-text-0123456789"}\n',
    )

    const found = problems({ GATEPOST_WEBHOOKS_FILE: path, GATEPOST_SECRET_KEY: key })

    expect(found).toEqual([
      expect.stringMatching(
        /^GATEPOST_WEBHOOKS_FILE: .+webhooks\.yaml:2:18: webhook "a": url: .+ plain http/,
      ),
      expect.stringMatching(/^GATEPOST_WEBHOOKS_FILE: .+:2:5: webhook "a": secret: it stands in plain text/),
    ])
  })

  test('whose file is not there say so', () => {
    expect(problems({ GATEPOST_WEBHOOKS_FILE: '/nowhere.yaml' })).toEqual([
      'GATEPOST_WEBHOOKS_FILE: /nowhere.yaml: cannot read it: ENOENT',
    ])
  })

  test('that wait in RabbitMQ need to know where it is, where they go, and a key to authenticate them', async () => {
    await using folder = await tempFolder('webhooks')
    const path = join(folder.path, 'webhooks.yaml')
    await writeFile(path, 'webhooks: []\n')

    expect(problems({ GATEPOST_WEBHOOK_QUEUE: 'rabbitmq' })).toEqual([
      'GATEPOST_WEBHOOK_QUEUE: rabbitmq needs GATEPOST_WEBHOOKS_FILE, the only place that says where webhooks go',
      'GATEPOST_WEBHOOK_QUEUE: rabbitmq needs AMQP_URL, or AMQP_URL_FILE',
      'GATEPOST_WEBHOOK_QUEUE: rabbitmq needs GATEPOST_SECRET_KEY, or GATEPOST_SECRET_KEY_FILE',
    ])
    expect(
      webhooks({
        GATEPOST_WEBHOOK_QUEUE: 'rabbitmq',
        GATEPOST_WEBHOOKS_FILE: path,
        AMQP_URL: 'amqp://127.0.0.1',
        GATEPOST_SECRET_KEY: key,
      }),
    ).toMatchObject({ queue: 'rabbitmq', rabbit: { path, secretKey: { first: key } } })
  })

  test('that wait nowhere known are refused', () => {
    expect(problems({ GATEPOST_WEBHOOK_QUEUE: 'kafka' })).toEqual([
      'GATEPOST_WEBHOOK_QUEUE: "kafka" does not do, it must be one of embedded, rabbitmq',
    ])
  })
})
