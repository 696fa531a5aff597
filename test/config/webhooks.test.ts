import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { createWebhooksReader, type WebhookContext } from '../../src/config/webhooks.ts'
import type { WebhookEndpoint } from '../../src/core/webhooks.ts'
import { tempFolder } from '../support/temp.ts'

const secret = 'a-secret-of-our-own-0123456789'
const reference = (name: string) => `$\{${name}}`
const least = { id: 'orders', url: 'https://hooks.example.com/orders', secret }

function read(webhooks: readonly object[], more: Partial<WebhookContext> = {}) {
  const reader = createWebhooksReader({ env: {}, allowPlaintext: false, isSecretKeySet: false, ...more })
  return reader('webhooks.yaml', JSON.stringify({ webhooks }))
}

function endpoint(more: object, context: Partial<WebhookContext> = {}): WebhookEndpoint {
  const result = read([{ ...least, ...more }], context)
  if (result.kind === 'problems') throw new Error(result.problems.join('\n'))
  const [first] = result.value
  if (!first) throw new Error('there is no endpoint')
  return first
}

function problems(more: object, context: Partial<WebhookContext> = {}): readonly string[] {
  const result = read([{ ...least, ...more }], context)
  return result.kind === 'problems' ? result.problems : []
}

/** Problems without file, place and endpoint. */
const told = (more: object, context: Partial<WebhookContext> = {}) =>
  problems(more, context).map((problem) =>
    problem.replace(/^webhooks\.yaml:\d+:\d+: (webhook "orders": )?/, ''),
  )

describe('an endpoint', () => {
  test('needs an id, a URL and a secret; all else has a default', () => {
    const { secrets, ...rest } = endpoint({})

    expect(secrets.map(({ value, untilMs }) => [value(), untilMs])).toEqual([[secret, undefined]])
    expect(rest).toEqual({
      id: 'orders',
      url: 'https://hooks.example.com/orders',
      events: ['*'],
      active: true,
      retryPolicy: { maxRetries: 3, backoffMs: 60_000 },
      headers: {},
      filters: {},
      ordered: false,
      concurrency: 8,
      timeoutMs: 10_000,
    })
  })

  test('may say all of it otherwise', () => {
    const all = endpoint({
      events: ['auth.failed', 'circuit_breaker.*', 'auth.failed'],
      active: false,
      retry_policy: { max_retries: 0, backoff_seconds: 5 },
      headers: { Authorization: 'Bearer x' },
      rate_limit: '100/1m',
      filters: { routes: ['users'], services: ['user-service'] },
      ordered: true,
      timeout_seconds: 3,
    })

    expect(all).toMatchObject({
      events: ['auth.failed', 'circuit_breaker.*'],
      active: false,
      retryPolicy: { maxRetries: 0, backoffMs: 5_000 },
      headers: { authorization: 'Bearer x' },
      rateLimit: { limit: 100, windowMs: 60_000 },
      filters: { routes: ['users'], services: ['user-service'] },
      ordered: true,
      concurrency: 1,
      timeoutMs: 3_000,
    })
  })

  test('takes URL, secret and headers from the environment', () => {
    const env = { HOOK_HOST: 'hooks.example.com', HOOK_SECRET: secret, HOOK_TOKEN: 't0ken' }

    const { url, secrets, headers } = endpoint(
      {
        url: `https://${reference('HOOK_HOST')}/x`,
        secret: reference('HOOK_SECRET'),
        headers: { authorization: `Bearer ${reference('HOOK_TOKEN')}` },
      },
      { env },
    )

    expect([url, secrets[0]?.value(), headers]).toEqual([
      'https://hooks.example.com/x',
      secret,
      { authorization: 'Bearer t0ken' },
    ])
  })

  test('takes its secret from a file, and the next one once it stands there', async () => {
    await using folder = await tempFolder('webhooks')
    const path = join(folder.path, 'secret')
    await writeFile(path, `${secret}\n`)
    const { secrets } = endpoint({ secret: undefined, secret_file: path })

    const first = secrets[0]?.value()
    await writeFile(path, `${secret}-and-more\n`)

    expect([first, secrets[0]?.value()]).toEqual([secret, `${secret}-and-more`])
  })

  test('signs with the secrets that it had, until their end', () => {
    const { secrets } = endpoint({
      old_secrets: [{ secret: `${secret}-old`, until: '2031-01-31T00:00:00Z' }],
    })

    expect(secrets.map(({ value, untilMs }) => [value(), untilMs])).toEqual([
      [secret, undefined],
      [`${secret}-old`, Date.UTC(2031, 0, 31)],
    ])
  })

  test.each(['http://localhost:8080/', 'http://127.0.0.1/', 'http://[::1]/'])('may be at %s', (url) => {
    expect(problems({ url })).toEqual([])
  })

  test('may be anywhere by plain http where that is allowed', () => {
    expect(problems({ url: 'http://hooks.example.com/' }, { allowPlaintext: true })).toEqual([])
  })

  test.each([`whsec_${Buffer.alloc(16).toString('base64')}`, `whsec_${'A'.repeat(64)}`, 'x'.repeat(16)])(
    'may have the secret %s',
    (text) => {
      expect(problems({ secret: text })).toEqual([])
    },
  )
})

const form = 'it must be whsec_ and base64 of at least 16 bytes, or at least 16 characters without blanks'

describe('is refused with words that help:', () => {
  test.each<[string, object, string | RegExp]>([
    ['a name that is none', { id: 'the orders' }, /^webhooks\.0\.id: must be of another form: Its name/],
    [
      'a key with a typo',
      { secrets: 'x' },
      'webhooks.0: there is no setting "secrets", did you mean "secret"?',
    ],
    [
      'a policy with a typo',
      { retry_policy: { max_retry: 1 } },
      'webhooks.0.retry_policy: there is no setting "max_retry"',
    ],
    [
      'too many retries',
      { retry_policy: { max_retries: 21 } },
      'webhooks.0.retry_policy.max_retries: must be <= 20',
    ],
    ['a long attempt', { timeout_seconds: 31 }, 'webhooks.0.timeout_seconds: must be <= 30'],
    [
      'what is no URL',
      { url: 'hooks.example.com' },
      'url: "hooks.example.com" is no URL of the web; it must be one such as https://hooks.example.com/gatepost',
    ],
    [
      'another protocol',
      { url: 'ftp://hooks.example.com/' },
      'url: "ftp://hooks.example.com/" is no URL of the web; it must be one such as https://hooks.example.com/gatepost',
    ],
    [
      'plain http',
      { url: 'http://hooks.example.com/' },
      'url: "http://hooks.example.com/" is plain http, which only loopback may use; use https, or set GATEPOST_ALLOW_PLAINTEXT=true',
    ],
    [
      'credentials in the URL',
      { url: 'https://user@hooks.example.com/' },
      'url: "https://user@hooks.example.com/" holds credentials; send them in a header',
    ],
    ['a variable that is not set', { url: `https://${reference('NOWHERE')}/` }, 'url: NOWHERE is not set'],
    [
      'an unknown event',
      { events: ['auth.fail'] },
      'events: there is no "auth.fail", did you mean auth.failed?',
    ],
    [
      'an unknown family',
      { events: ['circuit.*'] },
      /^events: there is no "circuit\.\*", did you mean .+\?$/,
    ],
    [
      'a rate that is none',
      { rate_limit: '0/1m' },
      /^rate_limit: "0\/1m" does not do, it must be a rate such as/,
    ],
    [
      'order and concurrency at once',
      { ordered: true, concurrency: 2 },
      'concurrency must be 1, or be left out, where deliveries are ordered',
    ],
    ['a header that is ours', { headers: { 'Webhook-Id': 'x' } }, "headers: Webhook-Id is Gatepost's to set"],
    ['a header of the connection', { headers: { Host: 'x' } }, "headers: Host is Gatepost's to set"],
    [
      'a line break in a header',
      { headers: { 'x-a': 'b\r\nx-c: d' } },
      'headers: x-a: the value must be printable ASCII without a blank at either end',
    ],
    ['a header twice', { headers: { 'x-a': 'b', 'X-A': 'c' } }, 'headers: x-a is there twice'],
    [
      'no secret',
      { secret: undefined },
      'it needs secret or secret_file, one of them (openssl rand -hex 32 makes a secret)',
    ],
    [
      'two secrets',
      { secret_file: '/x' },
      'it needs secret or secret_file, one of them (openssl rand -hex 32 makes a secret)',
    ],
    [
      'a file that is not there',
      { secret: undefined, secret_file: '/nowhere' },
      /^secret_file: cannot read "\/nowhere"/,
    ],
    ['a secret that is not set', { secret: reference('NOWHERE') }, 'secret: NOWHERE is not set'],
    ['a short secret', { secret: 'hunter2' }, `secret: the value does not do, ${form}`],
    ['a secret with a blank', { secret: 'correct horse battery' }, `secret: the value does not do, ${form}`],
    ['a short key', { secret: 'whsec_c2hvcnQ=' }, `secret: the value does not do, ${form}`],
    [
      'a key that is no base64',
      { secret: 'whsec_not_base64_at_all_' },
      `secret: the value does not do, ${form}`,
    ],
    ['the prefix alone', { secret: 'whsec_' }, `secret: the value does not do, ${form}`],
    [
      'a short old secret',
      { old_secrets: [{ secret: 'hunter2', until: '2031-01-31T00:00:00Z' }] },
      `old_secrets.0: secret: the value does not do, ${form}`,
    ],
  ])('%s', (_what, more, problem) => {
    expect(told(more)).toEqual([typeof problem === 'string' ? problem : expect.stringMatching(problem)])
  })

  test('a secret in plain text while there is a key to seal with', () => {
    expect(told({}, { isSecretKeySet: true })).toEqual([
      'secret: it stands in plain text although GATEPOST_SECRET_KEY is set; use secret_file, or take it from the environment',
    ])
    expect(told({ secret: reference('S') }, { isSecretKeySet: true, env: { S: secret } })).toEqual([])
  })

  test('the same id twice, with its place', () => {
    const result = read([least, { ...least, id: 'other' }, least])

    expect(result).toEqual({
      kind: 'problems',
      problems: [expect.stringMatching(/^webhooks\.yaml:1:\d+: there are two webhooks called "orders"$/)],
    })
  })
})

test('all problems are told at once, and none of them quotes a secret', () => {
  const result = read(
    [
      {
        ...least,
        url: `https://u:${reference('PASS')}@x/`,
        secret: 'hunter2',
        headers: { 'x-key': ' s3cret' },
      },
      { ...least, secret: reference('SHORT') },
    ],
    { env: { SHORT: 'hunter3', PASS: 'hunter4' } },
  )

  const text = result.kind === 'problems' ? result.problems.join('\n') : ''

  expect(text.split('\n')).toHaveLength(5)
  expect(text).not.toMatch(/hunter|s3cret/)
})

test('a file without webhooks says so; an empty list is one', () => {
  const reader = createWebhooksReader({ env: {}, allowPlaintext: false, isSecretKeySet: false })

  expect(reader('w.yaml', '')).toEqual({
    kind: 'problems',
    problems: ["w.yaml:1:1: the file: must have required property 'webhooks'"],
  })
  expect(reader('w.yaml', 'webhooks: []')).toEqual({ kind: 'document', value: [] })
})
