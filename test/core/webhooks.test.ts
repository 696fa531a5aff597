import { expect, test } from '@jest/globals'
import { isReservedHeader, isWebhookSecret } from '../../src/core/webhooks.ts'

const ofBytes = (count: number) => Buffer.alloc(count, 0xfb).toString('base64')

test.each([
  ['a key of 16 bytes', `whsec_${ofBytes(16)}`],
  ['a key of 24 bytes', `whsec_${ofBytes(24)}`],
  ['a key of 64 bytes', `whsec_${ofBytes(64)}`],
  ['16 characters', 'x'.repeat(16)],
  ['1,024 characters', 'x'.repeat(1_024)],
  ['characters of any kind but blanks', '!"#$%&\'()*+,-./:;'],
])('a secret may be %s', (_what, text) => {
  expect(isWebhookSecret(text)).toBe(true)
})

test.each([
  ['nothing', ''],
  ['the prefix alone', 'whsec_'],
  ['a key of 15 bytes', `whsec_${ofBytes(15)}`],
  ['a key in the alphabet of URLs', `whsec_${Buffer.alloc(24, 0xfb).toString('base64url')}`],
  ['a key without its padding', `whsec_${ofBytes(16).replace('==', '')}`],
  ['a key with a line break', `whsec_${ofBytes(24)}\n`],
  ['15 characters', 'x'.repeat(15)],
  ['1,025 characters', 'x'.repeat(1_025)],
  ['words with blanks', 'correct horse battery staple'],
  ['characters that have several encodings', 'pässwörter-von-uns'],
])('a secret may not be %s', (_what, text) => {
  expect(isWebhookSecret(text)).toBe(false)
})

test.each([
  'Host',
  'CONTENT-LENGTH',
  'transfer-encoding',
  'Webhook-Id',
  'X-Webhook-Signature',
  'Content-Type',
])('%s is Gatepost’s to set', (name) => {
  expect(isReservedHeader(name)).toBe(true)
})

test.each(['authorization', 'user-agent', 'x-webhook-tenant', 'traceparent'])(
  '%s is the endpoint’s to set',
  (name) => {
    expect(isReservedHeader(name)).toBe(false)
  },
)
