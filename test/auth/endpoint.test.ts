import { beforeEach, describe, expect, test } from '@jest/globals'
import { createEndpoint, type EndpointSource } from '../../src/auth/endpoint.ts'
import { anyIssuer, oktaIssuer } from '../../src/auth/issuers.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { createScriptedFetch, type ScriptedFetch } from '../support/test-answers.ts'

const issuer = 'https://login.example.com'
const url = `${issuer}/introspect`
const source: EndpointSource = {
  kind: 'discovery',
  url: `${issuer}/.well-known/openid-configuration`,
  issuer,
  member: 'introspection_endpoint',
}
const onlyHttps = (candidate: string) => candidate.startsWith('https://')

let clock: FakeClock
let provider: ScriptedFetch
beforeEach(() => {
  clock = new FakeClock()
  provider = createScriptedFetch()
})

function endpointOf(from: EndpointSource = source) {
  return createEndpoint(from, provider.fetchJson, onlyHttps, clock)
}

test('a fixed one is known without asking', async () => {
  expect(await endpointOf({ kind: 'fixed', url })()).toBe(url)
  expect(provider.asked).toEqual([])
})

describe('one that is discovered', () => {
  test('is asked for once in an hour', async () => {
    provider.answer({ issuer, introspection_endpoint: url })
    const endpoint = endpointOf()

    const found = await endpoint()
    await clock.advance(3_599_999)
    await endpoint()
    const within = provider.asked.length
    await clock.advance(1)
    await endpoint()

    expect(found).toBe(url)
    expect([within, provider.asked.length]).toEqual([1, 2])
  })

  test('is asked for once by all who ask at the same time', async () => {
    const answer = provider.hang()
    const endpoint = endpointOf()

    const asking = [endpoint(), endpoint(), endpoint()]
    answer({ issuer, introspection_endpoint: url })

    expect(await Promise.all(asking)).toEqual([url, url, url])
    expect(provider.asked).toHaveLength(1)
  })

  test('is asked for again after a failure', async () => {
    provider.fail()
    const endpoint = endpointOf()
    await expect(endpoint()).rejects.toThrow('connection refused')
    provider.answer({ issuer, introspection_endpoint: url })

    expect(await endpoint()).toBe(url)
  })

  test.each([
    ['another issuer’s', { issuer: 'https://evil.example', introspection_endpoint: url }],
    ['without it', { issuer }],
    ['naming a plain one', { issuer, introspection_endpoint: 'http://login.example.com/introspect' }],
    ['no document at all', 'hello'],
  ])('is not taken from a document that is %s, nor is that remembered', async (_what, document) => {
    provider.answer(document)
    const endpoint = endpointOf()

    await expect(endpoint()).rejects.toThrow(/^Cannot use the (discovery document|introspection_endpoint) of/)
    await expect(endpoint()).rejects.toThrow(/^Cannot use/)
    expect(provider.asked).toHaveLength(2)
  })
})

describe('issuers know where to ask', () => {
  const client = { id: 'gatepost', secret: () => 's3cret' }

  test('Okta beside its keys, and only where that is wanted', () => {
    const asked = oktaIssuer('https://shop.okta.com', 'default', ['api'], {
      introspection: client,
      userinfo: true,
    })
    const plain = oktaIssuer('https://shop.okta.com', 'default', ['api'])

    expect(asked).toMatchObject({
      introspection: {
        endpoint: { kind: 'fixed', url: 'https://shop.okta.com/oauth2/default/v1/introspect' },
        client,
      },
      userinfo: { kind: 'fixed', url: 'https://shop.okta.com/oauth2/default/v1/userinfo' },
    })
    expect(plain.introspection ?? plain.userinfo).toBeUndefined()
  })

  test('any other by discovery, or where the policy says', () => {
    const description = {
      name: 'partner',
      issuer,
      audiences: 'any',
      introspection: client,
      userinfo: true,
    } as const

    expect(anyIssuer(description)).toMatchObject({
      introspection: { endpoint: source },
      userinfo: { ...source, member: 'userinfo_endpoint' },
    })
    expect(anyIssuer({ ...description, introspectionEndpoint: url, userinfoEndpoint: url })).toMatchObject({
      introspection: { endpoint: { kind: 'fixed', url } },
      userinfo: { kind: 'fixed', url },
    })
  })
})
