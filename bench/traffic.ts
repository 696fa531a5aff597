import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { OpenIdProvider } from '../test/support/openid-provider.ts'

/** How many distinct tokens the load carries. */
const tokenCount = 256

/** What Envoy's route tells Gatepost of itself, by either filter. */
const routeSettings = { route: 'users', service: 'user_service', auth: 'required' }

/** The load's ingredients, in files that the load generators read. */
export interface Traffic {
  tokens: readonly string[]
  /** One token a line. */
  tokensFile: string
  /** A JSON array of CheckRequests, one for each token. */
  checksFile: string
}

/** Signs the tokens and writes them down for wrk and ghz. */
export async function writeTraffic(provider: OpenIdProvider, folder: string): Promise<Traffic> {
  const tokens = Array.from({ length: tokenCount }, (_, at) => signToken(provider, at))
  const tokensFile = join(folder, 'tokens.txt')
  const checksFile = join(folder, 'checks.json')
  await writeFile(tokensFile, `${tokens.join('\n')}\n`)
  await writeFile(checksFile, JSON.stringify(tokens.map(checkRequest)))
  return { tokens, tokensFile, checksFile }
}

/** About 950 characters, as an identity provider's access tokens are with a handful of scopes. */
function signToken(provider: OpenIdProvider, at: number): string {
  const client = `aB3dE5gH7jK9mN1pQ3sT5vW7xY9z${String(at).padStart(4, '0')}`
  return provider.signToken({
    sub: `auth0|65f1c0ffee0ddba11${String(at).padStart(7, '0')}`,
    azp: client,
    scope: 'openid profile email offline_access read:users write:users read:orders',
    permissions: ['read:users', 'write:users'],
  })
}

/** A Check as Envoy sends it for the request that wrk sends. */
function checkRequest(token: string, at: number): object {
  const id = `6f1c2b9e-8a3d-4c57-9e21-${String(at).padStart(12, '0')}`
  const time = new Date().toISOString()
  return {
    attributes: {
      source: { address: { socket_address: { address: '127.0.0.1', port_value: 41_233 } } },
      destination: { address: { socket_address: { address: '127.0.0.1', port_value: 8_080 } } },
      request: {
        time,
        http: {
          id: String(at),
          method: 'GET',
          path: '/users/42?fields=name,email',
          host: 'api.example.com',
          scheme: 'http',
          protocol: 'HTTP/1.1',
          headers: {
            ':authority': 'api.example.com',
            ':method': 'GET',
            ':path': '/users/42?fields=name,email',
            ':scheme': 'http',
            'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
            accept: 'application/json, text/plain, */*',
            'accept-language': 'en-GB,en;q=0.8,de;q=0.5',
            'accept-encoding': 'gzip, deflate, br, zstd',
            authorization: `Bearer ${token}`,
            'cache-control': 'no-cache',
            traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
            'x-forwarded-proto': 'http',
            'x-request-id': id,
          },
        },
      },
      context_extensions: routeSettings,
    },
  }
}
