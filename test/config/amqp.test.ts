import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { followAmqpUrl } from '../../src/config/amqp.ts'
import type { Environment } from '../../src/config/environment.ts'
import { readSettings } from '../../src/config/settings.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'

let folder: TempFolder
beforeAll(async () => {
  folder = await tempFolder('amqp')
})
afterAll(() => folder.remove())

function read(env: Environment) {
  return readSettings({ GATEPOST_AUTH: 'none', ...env })
}

function amqp(env: Environment) {
  const result = read(env)
  if (result.kind === 'problems') throw new Error(result.problems.join('\n'))
  return result.settings.amqp
}

function problems(env: Environment): readonly string[] {
  const result = read(env)
  return result.kind === 'problems' ? result.problems : []
}

test('without AMQP_URL there is no RabbitMQ', () => {
  expect(amqp({})).toBeUndefined()
})

test('settings can be handed to a worker thread and made live there', () => {
  const settings = structuredClone(amqp({ AMQP_URL: 'amqps://user:secret@mq.example.com/events' }))

  expect(settings && followAmqpUrl(settings)()).toMatchObject({ hostname: 'mq.example.com', vhost: 'events' })
})

describe('plain amqp', () => {
  test.each(['localhost', '127.0.0.1', '[::1]'])('may lead to %s', (host) => {
    expect(problems({ AMQP_URL: `amqp://${host}:5673` })).toEqual([])
  })

  test('beyond loopback is refused, and the problem tells no password', () => {
    expect(problems({ AMQP_URL: 'amqp://user:hush@mq.example.com' })).toEqual([
      'AMQP_URL: the connection to mq.example.com would be plain text, password included; use amqps://, or set GATEPOST_ALLOW_PLAINTEXT=true',
    ])
  })

  test('beyond loopback is allowed by GATEPOST_ALLOW_PLAINTEXT', () => {
    expect(problems({ AMQP_URL: 'amqp://mq.example.com', GATEPOST_ALLOW_PLAINTEXT: 'true' })).toEqual([])
  })
})

test('a URL that is none is one problem, which says the form and tells no password', () => {
  const [problem, ...more] = problems({ AMQP_URL: 'amqp://user:hush@mq/a/b' })

  expect(more).toEqual([])
  expect(problem).toMatch(
    /^AMQP_URL: the value does not do, it must be amqps:\/\/USER:PASSWORD@HOST:PORT\/VHOST/,
  )
  expect(problem).not.toContain('hush')
})

test('a file is reread when it changes; what will not do in it is passed over', async () => {
  const path = join(folder.path, 'url')
  await writeFile(path, 'amqp://a:1@localhost\n')
  const settings = amqp({ AMQP_URL_FILE: path })
  if (!settings) throw new Error('no settings')
  const url = followAmqpUrl(settings)
  const seen = [url().username]

  await writeFile(path, 'amqp://bob:22@localhost\n')
  seen.push(url().username)
  await writeFile(path, 'amqp://carol:333@mq.example.com\n')
  seen.push(url().username)
  await writeFile(path, 'nothing of the kind\n')
  seen.push(url().username)

  expect(seen).toEqual(['a', 'bob', 'bob', 'bob'])
})
