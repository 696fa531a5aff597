import { beforeEach, describe, expect, test } from '@jest/globals'
import { createEnrichment, type Told, type UserinfoParts } from '../../src/auth/userinfo.ts'
import type { Denial } from '../../src/core/denials.ts'
import { Fault } from '../../src/core/fault.ts'
import { UnexpectedStatus } from '../../src/core/fetch.ts'
import { type Identity, identityHeaders } from '../../src/core/identity.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { createScriptedFetch, createTestAnswers, type ScriptedFetch } from '../support/test-answers.ts'

const url = 'https://shop.okta.com/oauth2/default/v1/userinfo'

const alice: Identity = {
  kind: 'token',
  issuer: 'https://shop.okta.com/oauth2/default',
  userId: 'alice',
  clientId: 'app',
  scopes: ['openid', 'read:users'],
  claims: { sub: 'alice', tier: 'gold' },
}

let clock: FakeClock
let provider: ScriptedFetch
beforeEach(() => {
  clock = new FakeClock()
  provider = createScriptedFetch()
})

function enrichment(more: Partial<UserinfoParts> = {}) {
  const { cache, counts } = createTestAnswers<Told | Denial>(clock, { name: 'okta.userinfo' })
  const enrich = createEnrichment({
    name: 'okta',
    endpoint: async () => url,
    fetchJson: provider.fetchJson,
    cache,
    times: { goodMs: 30_000, badMs: 5_000 },
    ...more,
  })
  return {
    counts,
    cache,
    enrich: (identity = alice, token = 'token') => enrich(identity, token, clock.now()),
  }
}

/** How `fetchJson` fails by a status. */
function statusError(status: number): Error {
  return new Error(`Cannot fetch ${url}: status ${status}`, { cause: new UnexpectedStatus(status) })
}

test('asks with the caller’s own token', async () => {
  provider.answer({ sub: 'alice' })

  await enrichment().enrich(alice, 'opaque-1')

  expect(provider.asked).toEqual([{ url, request: { headers: { authorization: 'Bearer opaque-1' } } }])
})

test('a token without the scope openid stays as it is, and nobody is asked', async () => {
  const machine = { ...alice, scopes: ['read:users'] }

  expect(await enrichment().enrich(machine)).toBe(machine)
  expect(provider.asked).toEqual([])
})

describe('what is told', () => {
  test('becomes headers for the upstream, in Gatepost’s own name', async () => {
    provider.answer({
      sub: 'alice',
      email: 'alice@example.com',
      email_verified: true,
      name: 'Alice Ämter',
      preferred_username: 'al',
      locale: 'de',
      zoneinfo: 'Europe/Berlin',
    })

    const caller = (await enrichment().enrich()) as Identity

    const { set } = identityHeaders(caller, [])
    expect(Object.fromEntries(set)).toEqual({
      'x-user-id': 'alice',
      'x-client-id': 'app',
      'x-auth-scopes': 'openid read:users',
      'x-auth-issuer': alice.issuer,
      'x-gatepost-email': 'alice@example.com',
      'x-gatepost-email-verified': 'true',
      'x-gatepost-name': 'Alice Ämter',
      'x-gatepost-preferred-username': 'al',
      'x-gatepost-locale': 'de',
      'x-gatepost-zoneinfo': 'Europe/Berlin',
    })
  })

  test('takes no forged header with it: a client’s own are removed where nothing is told', async () => {
    provider.answer({ sub: 'alice' })

    const caller = (await enrichment().enrich()) as Identity

    const { remove } = identityHeaders(caller, ['x-gatepost-email', 'x-gatepost-role', 'accept'])
    expect(remove).toEqual(['x-gatepost-email', 'x-gatepost-role'])
  })

  test.each([
    ['holds a line break', 'a\r\nx-user-id: admin'],
    ['is empty', ''],
    ['is blank', '  '],
    ['is an object', { formatted: 'x' }],
    ['is a number', 7],
    ['is null', null],
    ['is longer than a header should be', 'x'.repeat(1_025)],
    ['is half a character', '\ud800'],
  ])('is left out where it %s', async (_what, name) => {
    provider.answer({ sub: 'alice', name, email: 'alice@example.com' })

    expect(await enrichment().enrich()).toMatchObject({ profile: { email: 'alice@example.com' } })
  })

  test('adds to the token’s claims and never replaces one', async () => {
    provider.answer({ sub: 'alice', tier: 'bronze', department: 'sales' })

    expect(await enrichment().enrich()).toMatchObject({
      userId: 'alice',
      clientId: 'app',
      scopes: ['openid', 'read:users'],
      claims: { sub: 'alice', tier: 'gold', department: 'sales' },
    })
  })

  test('gives no scope and no other name', async () => {
    provider.answer({ sub: 'alice', scope: 'admin', client_id: 'other', permissions: ['admin'] })

    expect(await enrichment().enrich()).toMatchObject({ clientId: 'app', scopes: alice.scopes })
  })
})

describe('an answer about somebody else is a fault and is not used', () => {
  test.each([
    ['another subject', { sub: 'bob', email: 'bob@example.com' }],
    ['no subject', { email: 'alice@example.com' }],
    ['a subject that is no text', { sub: 7 }],
    ['null', null],
    ['a list', []],
    ['a text', 'alice'],
  ])('%s', async (_what, document) => {
    provider.answer(document)
    const { enrich } = enrichment()

    await expect(enrich()).rejects.toThrow(Fault)
    await expect(enrich()).rejects.toThrow('it is about another subject')
  })

  test('nor is one about nobody, where the token names nobody', async () => {
    const { userId: _, ...nobody } = alice
    provider.answer({ email: 'alice@example.com' })

    await expect(enrichment().enrich(nobody)).rejects.toThrow(Fault)
  })
})

describe('where the provider does not tell', () => {
  test('because it refuses the token (401), the caller is refused, for five seconds', async () => {
    provider.fail(statusError(401))
    const { enrich } = enrichment()
    const refused = await enrich()
    provider.answer({ sub: 'alice' })

    await clock.advance(4_999)
    const within = await enrich()
    await clock.advance(1)
    const after = await enrich()

    expect(refused).toMatchObject({ kind: 'denial', reason: 'invalid_token', cause: 'inactive' })
    expect([within.kind, after.kind]).toEqual(['denial', 'token'])
  })

  test.each([400, 403, 404, 302])('for another reason (%i), it is a fault', async (status) => {
    provider.fail(statusError(status))

    await expect(enrichment().enrich()).rejects.toThrow(Fault)
  })

  test('because it cannot be reached, it is a fault', async () => {
    provider.fail()

    await expect(enrichment().enrich()).rejects.toThrow('Cannot ask okta.userinfo: connection refused')
  })

  test('because its discovery document is refused (401), it is a fault: nobody spoke of the token', async () => {
    const endpoint = () => Promise.reject(statusError(401))

    await expect(enrichment({ endpoint }).enrich()).rejects.toThrow(Fault)
  })

  test('any more, what it told before is a fault too once its time is over', async () => {
    provider.answer({ sub: 'alice' })
    const { enrich } = enrichment()
    await enrich()
    provider.fail()

    await clock.advance(29_999)
    const within = await enrich()
    await clock.advance(1)

    expect(within.kind).toBe('token')
    await expect(enrich()).rejects.toThrow(Fault)
  })
})

test('is asked once for many requests with one token', async () => {
  const answer = provider.hang()
  const { enrich } = enrichment()

  const waiting = [1, 2, 3].map(() => enrich())
  await clock.advance(0)
  answer({ sub: 'alice', email: 'alice@example.com' })
  await Promise.all(waiting)
  await enrich()

  expect(provider.asked).toHaveLength(1)
})
