import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createAuthority, type KeyPair } from '../test/support/certificates.ts'
import type { OpenIdProvider } from '../test/support/openid-provider.ts'
import { type PolicyState, policyText } from './policy.ts'

/** The name in the demo's client certificate. */
export const spiffeId = 'spiffe://demo/billing'

/** The files that Gatepost reads, by path. */
export interface DemoFiles {
  /** The folder of all that the demo writes. */
  folder: string
  policy: string
  /** What the tour replaces the policy by. */
  otherPolicies: Readonly<Record<Exclude<PolicyState, 'first'>, string>>
  apiKeys: string
}

/** The certificates of the listener that asks for one. */
export interface Certificates {
  /** The certificate of the authority that signed the others. */
  ca: string
  server: KeyPair
  client: KeyPair
}

/** Writes what Gatepost reads. @param keyEntry an entry of the keys file, as `gatepost keys new` made it. */
export async function writeFiles(
  folder: string,
  partner: OpenIdProvider,
  keyEntry: unknown,
): Promise<DemoFiles> {
  const write = (name: string, text: string) => writeIn(folder, name, text)
  const { issuer, client } = partner
  const secretFile = await write('partner-client-secret', client.secret)
  const policy = (state: PolicyState) => policyText({ issuer, clientId: client.id, secretFile }, state)
  return {
    folder,
    policy: await write('policy.yaml', policy('first')),
    otherPolicies: {
      bad: await write('policy-bad.yaml', policy('bad')),
      good: await write('policy-good.yaml', policy('good')),
      enforced: await write('policy-enforced.yaml', policy('enforced')),
    },
    // JSON is YAML.
    apiKeys: await write('api-keys.yaml', `keys:\n  - ${JSON.stringify(keyEntry)}\n`),
  }
}

/** Makes the certificates, and writes those that a client needs: `ca.pem`, `client.pem` and `client-key.pem`. */
export async function writeCertificates(folder: string): Promise<Certificates> {
  const authority = createAuthority("the demo's authority")
  const client = authority.issue('billing', { uris: [spiffeId] })
  await writeIn(folder, 'ca.pem', authority.cert)
  await writeIn(folder, 'client.pem', client.cert)
  await writeIn(folder, 'client-key.pem', client.key)
  return { ca: authority.cert, server: authority.issue('localhost', { ips: ['127.0.0.1'] }), client }
}

/** Writes an environment to a file for `node --env-file`. */
export async function writeEnvironment(
  folder: string,
  environment: Readonly<Record<string, string>>,
): Promise<{ environment: Readonly<Record<string, string>>; file: string }> {
  const lines = Object.entries(environment).map(([name, value]) => `${name}=${JSON.stringify(value)}\n`)
  return { environment, file: await writeIn(folder, 'gatepost.env', lines.join('')) }
}

/** Writes a file for its owner's eyes. @returns its path. */
export async function writeIn(folder: string, name: string, text: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text, { mode: 0o600 })
  return path
}
