import { beforeEach, describe, expect, test } from '@jest/globals'
import { createIntrospection, type IntrospectionParts } from '../../src/auth/introspection.ts'
import type { Denial } from '../../src/core/denials.ts'
import { Fault } from '../../src/core/fault.ts'
import type { Identity } from '../../src/core/identity.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { createScriptedFetch, createTestAnswers, type ScriptedFetch } from '../support/test-answers.ts'

const spec = { name: 'okta', issuer: 'https://shop.okta.com/oauth2/default', audiences: ['api://default'] }
const url = `${spec.issuer}/v1/introspect`

let clock: FakeClock
let provider: ScriptedFetch
beforeEach(() => {
  clock = new FakeClock()
  provider = createScriptedFetch()
})

/** The introspection of one issuer; a token shown to it gives its identity, or the cause of its denial. */
function introspection(more: Partial<IntrospectionParts> = {}) {
  const { cache, counts } = createTestAnswers<Identity | Denial>(clock)
  const introspect = createIntrospection({
    spec,
    endpoint: async () => url,
    client: { id: 'gatepost', secret: () => 's3cret' },
    fetchJson: provider.fetchJson,
    cache,
    times: { goodMs: 30_000, badMs: 5_000, staleMs: 0 },
    clockSkewSeconds: 30,
    ...more,
  })
  const show = (token = 'opaque') => introspect(token, clock.now())
  return {
    counts,
    cache,
    show,
    async verdict(token?: string) {
      const outcome = await show(token)
      return outcome.kind === 'denial' ? outcome.cause : 'ok'
    },
  }
}

/** What a provider says of a good token; `more` replaces and adds, `undefined` removes. */
function active(more: Record<string, unknown> = {}): Record<string, unknown> {
  return { active: true, sub: '42', client_id: 'app', scope: 'read:users', aud: 'api://default', ...more }
}

const inSeconds = (seconds: number) => clock.now() / 1_000 + seconds

describe('asks as RFC 7662 wants it', () => {
  test('by a form with the token, and Gatepost’s own credentials', async () => {
    provider.answer(active())

    await introspection().show('tok/en+1')

    expect(provider.asked).toEqual([
      {
        url,
        request: {
          headers: { authorization: `Basic ${btoa('gatepost:s3cret')}` },
          form: { token: 'tok/en+1', token_type_hint: 'access_token' },
        },
      },
    ])
  })

  test('with id and secret form-encoded before they are joined (RFC 6749 §2.3.1)', async () => {
    provider.answer(active())
    const client = { id: 'my app:é', secret: () => 'a+b%c:d/e&f' }

    await introspection({ client }).show()

    const [{ request } = {}] = provider.asked
    const sent = atob(request?.headers?.['authorization']?.replace('Basic ', '') ?? '')
    expect(sent).toBe('my+app%3A%C3%A9:a%2Bb%25c%3Ad%2Fe%26f')
  })

  test('with the secret as it is now: it may have changed', async () => {
    let secret = 'old'
    provider.answer(active())
    const { show } = introspection({ client: { id: 'gatepost', secret: () => secret } })

    await show('one')
    secret = 'new'
    await show('two')

    const sent = provider.asked.map(({ request }) => request?.headers?.['authorization'])
    expect(sent).toEqual([`Basic ${btoa('gatepost:old')}`, `Basic ${btoa('gatepost:new')}`])
  })
})

describe('a token that the provider calls active', () => {
  test('gives its identity, by the names that tokens use, and the configured issuer', async () => {
    provider.answer(active({ scope: 'read:users write:users', username: 'alice@example.com' }))

    expect(await introspection().show()).toEqual({
      kind: 'token',
      issuer: spec.issuer,
      userId: '42',
      clientId: 'app',
      scopes: ['read:users', 'write:users'],
      claims: {
        sub: '42',
        client_id: 'app',
        scope: 'read:users write:users',
        aud: 'api://default',
        username: 'alice@example.com',
      },
    })
  })

  test.each([
    ['names ours', { aud: 'api://default' }, 'ok'],
    ['names ours among others', { aud: ['other', 'api://default'] }, 'ok'],
    ['is missing', { aud: undefined }, 'wrong_audience'],
    ['is another', { aud: 'api://other' }, 'wrong_audience'],
    ['is a list without ours', { aud: ['a', 'b'] }, 'wrong_audience'],
    ['is empty', { aud: [] }, 'wrong_audience'],
    ['only begins as ours', { aud: 'api://default/admin' }, 'wrong_audience'],
    ['is no text', { aud: 7 }, 'wrong_audience'],
  ])('and whose audience %s', async (_what, claims, verdict) => {
    provider.answer(active(claims))

    expect(await introspection().verdict()).toBe(verdict)
  })

  test('passes for any audience, or none, only where that was asked for', async () => {
    provider.answer(active({ aud: undefined }))

    expect(await introspection({ spec: { ...spec, audiences: 'any' } }).verdict()).toBe('ok')
  })

  test.each([
    ['is the same', { iss: spec.issuer }, 'ok'],
    ['is not told', { iss: undefined }, 'ok'],
    ['is fine, but whose type is an ID token', { token_type: 'ID' }, 'unsupported_type'],
    ['is fine, but whose type is a refresh token', { token_type: 'Refresh' }, 'unsupported_type'],
    ['is fine, and whose type is bearer in capitals', { token_type: 'BEARER' }, 'ok'],
    ['is another', { iss: 'https://shop.okta.com/oauth2/other' }, 'unknown_issuer'],
    ['differs by a slash', { iss: `${spec.issuer}/` }, 'unknown_issuer'],
    ['is no text', { iss: 7 }, 'unknown_issuer'],
  ])('and whose issuer %s', async (_what, claims, verdict) => {
    provider.answer(active(claims))

    expect(await introspection().verdict()).toBe(verdict)
  })

  test.each([
    ['expired within the leeway', () => ({ exp: inSeconds(-29) }), 'ok'],
    ['expired beyond the leeway', () => ({ exp: inSeconds(-30) }), 'expired'],
    ['is valid from within the leeway', () => ({ nbf: inSeconds(30) }), 'ok'],
    ['is valid only later', () => ({ nbf: inSeconds(31) }), 'not_yet_valid'],
  ])('and that %s', async (_what, claims, verdict) => {
    provider.answer(active(claims()))

    expect(await introspection().verdict()).toBe(verdict)
  })

  test.each([
    ['sub is no text', { sub: 42 }],
    ['sub cannot stand in a header', { sub: 'a\r\nx-user-id: admin' }],
    ['client_id is a list', { client_id: ['app'] }],
  ])('is refused where its %s', async (_what, claims) => {
    provider.answer(active(claims))

    expect(await introspection().verdict()).toBe('bad_claims')
  })
})

describe('an answer that says nothing of the token', () => {
  test.each([
    ['an empty object', {}],
    ['without active', { sub: '42', aud: 'api://default' }],
    ['active as a text', active({ active: 'true' })],
    ['active as a number', active({ active: 1 })],
    ['active as null', active({ active: null })],
    ['null', null],
    ['a text', 'active'],
    ['a list', [true]],
    ['an error as OAuth words it', { error: 'invalid_client' }],
  ])('is a fault, neither good nor bad: %s', async (_what, document) => {
    provider.answer(document)
    const { show, cache } = introspection()

    await expect(show()).rejects.toThrow(Fault)
    await expect(show()).rejects.toThrow('it does not say whether the token is active')
    expect(cache.size).toBe(0)
  })

  test('a failure to ask is a fault, whatever the token', async () => {
    provider.fail(new Error('Cannot fetch: the answer is not JSON'))

    await expect(introspection().show()).rejects.toThrow(Fault)
  })

  test('a failure to find the endpoint is a fault', async () => {
    const endpoint = () => Promise.reject(new Error('no discovery document'))

    await expect(introspection({ endpoint }).show()).rejects.toThrow('no discovery document')
    expect(provider.asked).toEqual([])
  })
})

describe('answers are remembered', () => {
  test('a good one for as long as configured, so that a revoked token passes no longer than that', async () => {
    const { verdict } = introspection()
    provider.answer(active())
    await verdict()
    provider.answer({ active: false })

    await clock.advance(29_999)
    const within = await verdict()
    await clock.advance(1)
    const after = await verdict()

    expect({ within, after }).toEqual({ within: 'ok', after: 'inactive' })
  })

  test('a good one never past its exp', async () => {
    const { verdict } = introspection()
    provider.answer(active({ exp: inSeconds(10) }))
    await verdict()

    await clock.advance(9_999)
    await verdict()
    const before = provider.asked.length
    await clock.advance(1)
    await verdict()

    expect([before, provider.asked.length]).toEqual([1, 2])
  })

  test('a refusal for five seconds', async () => {
    const { verdict } = introspection()
    provider.answer({ active: false })
    await verdict()
    provider.answer(active())

    await clock.advance(4_999)
    const within = await verdict()
    await clock.advance(1)
    const after = await verdict()

    expect({ within, after }).toEqual({ within: 'inactive', after: 'ok' })
  })

  test('not at all where the time is zero', async () => {
    const { verdict } = introspection({ times: { goodMs: 0, badMs: 5_000, staleMs: 0 } })
    provider.answer(active())

    await verdict()
    await verdict()

    expect(provider.asked).toHaveLength(2)
  })
})

describe('where the provider gives no answer', () => {
  test('what was good a moment ago is a fault by default', async () => {
    const { verdict } = introspection()
    provider.answer(active())
    await verdict()
    provider.fail()
    await clock.advance(30_000)

    await expect(verdict()).rejects.toThrow(Fault)
  })

  test('a good answer may serve on where that is wanted, and no longer than that', async () => {
    const { verdict } = introspection({ times: { goodMs: 30_000, badMs: 5_000, staleMs: 60_000 } })
    provider.answer(active())
    await verdict()
    provider.fail()

    await clock.advance(89_999)
    const within = await verdict()
    await clock.advance(1)

    expect(within).toBe('ok')
    await expect(verdict()).rejects.toThrow(Fault)
  })

  test('not even then past the token’s exp', async () => {
    const { verdict } = introspection({ times: { goodMs: 30_000, badMs: 5_000, staleMs: 3_600_000 } })
    provider.answer(active({ exp: inSeconds(60) }))
    await verdict()
    provider.fail()

    await clock.advance(59_999)
    const within = await verdict()
    await clock.advance(1)

    expect(within).toBe('ok')
    await expect(verdict()).rejects.toThrow(Fault)
  })

  test('a refusal never serves on', async () => {
    const { verdict } = introspection({ times: { goodMs: 30_000, badMs: 5_000, staleMs: 60_000 } })
    provider.answer({ active: false })
    await verdict()
    provider.fail()
    await clock.advance(5_000)

    await expect(verdict()).rejects.toThrow(Fault)
  })
})
