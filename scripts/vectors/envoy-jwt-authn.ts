import { FakeClock } from '../../test/support/fake-clock.ts'
import { createTestAuthenticator } from '../../test/support/test-authenticator.ts'
import { createTestIssuer, type TestIssuer } from '../../test/support/test-issuer.ts'
import { outcomeOf, readJson, unless, type VectorSet } from './report.ts'

interface Vectors {
  jwks: unknown
  cases: { name: string; jwt: string; expect: string }[]
}

/** Who must come out of each token, or why none may: by the issuers that are trusted. */
interface Expected {
  /** Where https://example.com and https://other.com are trusted, each for its own audience. */
  both: string
  /** Where only https://example.com is. */
  exampleOnly: string
}

// `expect` of the file in the words of our refusals; its text is there to be read, not to be parsed.
const expected: Readonly<Record<string, Expected>> = {
  GoodToken: { both: 'test@example.com', exampleOnly: 'test@example.com' },
  ExpiredToken: { both: 'expired', exampleOnly: 'expired' },
  InvalidAudToken: { both: 'wrong_audience', exampleOnly: 'wrong_audience' },
  // Its header carries no key id: it is tried against every key, and none verifies it.
  NonExistKidToken: { both: 'bad_signature', exampleOnly: 'bad_signature' },
  OtherGoodToken: { both: 'test@other.com', exampleOnly: 'unknown_issuer' },
  NestedGoodToken: { both: 'test@example.com', exampleOnly: 'test@example.com' },
}

/** The tokens of Envoy's own jwt_authn filter, through the whole authenticator. */
export const envoyJwtAuthn: VectorSet = {
  entry: 'envoy-jwt-authn.json',
  async run(path) {
    const { jwks, cases } = readJson<Vectors>(path)
    // The good tokens expire in 2033.
    const clock = new FakeClock(Date.UTC(2026, 0, 1))
    const example = await trusted(clock, jwks, 'https://example.com', 'example_service')
    const other = await trusted(clock, jwks, 'https://other.com', 'other_service')
    const strict = await trusted(clock, jwks, 'https://other.com', 'example_service')
    const outcomes = cases.flatMap(({ name, jwt }) => [
      outcomeOf(`${name}, both issuers trusted`, async () =>
        unless(await verdictOn(clock, [example, other], jwt), expected[name]?.both),
      ),
      outcomeOf(`${name}, example.com alone trusted`, async () =>
        unless(await verdictOn(clock, [example], jwt), expected[name]?.exampleOnly),
      ),
    ])
    const otherToken = cases.find(({ name }) => name === 'OtherGoodToken')?.jwt ?? ''
    outcomes.push(
      outcomeOf('OtherGoodToken, its issuer trusted for another audience', async () =>
        unless(await verdictOn(clock, [strict], otherToken), 'wrong_audience'),
      ),
    )
    return { outcomes: await Promise.all(outcomes) }
  },
}

async function trusted(
  clock: FakeClock,
  jwks: unknown,
  issuer: string,
  audience: string,
): Promise<TestIssuer> {
  const made = createTestIssuer({ clock, issuer, audiences: [audience], algorithms: ['RS256'] })
  made.keys.document(jwks)
  await made.keySet.start()
  return made
}

/** The `sub` of the caller, or the cause of the refusal. */
async function verdictOn(clock: FakeClock, issuers: readonly TestIssuer[], token: string) {
  const caller = await createTestAuthenticator(clock, issuers).show(`Bearer ${token}`)
  if (caller.kind === 'denial') return caller.cause
  return caller.kind === 'anonymous' ? caller.kind : caller.userId
}
