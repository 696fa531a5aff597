import { expect, test } from '@jest/globals'
import { redact } from '../../src/webhooks/redact.ts'

const secret = 'whsec_MDEyMzQ1Njc4OWFiY2RlZg=='
const endpoint = {
  secrets: [
    { value: () => secret },
    { value: () => 'an-older-secret-of-plain-text' },
    { value: () => 'an/older/one/with"quotes' },
  ],
  headers: { authorization: 'Bearer token-of-the-receiver', 'x-tenant': 'eu' },
}

test.each([
  [`header: ${secret}`, 'header: ***'],
  ['without its prefix: MDEyMzQ1Njc4OWFiY2RlZg==!', 'without its prefix: ***!'],
  ['an-older-secret-of-plain-text twice an-older-secret-of-plain-text', '*** twice ***'],
  ['{"authorization":"Bearer token-of-the-receiver"}', '{"authorization":"***"}'],
  ['only token-of-the-receiver', 'only ***'],
  ['it breaks off in token-of-the-rec', 'it breaks off in ***'],
  ['it breaks off in whsec_MDEyMz', 'it breaks off in ***'],
  ['{"secret":"an\\/older\\/one\\/with\\"quotes"}', '{"secret":"***"}'],
  ['?secret=an%2Folder%2Fone%2Fwith%22quotes', '?secret=***'],
  ['short words such as eu stay', 'short words such as eu stay'],
  ['', ''],
])('what a receiver repeats is taken out of %j', (answer, expected) => {
  expect(redact(answer, endpoint)).toBe(expected)
})
