import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Provider } from 'oidc-provider'

/**
 * A sample OpenID provider. Its keys live as long as the process, and so does the secret of its one client: `GET
 * /sample-token?scope=read:orders` asks the token endpoint on behalf of whoever comes, which no real provider does.
 * Usage: node openid.ts ISSUER HOST:PORT
 */
const [issuer = 'http://openid:8084', address = '0.0.0.0:8084'] = process.argv.slice(2)
const { hostname, port } = new URL(`http://${address}`)

const audience = 'https://api.example.com'
const client = { id: 'sample-app', secret: randomUUID() }
const lifetimeSeconds = 3_600
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg: 'RS256', use: 'sig' }] },
  cookies: { keys: [randomUUID()] },
  scopes: ['read:users', 'read:orders'],
  clients: [
    {
      client_id: client.id,
      client_secret: client.secret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    },
  ],
  ttl: { ClientCredentials: lifetimeSeconds },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({
        scope: 'read:users read:orders',
        accessTokenTTL: lifetimeSeconds,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
})
const answer = provider.callback()

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? '/', issuer)
  const answering = pathname === '/sample-token' ? token(searchParams, response) : answer(request, response)
  answering.catch((error: Error) => response.writeHead(500).end(`${error.message}\n`))
})
server.listen(Number(port), hostname)

// Process 1 of a container gets no default for a signal.
process.on('SIGTERM', () => process.exit(0))

async function token(asked: URLSearchParams, response: ServerResponse<IncomingMessage>): Promise<void> {
  const scope = asked.get('scope')
  const answered = await fetch(`http://127.0.0.1:${port}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(`${client.id}:${client.secret}`)}` },
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      resource: audience,
      ...(scope !== null && { scope }),
    }),
  })
  const { access_token: accessToken } = (await answered.json()) as { access_token?: string }
  response.writeHead(accessToken === undefined ? 400 : 200, { 'content-type': 'text/plain' })
  response.end(`${accessToken ?? 'The scopes are read:users and read:orders.'}\n`)
}
