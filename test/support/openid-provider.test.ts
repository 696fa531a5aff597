import { generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { type OpenIdProvider, type ProviderKind, startOpenIdProvider } from './openid-provider.ts'

const kinds: ProviderKind[] = ['auth0', 'okta', 'oidc']

describe.each(kinds)('the %s provider', (kind) => {
  let provider: OpenIdProvider
  beforeAll(async () => {
    provider = await startOpenIdProvider(kind)
  })
  afterAll(() => provider.stop())

  function verify(token: string) {
    const { issuer, audience, jwksUri } = provider
    return jwtVerify(token, createRemoteJWKSet(new URL(jwksUri)), { issuer, audience })
  }

  test('issues tokens that verify against the keys it serves', async () => {
    const token = await provider.issueToken({ scope: 'read:orders' })

    const { payload } = await verify(token)

    expect([payload['scope'], payload['scp']].flat()).toContain('read:orders')
  })

  test('signs claims of the test by the same key, and by another only if given one', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })

    const { payload } = await verify(provider.signToken({ sub: 'auth0|alice' }))

    expect(payload.sub).toBe('auth0|alice')
    await expect(verify(provider.signToken({}, { key: privateKey }))).rejects.toThrow('signature')
  })

  test('publishes the discovery document of the very issuer in its tokens', async () => {
    const discovered = await (await fetch(provider.discoveryUri)).json()

    expect(discovered).toMatchObject({ issuer: provider.issuer, jwks_uri: provider.jwksUri })
  })

  test('keeps the old key after a rotation only if asked to', async () => {
    const old = provider.signToken()

    await provider.rotateKeys()
    await verify(old)
    await provider.rotateKeys({ keepOld: false })

    await verify(await provider.issueToken())
    await expect(verify(old)).rejects.toThrow('no applicable key')
  })

  test('tells of an opaque token until it is revoked', async () => {
    const token = await provider.issueToken({ format: 'opaque' })
    const { id, secret } = provider.client
    const introspect = async () => {
      const response = await fetch(provider.introspectionUri, {
        method: 'POST',
        headers: { authorization: `Basic ${btoa(`${id}:${secret}`)}` },
        body: new URLSearchParams({ token }),
      })
      return ((await response.json()) as { active: boolean }).active
    }

    const before = await introspect()
    await provider.revokeToken(token)

    expect([before, await introspect()]).toEqual([true, false])
  })

  test('misbehaves as told, counting each fetch, and still issues tokens', async () => {
    const before = provider.fetched.jwks
    provider.fault = { kind: 'unavailable' }

    const response = await fetch(provider.jwksUri)
    const token = await provider.issueToken()

    provider.fault = undefined
    expect(response.status).toBe(503)
    expect(provider.fetched.jwks).toBe(before + 1)
    await verify(token)
  })
})
