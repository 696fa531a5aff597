import { join } from 'node:path'
import { writeIn } from './files.ts'
import type { Stack } from './stack.ts'

const names = [
  'auth0',
  'okta',
  'oidc',
  'expired',
  'otherAudience',
  'withoutScope',
  'unknownIssuer',
  'opaque',
  'user',
  'free',
  'gold',
  'apiKey',
  'badApiKey',
] as const

/** A credential of the tour. */
export type CredentialName = (typeof names)[number]

/** The header that each credential is shown in, and its value. */
export type Credentials = Readonly<Record<CredentialName, readonly [header: string, value: string]>>

/**
 * Gets the credentials of the tour: tokens from the real token endpoints, odd ones signed by the providers' real keys,
 * and the key that `gatepost keys new` made.
 */
export async function tourCredentials({ providers, apiKey }: Stack): Promise<Credentials> {
  const { auth0, okta, oidc, partner } = providers
  const scope = 'read:users read:orders'
  const ada = { sub: 'ada', email: 'ada@example.com', name: 'Ada Lovelace' }
  return {
    auth0: bearer(await auth0.issueToken({ scope })),
    okta: bearer(await okta.issueToken({ scope })),
    oidc: bearer(await oidc.issueToken({ scope })),
    expired: bearer(auth0.signToken({ exp: Math.floor(Date.now() / 1000) - 3600 })),
    otherAudience: bearer(await auth0.issueToken({ audience: 'https://elsewhere.example.com' })),
    withoutScope: bearer(await auth0.issueToken({ scope: 'read:users' })),
    unknownIssuer: bearer(auth0.signToken({ iss: 'https://login.unknown.example/' })),
    opaque: bearer(await partner.issueToken({ scope, format: 'opaque' })),
    user: bearer(await partner.issueUserToken(ada)),
    free: bearer(auth0.signToken({ sub: 'fred', azp: 'free-app', plan: 'free' })),
    gold: bearer(auth0.signToken({ sub: 'greta', azp: 'gold-app', plan: 'gold' })),
    apiKey: ['x-api-key', apiKey],
    badApiKey: ['x-api-key', withAnotherSecret(apiKey)],
  }
}

/** Writes each credential to a file that holds its header, as `curl -H @FILE` wants it. */
export async function writeCredentials(folder: string, credentials: Credentials): Promise<void> {
  for (const name of names) await writeIn(folder, name, `${credentials[name].join(': ')}\n`)
}

/** The path of the file that {@link writeCredentials} writes. */
export function credentialFile(folder: string, name: CredentialName): string {
  return join(folder, name)
}

function bearer(token: string): readonly [string, string] {
  return ['authorization', `Bearer ${token}`]
}

/** The id of a key that exists, and a secret that does not. */
function withAnotherSecret(key: string): string {
  const secret = /[^_]+$/
  return key.replace(secret, 'A'.repeat(43))
}
