import { expect, test } from '@jest/globals'
import type { WebhookSettings } from '../src/config/webhook-settings.ts'
import { describeWebhooks, probesOfWebhooks } from '../src/probes-webhooks.ts'
import type { ResolveName } from '../src/webhooks/guard.ts'
import { endpointOf } from './support/webhooks-rig.ts'

const names: Readonly<Record<string, string>> = {
  'hooks.example.com': '93.184.216.34',
  'inside.example.com': '10.0.0.7',
}

const resolve: ResolveName = async (hostname) => {
  const address = names[hostname]
  if (address === undefined) throw new Error('ENOTFOUND')
  return [{ address, family: 4 }]
}

function probe(url: string, active = true) {
  const webhooks = { first: [endpointOf({ url, active })], allowPrivate: false } as unknown as WebhookSettings
  const [only] = probesOfWebhooks({ webhooks, allowPlaintext: false }, resolve)
  return only?.run()
}

test.each([
  ['https://hooks.example.com/a', 'ok', 'hooks.example.com leads to 93.184.216.34'],
  ['https://nobody.example.com/a', 'unreachable', 'nobody.example.com has no address'],
  ['https://inside.example.com/a', 'failed', expect.stringContaining('10.0.0.7 is not a public address')],
  ['https://127.0.0.1/a', 'failed', expect.stringContaining('127.0.0.1 is not a public address')],
  ['http://hooks.example.com/a', 'failed', expect.stringContaining('plain http is for loopback only')],
])('says of %s whether deliveries may go there', async (url, outcome, detail) => {
  expect(await probe(url)).toEqual({ outcome, detail })
})

test('says of one that is not active that it is not', async () => {
  expect(await probe('https://hooks.example.com/', false)).toMatchObject({
    outcome: 'ok',
    detail: expect.stringMatching(/it is not active$/),
  })
})

test('tells how endpoints stand, a line for each', () => {
  expect(
    describeWebhooks({
      a: { condition: 'delivering', pending: 0, failures_in_row: 0, circuit: 'closed' },
      b: { condition: 'paused', pending: 3, oldest_age_seconds: 61.4, failures_in_row: 2, circuit: 'open' },
    }),
  ).toEqual([
    'webhook a: delivering, none pending',
    'webhook b: paused, 3 pending, the oldest for 61 s, 2 failures in a row, circuit open',
  ])
})
