import { describe, expect, test } from '@jest/globals'
import { auth0Issuer, oidcIssuer, oktaIssuer } from '../../src/auth/issuers.ts'
import { createFetchKeys } from '../../src/auth/key-source.ts'
import type { FetchJson } from '../../src/core/fetch.ts'

const issuer = 'https://login.example.com/realms/a'
const discoveryUrl = `${issuer}/.well-known/openid-configuration`
const jwksUri = 'https://keys.example.com/jwks'
const jwks = { keys: [{ kty: 'RSA' }] }
const onlyHttps = (url: string) => url.startsWith('https://')

/** A web of documents by address; it remembers what was asked for. */
function web(documents: Record<string, unknown>): { fetchJson: FetchJson; asked: string[] } {
  const asked: string[] = []
  return {
    asked,
    fetchJson: async (url) => {
      asked.push(url)
      if (!(url in documents)) throw new Error(`Cannot fetch ${url}: status 404`)
      return documents[url]
    },
  }
}

test('an issuer with a fixed address is asked there and nowhere else', async () => {
  const { fetchJson, asked } = web({ [jwksUri]: jwks })
  const fetchKeys = createFetchKeys({ issuer, keys: { kind: 'jwks', url: jwksUri } }, fetchJson, onlyHttps)

  expect(await fetchKeys()).toBe(jwks)
  expect(asked).toEqual([jwksUri])
})

describe('by discovery', () => {
  const source = { issuer, keys: { kind: 'discovery', url: discoveryUrl } } as const

  test('the keys are where the discovery document says, asked anew each time', async () => {
    const { fetchJson, asked } = web({ [discoveryUrl]: { issuer, jwks_uri: jwksUri }, [jwksUri]: jwks })
    const fetchKeys = createFetchKeys(source, fetchJson, onlyHttps)

    expect(await fetchKeys()).toBe(jwks)
    await fetchKeys()

    expect(asked).toEqual([discoveryUrl, jwksUri, discoveryUrl, jwksUri])
  })

  test.each([
    [
      'another issuer’s',
      { issuer: 'https://evil.example', jwks_uri: jwksUri },
      `it is "https://evil.example"'s`,
    ],
    ['ours but for a slash', { issuer: `${issuer}/`, jwks_uri: jwksUri }, `it is "${issuer}/"'s`],
    ['nobody’s', { jwks_uri: jwksUri }, "it is undefined's"],
    ['null', null, "it is undefined's"],
    ['a text', 'hello', "it is undefined's"],
  ])('a document that is %s is not believed, and its keys are not fetched', async (_whose, document, why) => {
    const { fetchJson, asked } = web({ [discoveryUrl]: document, [jwksUri]: jwks })

    const fetching = createFetchKeys(source, fetchJson, onlyHttps)()

    await expect(fetching).rejects.toThrow(`Cannot use the discovery document of ${issuer}: ${why}`)
    expect(asked).toEqual([discoveryUrl])
  })

  test.each([
    ['plain http', 'http://keys.example.com/jwks'],
    ['a file', 'file:///etc/passwd'],
    ['missing', undefined],
    ['a list', [jwksUri]],
    ['a number', 7],
  ])('a jwks_uri that is %s is not followed', async (_what, uri) => {
    const { fetchJson, asked } = web({ [discoveryUrl]: { issuer, jwks_uri: uri } })

    const fetching = createFetchKeys(source, fetchJson, onlyHttps)()

    await expect(fetching).rejects.toThrow(`Cannot use the jwks_uri of ${issuer}`)
    expect(asked).toEqual([discoveryUrl])
  })
})

describe('presets', () => {
  test('Auth0: its name ends in a slash, its keys lie beside it, RS256 alone', () => {
    expect(auth0Issuer('https://shop.eu.auth0.com', ['api'])).toMatchObject({
      name: 'auth0',
      issuer: 'https://shop.eu.auth0.com/',
      algorithms: ['RS256'],
      keys: { kind: 'jwks', url: 'https://shop.eu.auth0.com/.well-known/jwks.json' },
    })
  })

  test('Okta: each authorization server is an issuer, RS256 alone', () => {
    expect(oktaIssuer('https://shop.okta.com', 'default', ['api'])).toMatchObject({
      name: 'okta',
      issuer: 'https://shop.okta.com/oauth2/default',
      algorithms: ['RS256'],
      keys: { kind: 'jwks', url: 'https://shop.okta.com/oauth2/default/v1/keys' },
    })
  })

  test.each([
    ['https://login.example.com', 'https://login.example.com/.well-known/openid-configuration'],
    ['https://login.example.com/', 'https://login.example.com/.well-known/openid-configuration'],
    ['https://login.example.com/a/', 'https://login.example.com/a/.well-known/openid-configuration'],
  ])('OpenID: %s is discovered at %s and keeps its exact name', (name, url) => {
    const spec = oidcIssuer(name, 'any')

    expect(spec).toMatchObject({ issuer: name, audiences: 'any', keys: { kind: 'discovery', url } })
  })

  test('OpenID: every algorithm that is asymmetric, none that is not', () => {
    const { algorithms } = oidcIssuer('https://login.example.com', 'any')

    expect(algorithms).toHaveLength(10)
    expect(algorithms.filter((name) => !/^(RS|PS|ES)(256|384|512)$|^EdDSA$/.test(name))).toEqual([])
  })
})
