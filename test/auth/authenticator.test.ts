import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { Fault } from '../../src/core/fault.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { base64Url, createSigner, type Signer } from '../support/signer.ts'
import { createTestAuthenticator } from '../support/test-authenticator.ts'
import { createTestIssuer, type TestIssuer } from '../support/test-issuer.ts'
import { until } from '../support/until.ts'

let signer: Signer
let other: Signer
let clock: FakeClock
let issuer: TestIssuer

beforeAll(async () => {
  ;[signer, other] = await Promise.all([createSigner('RS256', 'key-1'), createSigner('ES256', 'key-2')])
})

beforeEach(async () => {
  clock = new FakeClock()
  issuer = createTestIssuer({ clock })
  issuer.keys.publish(signer.jwk)
  await issuer.keySet.start()
})

describe('asks who is calling', () => {
  test.each(['required', 'optional'] as const)(
    'a good token gives its identity where auth is %s',
    async (auth) => {
      const { show } = createTestAuthenticator(clock, [issuer])

      expect(await show(`Bearer ${await signer.sign(issuer.claims())}`, auth)).toMatchObject({
        kind: 'token',
        issuer: issuer.spec.issuer,
        userId: '42',
      })
    },
  )

  test.each([
    ['required', { kind: 'denial', reason: 'missing_token' }],
    ['optional', { kind: 'anonymous' }],
    ['none', { kind: 'anonymous' }],
  ] as const)('no credential where auth is %s', async (auth, caller) => {
    const { show } = createTestAuthenticator(clock, [issuer])

    expect(await show(undefined, auth)).toMatchObject(caller)
  })

  test.each([
    ['', 'invalid_request'],
    ['Basic Ym9iOnBhc3N3b3Jk', 'unsupported_scheme'],
    ['Bearer a, Bearer b', 'invalid_request'],
    ['Bearer a.b.c', 'invalid_token'],
  ])('a bad credential %j is refused on an optional route too', async (authorization, reason) => {
    const { show } = createTestAuthenticator(clock, [issuer])

    expect(await show(authorization, 'required')).toMatchObject({ kind: 'denial', reason })
    expect(await show(authorization, 'optional')).toMatchObject({ kind: 'denial', reason })
    expect(await show(authorization, 'none')).toMatchObject({ kind: 'anonymous' })
  })

  test('to the caller every bad token is an invalid token, and nothing of it is repeated', async () => {
    const { show } = createTestAuthenticator(clock, [issuer])
    const token = await signer.sign(issuer.claims({ sub: 'very-secret-name', aud: 'very-secret-api' }))

    const denial = await show(`Bearer ${token}`)

    expect(denial).toMatchObject({ kind: 'denial', reason: 'invalid_token', cause: 'wrong_audience' })
    expect(JSON.stringify(denial)).not.toMatch(/very-secret|eyJ/)
  })
})

describe('several issuers', () => {
  test('are told apart by iss to the letter, each with its own keys', async () => {
    const second = createTestIssuer({ clock, name: 'second', issuer: 'https://second.example.com/' })
    second.keys.publish(other.jwk)
    await second.keySet.start()
    const { verdictOn } = createTestAuthenticator(clock, [issuer, second])

    expect(await verdictOn(await signer.sign(issuer.claims()))).toBe('ok')
    expect(await verdictOn(await other.sign(second.claims()))).toBe('ok')
    expect(await verdictOn(await other.sign(issuer.claims()))).toBe('unknown_key')
    expect(await verdictOn(await signer.sign(second.claims()))).toBe('unknown_key')
    expect(await verdictOn(await signer.sign(second.claims(), { kid: undefined }))).toBe('unknown_key')
  })

  test.each([
    ['another', 'https://evil.example/'],
    ['ours without its slash', 'https://login.example.com'],
    ['ours in capitals', 'HTTPS://LOGIN.EXAMPLE.COM/'],
    ['a number', 7],
    ['a list with ours', ['https://login.example.com/']],
    ['missing', undefined],
    ['a name of Object’s own', 'constructor'],
  ])('an issuer that is %s is unknown, and causes no fetch', async (_what, iss) => {
    const { verdictOn, observed } = createTestAuthenticator(clock, [issuer])

    const verdict = await verdictOn(await signer.sign(issuer.claims({ iss }), { kid: 'unknown' }))

    expect(verdict).toBe('unknown_issuer')
    expect(issuer.keys.fetches).toBe(1)
    expect(observed.refusals).toEqual(['unknown: unknown_issuer'])
  })

  test('one that is down does not disturb another', async () => {
    const down = createTestIssuer({ clock, name: 'down', issuer: 'https://down.example.com/' })
    const answer = down.keys.hang()
    const starting = down.keySet.start()
    const { show, verdictOn } = createTestAuthenticator(clock, [down, issuer])

    const stuck = show(`Bearer ${await other.sign(down.claims())}`).catch((error: unknown) => error)
    const good = await verdictOn(await signer.sign(issuer.claims()))
    await clock.advance(500)

    expect(good).toBe('ok')
    expect(await stuck).toBeInstanceOf(Fault)
    expect(await stuck).toMatchObject({ part: 'auth', message: expect.stringContaining('issuer down') })
    answer(other.jwk)
    await starting
  })

  test('an issuer without keys is a fault, never a denial and never an allow', async () => {
    const down = createTestIssuer({ clock, name: 'down', issuer: 'https://down.example.com/' })
    down.keys.fail()
    await down.keySet.start()
    const { show } = createTestAuthenticator(clock, [down])

    await expect(show(`Bearer ${await other.sign(down.claims())}`)).rejects.toThrow(Fault)
    await expect(show(`Bearer ${await other.sign(down.claims())}`, 'optional')).rejects.toThrow(Fault)
  })

  test('an algorithm that the issuer may not use is refused while it has no keys', async () => {
    const down = createTestIssuer({ clock, algorithms: ['RS256'] })
    down.keys.fail()
    await down.keySet.start()
    const { verdictOn } = createTestAuthenticator(clock, [down])

    expect(await verdictOn(await other.sign(down.claims()))).toBe('unsupported_algorithm')
  })
})

describe('a verified token', () => {
  test('is remembered: the second time costs no verification', async () => {
    const { show, observed } = createTestAuthenticator(clock, [issuer])
    const token = await signer.sign(issuer.claims())

    const first = await show(`Bearer ${token}`)
    const second = await show(`bearer ${token}`)

    expect(second).toBe(first)
    expect(observed).toEqual({ hits: 1, misses: 1, refusals: [] })
  })

  test('is remembered by all of it: one that differs in a byte is verified anew', async () => {
    const { verdictOn, observed } = createTestAuthenticator(clock, [issuer])
    const token = await signer.sign(issuer.claims())
    await verdictOn(token)

    const last = token.slice(-1) === 'A' ? 'Q' : 'A'
    const verdicts = [
      await verdictOn(token.slice(0, -1) + last),
      await verdictOn(`${token}A`),
      await verdictOn(token.slice(0, -1)),
      await verdictOn(token.toUpperCase()),
    ]

    expect(verdicts).not.toContain('ok')
    // Two of them are no well-formed tokens and cost no verification.
    expect(observed).toMatchObject({ hits: 0, misses: 3 })
  })

  test('is not remembered beyond its exp', async () => {
    const { verdictOn, observed } = createTestAuthenticator(clock, [issuer])
    const token = await signer.sign(issuer.claims({ exp: clock.now() / 1_000 + 60 }))
    await verdictOn(token)

    await clock.advance(89_000)
    const within = await verdictOn(token)
    await clock.advance(1_000)
    const after = await verdictOn(token)

    expect({ within, after }).toEqual({ within: 'ok', after: 'expired' })
    expect(observed).toMatchObject({ hits: 1, misses: 2 })
  })

  test('is not remembered beyond the TTL', async () => {
    const { verdictOn, observed } = createTestAuthenticator(clock, [issuer])
    const token = await signer.sign(issuer.claims())
    await verdictOn(token)

    await clock.advance(300_000)
    const verdict = await verdictOn(token)

    expect(verdict).toBe('ok')
    expect(observed).toEqual({ hits: 0, misses: 2, refusals: [] })
  })

  test('is forgotten once its key is withdrawn, long before the TTL ends', async () => {
    const { verdictOn } = createTestAuthenticator(clock, [issuer], { ttlMs: 3_600_000 })
    const token = await signer.sign(issuer.claims())
    const before = await verdictOn(token)

    issuer.keys.publish(other.jwk)
    await clock.advance(300_000)
    await until(() => issuer.keySet.state.ageMs === 0)
    const after = await verdictOn(token)

    expect({ before, after }).toEqual({ before: 'ok', after: 'unknown_key' })
  })

  test('stays remembered while its key is still published beside a new one', async () => {
    const { verdictOn, observed } = createTestAuthenticator(clock, [issuer], { ttlMs: 3_600_000 })
    const token = await signer.sign(issuer.claims())
    await verdictOn(token)

    issuer.keys.publish(other.jwk, signer.jwk)
    await clock.advance(300_000)
    await until(() => issuer.keySet.state.ageMs === 0)
    await verdictOn(token)

    expect(observed).toEqual({ hits: 1, misses: 1, refusals: [] })
  })

  test('is not remembered at all where the TTL is 0', async () => {
    const { verdictOn, observed, cache } = createTestAuthenticator(clock, [issuer], { ttlMs: 0 })
    const token = await signer.sign(issuer.claims())

    await verdictOn(token)
    await verdictOn(token)

    expect(observed).toMatchObject({ hits: 0, misses: 2 })
    expect(cache.size).toBe(0)
  })
})

test('a refused token is never remembered: nobody can fill the cache with inventions', async () => {
  const { verdictOn, cache } = createTestAuthenticator(clock, [issuer])
  const forger = await createSigner('RS256', 'key-1')

  for (const sub of ['a', 'b', 'c']) await verdictOn(await forger.sign(issuer.claims({ sub })))
  await verdictOn(await signer.sign(issuer.claims({ aud: 'other' })))

  expect(cache.size).toBe(0)
})

test('refusals are told with the issuer, once it is known, and the cause', async () => {
  const { verdictOn, observed } = createTestAuthenticator(clock, [issuer])

  await verdictOn('garbage')
  await verdictOn(`${base64Url({ alg: 'none' })}.${base64Url(issuer.claims())}.AA`)
  await verdictOn(await signer.sign(issuer.claims({ exp: 1 })))

  expect(observed.refusals).toEqual(['unknown: malformed', 'oidc: unsupported_algorithm', 'oidc: expired'])
})
