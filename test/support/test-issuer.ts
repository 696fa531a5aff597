import type { IssuerSpec } from '../../src/auth/issuers.ts'
import { oidcIssuer } from '../../src/auth/issuers.ts'
import { KeySet } from '../../src/auth/key-set.ts'
import { createIssuerVerifier, type IssuerVerifier } from '../../src/auth/verifier.ts'
import type { FakeClock } from './fake-clock.ts'
import { createLogLines } from './log-lines.ts'
import { ScriptedKeys } from './scripted-keys.ts'

/** An issuer whose keys a test publishes, with the real key set and verifier before it. */
export interface TestIssuer {
  spec: IssuerSpec
  /** What it publishes. */
  keys: ScriptedKeys
  keySet: KeySet
  verifier: IssuerVerifier
  /** Claims of a token that is good for an hour from the clock's beginning; `more` replaces and adds. */
  claims(more?: Record<string, unknown>): Record<string, unknown>
}

/** What a test may want otherwise. */
export interface TestIssuerOptions extends Partial<IssuerSpec> {
  clock: FakeClock
  /** Leeway on `exp` and `nbf`. Default 30. */
  clockSkewSeconds?: number
}

/** The audience of tokens for whoever does not choose one. */
const testAudience = 'https://api.example.com'

/** Makes an issuer of every asymmetric algorithm. Its keys are fetched by `keySet.start()`. */
export function createTestIssuer({ clock, clockSkewSeconds = 30, ...more }: TestIssuerOptions): TestIssuer {
  const spec = { ...oidcIssuer('https://login.example.com/', [testAudience]), ...more }
  const keys = new ScriptedKeys()
  const keySet = new KeySet({
    name: spec.name,
    algorithms: spec.algorithms,
    fetchKeys: keys.fetchKeys,
    clock,
    logger: createLogLines().logger,
    random: () => 0.5,
  })
  const expiresAt = clock.now() / 1_000 + 3_600
  return {
    spec,
    keys,
    keySet,
    verifier: createIssuerVerifier(spec, keySet, clockSkewSeconds),
    claims: (claims = {}) => ({ iss: spec.issuer, sub: '42', aud: testAudience, exp: expiresAt, ...claims }),
  }
}
