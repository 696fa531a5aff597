import { createHmac } from 'node:crypto'
import { createAuthenticator, type TokenObserver } from '../../src/auth/authenticator.ts'
import { TokenCache } from '../../src/auth/token-cache.ts'
import type { Authenticate } from '../../src/core/gateway.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { base64Url, createSigner } from '../support/signer.ts'
import { createTestIssuer, type TestIssuer } from '../support/test-issuer.ts'
import type { Stock } from './mutants.ts'

/** An issuer with its keys fetched, and tokens of it: one good one and many that are not. */
export interface FuzzStock {
  clock: FakeClock
  stock: Stock
  /** Makes an authenticator whose cache is small. */
  authenticator(observer: TokenObserver): Authenticate
}

/** Makes an issuer and signs tokens for it. */
export async function makeStock(): Promise<FuzzStock> {
  const clock = new FakeClock()
  const issuer = createTestIssuer({ clock })
  const [signer, second, stranger] = await Promise.all([
    createSigner('RS256', 'key-1'),
    createSigner('ES256', 'key-2'),
    createSigner('RS256', 'key-1'),
  ])
  issuer.keys.publish(signer.jwk, second.jwk)
  await issuer.keySet.start()

  const good = await signer.sign(issuer.claims())
  const hour = clock.now() / 1_000
  const bad = await Promise.all([
    signer.sign(issuer.claims({ aud: 'other' })),
    signer.sign(issuer.claims({ exp: hour - 3_600 })),
    signer.sign(issuer.claims({ exp: undefined })),
    signer.sign(issuer.claims({ nbf: hour + 3_600 })),
    signer.sign(issuer.claims({ iss: 'https://other.example.com/' })),
    signer.sign(issuer.claims({ sub: 'root\r\n' })),
    signer.sign(issuer.claims(), { kid: 'key-2' }),
    signer.sign(issuer.claims(), { typ: 'dpop+jwt' }),
    signer.sign('no claims'),
    second.sign(issuer.claims({ aud: 'other' })),
    stranger.sign(issuer.claims()),
    stranger.sign(issuer.claims(), { jwk: stranger.jwk }),
    `${base64Url({ alg: 'none' })}.${base64Url(issuer.claims())}.AA`,
    hmacToken(issuer, JSON.stringify(signer.jwk)),
  ])
  return {
    clock,
    stock: { good, bad },
    authenticator: (observer) =>
      createAuthenticator({
        issuers: [{ spec: issuer.spec, judge: { kind: 'keys', verifier: issuer.verifier } }],
        cache: new TokenCache({
          ttlMs: 60_000,
          clockSkewMs: 30_000,
          maxTokens: 1_000,
          maxCharacters: 1_000_000,
        }),
        observer,
      }),
  }
}

function hmacToken(issuer: TestIssuer, secret: string): string {
  const signed = `${base64Url({ alg: 'HS256', kid: 'key-1' })}.${base64Url(issuer.claims())}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}
