import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { Environment } from '../../src/config/environment.ts'
import { followKafkaPassword } from '../../src/config/kafka.ts'
import { readSettings } from '../../src/config/settings.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'

let folder: TempFolder
beforeAll(async () => {
  folder = await tempFolder('kafka-settings')
})
afterAll(() => folder.remove())

const local = { KAFKA_BROKERS: '127.0.0.1:9092' }
const login = {
  KAFKA_SASL_MECHANISM: 'scram-sha-512',
  KAFKA_SASL_USERNAME: 'gatepost',
  KAFKA_SASL_PASSWORD: 'hush',
}

function read(env: Environment) {
  return readSettings({ GATEPOST_AUTH: 'none', ...env })
}

function kafka(env: Environment) {
  const result = read(env)
  if (result.kind === 'problems') throw new Error(result.problems.join('\n'))
  return result.settings.kafka
}

function problems(env: Environment): readonly string[] {
  const result = read(env)
  return result.kind === 'problems' ? result.problems : []
}

test('without KAFKA_BROKERS there is no Kafka', () => {
  expect(kafka({})).toBeUndefined()
})

test('brokers alone are enough: no login, no TLS, no topic created', () => {
  expect(kafka({ KAFKA_BROKERS: '127.0.0.1:9092, localhost' })).toEqual({
    brokers: ['127.0.0.1:9092', 'localhost:9092'],
    tls: false,
    createTopics: false,
    allowPlaintext: false,
  })
})

test('every variable finds its place, and a worker thread can be handed all of it', () => {
  const settings = kafka({
    KAFKA_BROKERS: 'k1.example.com:9093,k2.example.com:9094',
    KAFKA_TLS: 'true',
    KAFKA_CREATE_TOPICS: 'true',
    ...login,
  })

  expect(structuredClone(settings)).toEqual({
    brokers: ['k1.example.com:9093', 'k2.example.com:9094'],
    tls: true,
    sasl: { mechanism: 'scram-sha-512', username: 'gatepost', first: 'hush' },
    createTopics: true,
    allowPlaintext: false,
  })
})

test.each([',', 'k1:port', 'k1:9092,[::1]:9092', 'k1:70000', 'k1 :9092', 'http://k1:9092'])(
  'brokers %p are one problem, which says what would do',
  (value) => {
    expect(problems({ KAFKA_BROKERS: value, ...login })).toEqual([
      expect.stringMatching(/^KAFKA_BROKERS: ".*" does not do, it must be .*host:port/),
    ])
  },
)

describe('plain text', () => {
  test.each(['localhost:9092', '127.0.0.1:9092'])('may lead to %s', (broker) => {
    expect(problems({ KAFKA_BROKERS: broker })).toEqual([])
  })

  test('beyond loopback is refused, with the brokers and the ways out', () => {
    expect(problems({ KAFKA_BROKERS: '127.0.0.1,k1.example.com,10.0.0.1:9092' })).toEqual([
      'KAFKA_BROKERS: the connection to k1.example.com:9092, 10.0.0.1:9092 would be plain text; set KAFKA_TLS=true, or GATEPOST_ALLOW_PLAINTEXT=true',
    ])
  })

  test.each([{ KAFKA_TLS: 'true' }, { GATEPOST_ALLOW_PLAINTEXT: 'true' }])(
    'beyond loopback is no matter with %p',
    (env) => {
      expect(problems({ KAFKA_BROKERS: 'k1.example.com', ...env })).toEqual([])
    },
  )
})

describe('a login', () => {
  test.each([
    [
      ['KAFKA_SASL_MECHANISM'],
      ['KAFKA_SASL_USERNAME', 'KAFKA_SASL_PASSWORD'],
      'KAFKA_SASL_MECHANISM needs it',
    ],
    [
      ['KAFKA_SASL_USERNAME'],
      ['KAFKA_SASL_MECHANISM', 'KAFKA_SASL_PASSWORD'],
      'KAFKA_SASL_USERNAME needs it',
    ],
    [
      ['KAFKA_SASL_MECHANISM', 'KAFKA_SASL_USERNAME'],
      ['KAFKA_SASL_PASSWORD'],
      'KAFKA_SASL_MECHANISM and KAFKA_SASL_USERNAME need it',
    ],
  ] as const)('of which there is only %p is told what misses', (given, missing, why) => {
    const env = Object.fromEntries(given.map((name) => [name, login[name]]))

    expect(problems({ ...local, ...env })).toEqual(missing.map((name) => `${name}: ${why}`))
  })

  test('with a mechanism that is none is one problem', () => {
    expect(problems({ ...local, ...login, KAFKA_SASL_MECHANISM: 'gssapi' })).toEqual([
      'KAFKA_SASL_MECHANISM: "gssapi" does not do, it must be one of plain, scram-sha-256, scram-sha-512',
    ])
  })

  test('with a password file that is not there is one problem', () => {
    const { KAFKA_SASL_PASSWORD: _, ...rest } = login

    expect(problems({ ...local, ...rest, KAFKA_SASL_PASSWORD_FILE: '/nowhere' })).toEqual([
      'KAFKA_SASL_PASSWORD_FILE: cannot read "/nowhere": ENOENT',
    ])
  })

  test('for nobody means nothing', () => {
    expect(problems(login)).toEqual(
      Object.keys(login).map((name) => `${name}: it means nothing without KAFKA_BROKERS`),
    )
  })
})

describe('without brokers', () => {
  test.each(['KAFKA_TLS', 'KAFKA_CREATE_TOPICS'])(
    '%s is a mistake, and no matter where it is off',
    (name) => {
      expect(problems({ [name]: 'true' })).toEqual([`${name}: it means nothing without KAFKA_BROKERS`])
      expect(problems({ [name]: 'false' })).toEqual([])
    },
  )

  test('for they cannot be read, the one problem is theirs', () => {
    expect(problems({ KAFKA_BROKERS: ',', KAFKA_TLS: 'true', ...login })).toHaveLength(1)
  })
})

test('a password file is reread when it changes', async () => {
  const path = join(folder.path, 'password')
  await writeFile(path, 'first\n')
  const { KAFKA_SASL_PASSWORD: _, ...rest } = login
  const settings = kafka({ ...local, ...rest, KAFKA_SASL_PASSWORD_FILE: path })
  const password = followKafkaPassword(structuredClone(settings) ?? {})
  const seen = [password()]

  await writeFile(path, 'the second\n')
  seen.push(password())

  expect(seen).toEqual(['first', 'the second'])
})

test.each([
  [{ ...local, ...login }, 'hush'],
  [local, ''],
])('the password of %p is %p', (env, password) => {
  expect(followKafkaPassword(kafka(env) ?? {})()).toBe(password)
})
