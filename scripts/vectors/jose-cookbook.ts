import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { compactVerify, decodeProtectedHeader, type JWK } from 'jose'
import { parseToken } from '../../src/auth/compact-jws.ts'
import { importKeys } from '../../src/auth/verification-key.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { createTestAuthenticator } from '../../test/support/test-authenticator.ts'
import { createTestIssuer, type TestIssuer } from '../../test/support/test-issuer.ts'
import { type Outcome, outcomeOf, readJson, unless, type VectorSet } from './report.ts'

interface SignatureExample {
  input: { payload: string; key: JWK }
  output: { compact?: string; json?: object; json_flat?: object }
}

/** Examples whose compact form must verify; all others must be refused. */
const verified = ['4_1.rsa_v15_signature', '4_2.rsa-pss_signature', '4_3.ecdsa_signature']

const refused = [
  '4_4.hmac-sha2_integrity_protection',
  '4_5.signature_with_detached_content',
  '4_6.protecting_specific_header_fields',
  '4_7.protecting_content_only',
  '4_8.multiple_signatures',
]

const publicKeys = ['3_1.ec_public_key', '3_3.rsa_public_key']

const unfitKeys = [
  '3_2.ec_private_key',
  '3_4.rsa_private_key',
  '3_5.symmetric_key_mac_computation',
  '3_6.symmetric_key_encryption',
]

/**
 * The JOSE cookbook (RFC 7520). Its payload is prose and no claims, so the examples that must verify go through the
 * layer below: our key set chooses the key, as for a token, and jose checks the signature by the call that `jwtVerify`
 * itself begins with. Whatever must be refused is shown to the whole authenticator.
 */
export const joseCookbook: VectorSet = {
  entry: 'jose-cookbook',
  async run(path) {
    const issuer = createTestIssuer({ clock: new FakeClock() })
    const read = <T>(folder: string, name: string) => readJson<T>(join(path, folder, `${name}.json`))
    const example = (name: string) => read<SignatureExample>('jws', name)
    issuer.keys.publish(...publicKeys.map((name) => read<JWK>('jwk', name)))
    await issuer.keySet.start()

    const outcomes = [
      ...(await all(verified, (name) => verification(name, example(name), issuer))),
      ...(await all([...verified, ...refused], (name) => refusals(name, example(name), issuer))),
      ...(await all(publicKeys, (name) => importOf(name, read('jwk', name), 1))),
      ...(await all(unfitKeys, (name) => importOf(name, read('jwk', name), 0))),
    ]
    return { outcomes, unused: [...unread(path, 'jws'), ...unread(path, 'jwk')] }
  },
}

async function all(names: readonly string[], run: (name: string) => Promise<Outcome[]>): Promise<Outcome[]> {
  return (await Promise.all(names.map(run))).flat()
}

async function verification(name: string, { input, output }: SignatureExample, issuer: TestIssuer) {
  const token = output.compact ?? ''
  return [
    await outcomeOf(`${name} verifies`, async () => unless(await payloadOf(token, issuer), input.payload)),
    await outcomeOf(`${name} does not verify with another payload`, async () => {
      const [header, , signature] = token.split('.')
      const forged = [header, Buffer.from('Frodo').toString('base64url'), signature].join('.')
      return unless(
        await payloadOf(forged, issuer).catch(({ code }) => code),
        'ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
      )
    }),
  ]
}

/** Verifies a compact JWS by the key that the key set finds for it. */
async function payloadOf(token: string, { keySet }: TestIssuer): Promise<string> {
  const { alg = '', kid } = decodeProtectedHeader(token)
  const [key] = await keySet.find(kid, alg)
  const cryptoKey = key?.byAlgorithm.get(alg)
  if (!cryptoKey) throw new Error(`no key for ${alg}`)
  const { payload } = await compactVerify(token, cryptoKey, { algorithms: [alg] })
  return Buffer.from(payload).toString('utf8')
}

async function refusals(
  name: string,
  { input, output }: SignatureExample,
  issuer: TestIssuer,
): Promise<Outcome[]> {
  const { compact, json, json_flat } = output
  const forms = {
    // The compact form of an example that verifies is no token either: its payload is prose.
    compact,
    json: json && JSON.stringify(json),
    json_flat: json_flat && JSON.stringify(json_flat),
  }
  const outcomes = Object.entries(forms).flatMap(([form, text]) =>
    text === undefined ? [] : [outcomeOf(`${name} as ${form} is no token`, () => refusal(text, issuer))],
  )
  return Promise.all([...outcomes, ...unverifiable(name, input.key, compact, issuer)])
}

async function refusal(text: string, issuer: TestIssuer): Promise<string | undefined> {
  const { show } = createTestAuthenticator(new FakeClock(), [issuer])
  const parsed = parseToken(text)
  const caller = await show(`Bearer ${text}`)
  return unless(`${parsed.kind}, ${caller.kind}`, 'denial, denial')
}

/** For an HMAC there is no key: neither its own, even if HMAC were asked for, nor a public one. */
function unverifiable(
  name: string,
  key: JWK,
  compact: string | undefined,
  issuer: TestIssuer,
): Promise<Outcome>[] {
  if (key.kty !== 'oct' || compact === undefined || compact.includes('..')) return []
  return [
    outcomeOf(`${name}: its symmetric key is refused`, async () =>
      unless((await importKeys({ keys: [key] }, ['HS256'])).keys.length, 0),
    ),
    outcomeOf(`${name} does not verify`, async () =>
      unless(await payloadOf(compact, issuer).catch(({ message }) => message), 'no key for HS256'),
    ),
  ]
}

async function importOf(name: string, key: JWK, expected: number): Promise<Outcome[]> {
  return [
    await outcomeOf(`${name} is ${expected === 1 ? 'taken' : 'refused'}`, async () =>
      unless((await importKeys({ keys: [key] }, ['RS256', 'ES512'])).keys.length, expected),
    ),
  ]
}

function unread(path: string, folder: string): string[] {
  const known = new Set([...verified, ...refused, ...publicKeys, ...unfitKeys].map((name) => `${name}.json`))
  return readdirSync(join(path, folder))
    .filter((file) => !known.has(file))
    .map((file) => `${folder}/${file}`)
}
