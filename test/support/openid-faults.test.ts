import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals'
import { type OpenIdProvider, startOpenIdProvider } from './openid-provider.ts'

let provider: OpenIdProvider
beforeAll(async () => {
  provider = await startOpenIdProvider('oidc')
})
afterEach(() => {
  provider.fault = undefined
})
afterAll(() => provider.stop())

function fetchKeys(limitMs = 5_000): Promise<Response> {
  return fetch(provider.jwksUri, { redirect: 'manual', signal: AbortSignal.timeout(limitMs) })
}

test('drops the connection', async () => {
  provider.fault = { kind: 'reset' }

  await expect(fetchKeys()).rejects.toMatchObject({ cause: { code: 'UND_ERR_SOCKET' } })
})

test('keeps a caller waiting who has less patience than it', async () => {
  provider.fault = { kind: 'slow', delayMs: 60_000 }

  await expect(fetchKeys(100)).rejects.toMatchObject({ name: 'TimeoutError' })
})

test('answers rightly once it is done being slow', async () => {
  provider.fault = { kind: 'slow', delayMs: 10 }

  const response = await fetchKeys()

  expect(await response.json()).toMatchObject({ keys: [{ kty: 'RSA' }] })
})

test('redirects', async () => {
  provider.fault = { kind: 'redirect', location: 'http://127.0.0.1:1/keys' }

  const response = await fetchKeys()

  expect([response.status, response.headers.get('location')]).toEqual([302, 'http://127.0.0.1:1/keys'])
})

test('sends as many bytes of valid JSON as told', async () => {
  provider.fault = { kind: 'huge', bytes: 10_000_000 }

  const text = await (await fetchKeys()).text()

  expect(text.length).toBeGreaterThanOrEqual(10_000_000)
  expect(JSON.parse(text)).toEqual({ keys: [] })
})

test('sends the given text as JSON', async () => {
  provider.fault = { kind: 'body', text: '<html>' }

  const response = await fetchKeys()

  expect(await response.text()).toBe('<html>')
})
