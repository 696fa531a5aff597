import { readFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'
import { examplePath } from '../../scripts/policy.ts'
import { createPolicyReader } from '../../src/config/effective-policy.ts'
import { readEnvironment } from '../../src/config/environment.ts'
import { createThreadedPolicyReader } from '../../src/config/policy-thread.ts'

const env = {
  OIDC_ISSUER: 'https://oidc.example.com/',
  OIDC_AUDIENCE: 'api',
  GATEPOST_RATE_LIMIT: '9/1m',
  PARTNER_SECRET: 'shh',
}
const { values } = readEnvironment(env)
const here = createPolicyReader(values, env)
const aside = createThreadedPolicyReader(values, env)

const asked = `
issuers:
  - name: asked
    issuer: https://login.example.com/
    audience: api
    validation: introspection
    client_id: gatepost
    client_secret: \${PARTNER_SECRET}
routes: [{name: a, auth: {issuers: [asked]}}]
`

test.each([
  ['the example', readFileSync(examplePath, 'utf8')],
  ['an empty file', ''],
  ['a text that is no YAML', 'routes: ['],
  ['a file with mistakes', 'routes:\n  - {nam: a}\n  - {name: b, rate_limits: 7}\n'],
  [
    'a file with mistakes beyond the schema',
    'routes:\n  - {name: a, auth: {issuers: [nobody]}}\n  - {name: a}\n',
  ],
])('%s comes to the same in a thread of its own', async (_what, text) => {
  expect(await aside('policy.yaml', text)).toEqual(here('policy.yaml', text))
})

test('an issuer keeps its secret, which no message between threads can carry', async () => {
  const read = await aside('policy.yaml', asked)

  const issuer = read.kind === 'document' ? read.value.issuers[1] : undefined
  expect(issuer).toMatchObject({ kind: 'policy', introspection: { id: 'gatepost' } })
  expect(issuer?.kind === 'policy' && issuer.introspection?.secret()).toBe('shh')
  expect(read).toMatchObject({
    value: { routes: { routes: [{ spec: { accepts: { issuers: ['https://login.example.com/'] } } }] } },
  })
})
