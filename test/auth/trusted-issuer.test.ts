import { describe, expect, test } from '@jest/globals'
import type { UnverifiedToken } from '../../src/auth/compact-jws.ts'
import { refuseToken } from '../../src/auth/refusals.ts'
import { judgeOpaqueToken, judgeToken, type TrustedIssuer } from '../../src/auth/trusted-issuer.ts'
import type { VerifiedToken } from '../../src/auth/verifier.ts'
import type { Denial } from '../../src/core/denials.ts'
import { Fault } from '../../src/core/fault.ts'
import type { Identity } from '../../src/core/identity.ts'

const nowMs = Date.UTC(2030, 0, 1)

const parsed: UnverifiedToken = {
  kind: 'unverified',
  token: 'a.b.c',
  algorithm: 'RS256',
  keyId: undefined,
  issuer: 'https://one.example',
}

function identity(issuer: string): Identity {
  return { kind: 'token', issuer, userId: '42', scopes: [], claims: {} }
}

/** An issuer that judges as told, and remembers which tokens it was asked about. */
function introspecting(name: string, outcome: Identity | Denial | Error) {
  const asked: string[] = []
  const issuer: TrustedIssuer = {
    spec: { name, issuer: `https://${name}.example` },
    judge: {
      kind: 'introspection',
      introspect: async (token) => {
        asked.push(token)
        if (Error.isError(outcome)) throw outcome
        return outcome
      },
    },
  }
  return { issuer, asked }
}

function byKeys(outcome: VerifiedToken | Denial): TrustedIssuer {
  return {
    spec: { name: 'keys', issuer: 'https://keys.example' },
    judge: { kind: 'keys', verifier: { verify: async () => outcome } },
  }
}

const inactive = refuseToken('inactive')
const noRecord = {
  set: () => {
    throw new Error('remembered')
  },
}

describe('a token that names an issuer', () => {
  test('is judged by its keys, and remembered if it is good', async () => {
    const verified: VerifiedToken = {
      kind: 'verified',
      identity: identity('https://keys.example'),
      key: { keyId: undefined, fingerprint: 'f', byAlgorithm: new Map(), active: true },
      notBeforeMs: undefined,
      expiresAtMs: nowMs + 1,
    }
    const remembered: unknown[] = []
    const cache = { set: (...entry: unknown[]) => remembered.push(entry) }

    const outcome = await judgeToken(byKeys(verified), parsed, cache, nowMs)

    expect(outcome).toBe(verified.identity)
    expect(remembered).toEqual([['a.b.c', verified, nowMs]])
  })

  test('is not remembered where it is bad', async () => {
    const denial = refuseToken('expired')

    expect(await judgeToken(byKeys(denial), parsed, noRecord, nowMs)).toBe(denial)
  })

  test('is judged by asking where that is how the issuer is trusted: its signature proves nothing', async () => {
    const { issuer, asked } = introspecting('one', inactive)

    expect(await judgeToken(issuer, parsed, noRecord, nowMs)).toBe(inactive)
    expect(asked).toEqual(['a.b.c'])
  })
})

describe('a token that names no issuer', () => {
  test('is nobody’s where nobody can be asked', async () => {
    expect(await judgeOpaqueToken([byKeys(inactive)], 'opaque', nowMs)).toBeUndefined()
  })

  test('is asked about in the order of the configuration, until one knows it', async () => {
    const one = introspecting('one', inactive)
    const two = introspecting('two', identity('https://two.example'))
    const three = introspecting('three', identity('https://three.example'))

    const judged = await judgeOpaqueToken([one.issuer, two.issuer, three.issuer], 'opaque', nowMs)

    expect(judged).toEqual({ issuer: two.issuer, outcome: identity('https://two.example') })
    expect([one.asked, two.asked, three.asked]).toEqual([['opaque'], ['opaque'], []])
  })

  test('is refused where nobody knows it', async () => {
    const [one, two] = [introspecting('one', inactive), introspecting('two', inactive)]

    const judged = await judgeOpaqueToken([one.issuer, two.issuer], 'opaque', nowMs)

    expect(judged).toEqual({ issuer: two.issuer, outcome: inactive })
  })

  test('is refused by who knows it and objects, without asking further', async () => {
    const one = introspecting('one', refuseToken('wrong_audience'))
    const two = introspecting('two', identity('https://two.example'))

    const judged = await judgeOpaqueToken([one.issuer, two.issuer], 'opaque', nowMs)

    expect(judged).toMatchObject({ issuer: one.issuer, outcome: { cause: 'wrong_audience' } })
    expect(two.asked).toEqual([])
  })

  test('of one issuer passes while another one is down', async () => {
    const down = introspecting('down', new Fault('auth', 'down'))
    const up = introspecting('up', identity('https://up.example'))

    expect(await judgeOpaqueToken([down.issuer, up.issuer], 'opaque', nowMs)).toMatchObject({
      issuer: up.issuer,
    })
  })

  test.each([
    ['before', (down: TrustedIssuer, up: TrustedIssuer) => [down, up]],
    ['after', (down: TrustedIssuer, up: TrustedIssuer) => [up, down]],
  ])(
    'and that nobody who can be asked knows is a fault where one %s is down: it may be that one’s',
    async (_when, order) => {
      const down = introspecting('down', new Fault('auth', 'down'))
      const up = introspecting('up', inactive)

      await expect(judgeOpaqueToken(order(down.issuer, up.issuer), 'opaque', nowMs)).rejects.toThrow(Fault)
    },
  )
})
