import {
  createPublicKey,
  generateKeyPair as generateKeyPairCallback,
  type JsonWebKey,
  type KeyObject,
  randomUUID,
  sign,
} from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { promisify } from 'node:util'
import { type IssuedToken, Provider } from 'oidc-provider'
import { answerFaultily, type ProviderFault } from './openid-faults.ts'
import { listen } from './ports.ts'

const generateKeyPair = promisify(generateKeyPairCallback)

/** Whose paths and claims a provider has: Auth0's, Okta's, or those of plain OpenID Connect and RFC 9068. */
export type ProviderKind = 'auth0' | 'okta' | 'oidc'

interface Preset {
  /** What the issuer adds to `http://127.0.0.1:PORT`. */
  issuerPath: string
  routes: Record<string, string>
  audience: string
  /** Turns the claims and header of RFC 9068 into those the real service issues. */
  shape(token: IssuedToken): void
}

const presets: Record<ProviderKind, Preset> = {
  auth0: {
    issuerPath: '/',
    routes: {
      jwks: '/.well-known/jwks.json',
      token: '/oauth/token',
      revocation: '/oauth/revoke',
      userinfo: '/userinfo',
    },
    audience: 'https://api.example.com',
    shape(token) {
      const { client_id: clientId, ...claims } = token.payload
      token.header = { typ: 'JWT' }
      token.payload = { ...claims, sub: `${clientId}@clients`, azp: clientId, gty: 'client-credentials' }
    },
  },
  okta: {
    issuerPath: '/oauth2/default',
    routes: {
      jwks: '/v1/keys',
      token: '/v1/token',
      introspection: '/v1/introspect',
      revocation: '/v1/revoke',
      userinfo: '/v1/userinfo',
    },
    audience: 'api://default',
    shape(token) {
      const { client_id: clientId, scope = '', ...claims } = token.payload
      token.header = { typ: undefined }
      token.payload = { ...claims, ver: 1, cid: clientId, scp: String(scope).split(' ').filter(Boolean) }
    },
  },
  oidc: {
    issuerPath: '',
    routes: {
      jwks: '/jwks',
      token: '/token',
      introspection: '/introspect',
      revocation: '/revoke',
      userinfo: '/userinfo',
    },
    audience: 'https://api.example.com',
    shape() {},
  },
}

const scopes = ['read:users', 'write:users', 'read:orders', 'write:orders']

/** Tells our own provider, out of band, which format a token shall have. */
const formatHeader = 'x-test-format'

/** The client that tokens are issued to unless another is asked for. */
const defaultClient = 'demo-app'

interface SigningKey {
  kid: string
  privateKey: KeyObject
}

/** What `issueToken` asks the token endpoint for. */
export interface TokenRequest {
  /** By spaces. Default: none. */
  scope?: string
  /** Default: the provider's own audience. */
  audience?: string
  /** One of the provider's clients. Default: `defaultClient`. */
  client?: string
  /** `opaque` for a token that only introspection can tell anything of. Default: `jwt`. */
  format?: 'jwt' | 'opaque'
}

/** A user as the userinfo endpoint tells of them. */
export interface User {
  sub: string
  email: string
  name: string
}

/** What `signToken` signs with, where that differs from an ordinary token. */
export interface SigningOptions {
  /** Overrides the header's `alg`, `kid`, `typ`, or adds to them; `undefined` removes one. */
  header?: Record<string, unknown>
  /** An RSA key of somebody else. Default: the provider's. */
  key?: KeyObject
}

/**
 * A real OpenID provider on loopback, in this process: oidc-provider with the paths and claims of one of the kinds.
 * In front of it stands a switch that counts and, when told to, misbehaves.
 */
export class OpenIdProvider implements AsyncDisposable {
  readonly kind: ProviderKind
  /** `http://127.0.0.1:PORT`: what `AUTH0_DOMAIN` and `OKTA_DOMAIN` take. */
  readonly origin: string
  /** The exact `iss` of its tokens: what `OIDC_ISSUER` takes. */
  readonly issuer: string
  /** The audience it issues for unless asked otherwise. */
  readonly audience: string
  readonly jwksUri: string
  readonly discoveryUri: string
  readonly introspectionUri: string
  readonly revocationUri: string
  readonly userinfoUri: string
  /** A client that may introspect: what `OKTA_CLIENT_ID` and `OKTA_CLIENT_SECRET` take. */
  readonly client: { id: string; secret: string }
  /** How often each was fetched, answered or not. */
  readonly fetched = { jwks: 0, discovery: 0, introspection: 0, userinfo: 0 }
  /** How many requests were answered at the same time, at the most. */
  mostAtOnce = 0
  /** How it misbehaves; undefined: not at all. */
  fault: ProviderFault | undefined
  readonly #server: Server
  readonly #clients: readonly string[]
  readonly #secret = randomUUID()
  readonly #adapter = memoryAdapter()
  readonly #users = new Map<string, User>()
  #atOnce = 0
  /** Newest first: the first signs, all are published. */
  #keys: readonly SigningKey[] = []
  #provider: Provider | undefined
  #answer: ReturnType<Provider['callback']> = async () => {}

  constructor(kind: ProviderKind, server: Server, port: number, clients: readonly string[]) {
    const { issuerPath, routes, audience } = presets[kind]
    this.kind = kind
    this.origin = `http://127.0.0.1:${port}`
    this.issuer = `${this.origin}${issuerPath}`
    this.audience = audience
    this.jwksUri = `${this.#base}${routes['jwks']}`
    this.discoveryUri = `${this.#base}/.well-known/openid-configuration`
    this.introspectionUri = `${this.#base}${routes['introspection'] ?? '/token/introspection'}`
    this.revocationUri = `${this.#base}${routes['revocation']}`
    this.userinfoUri = `${this.#base}${routes['userinfo']}`
    this.client = { id: clients[0] ?? defaultClient, secret: this.#secret }
    this.#server = server
    this.#clients = clients
    server.on('request', (request, response) => void this.#handle(request, response))
  }

  /**
   * Signs with a new key from now on.
   * @param keepOld also publishes the keys before it, as providers do for a while. Default: true.
   */
  async rotateKeys({ keepOld = true }: { keepOld?: boolean } = {}): Promise<void> {
    const { privateKey } = await generateKeyPair('rsa', { modulusLength: 2048 })
    this.#keys = [{ kid: randomUUID(), privateKey }, ...(keepOld ? this.#keys : [])]
    this.#provider = new Provider(this.issuer, this.#configuration())
    this.#answer = this.#provider.callback()
  }

  /** Gets a token from the token endpoint by the client credentials grant. */
  async issueToken({
    scope,
    audience = this.audience,
    client = defaultClient,
    format = 'jwt',
  }: TokenRequest = {}): Promise<string> {
    const body = new URLSearchParams({
      grant_type: 'client_credentials',
      resource: audience,
      ...(scope !== undefined && { scope }),
    })
    const response = await fetch(`${this.#base}${presets[this.kind].routes['token']}`, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(`${client}:${this.#secret}`)}`, [formatHeader]: format },
      body,
    })
    const answer = (await response.json()) as { access_token?: string }
    if (answer.access_token !== undefined) return answer.access_token
    throw new Error(`Cannot get a token from ${this.issuer}: ${JSON.stringify(answer)}`)
  }

  /** Revokes a token, as its client may (RFC 7009). */
  async revokeToken(token: string): Promise<void> {
    const { id, secret } = this.client
    const response = await fetch(this.revocationUri, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(`${id}:${secret}`)}` },
      body: new URLSearchParams({ token }),
    })
    if (!response.ok) throw new Error(`Cannot revoke a token of ${this.issuer}: status ${response.status}`)
  }

  /**
   * Makes an opaque access token of a user, as one who has signed in would have it; userinfo tells of the user.
   * It is for no audience: oidc-provider gives userinfo to no other token.
   */
  async issueUserToken(user: User, scope = 'openid profile email'): Promise<string> {
    const provider = this.#provider
    const client = await provider?.Client.find(this.client.id)
    if (!provider || !client) throw new Error(`Cannot get a token from ${this.issuer}: it knows no client`)
    this.#users.set(user.sub, user)
    const grant = new provider.Grant({ clientId: this.client.id, accountId: user.sub })
    grant.addOIDCScope(scope)
    const grantId = await grant.save()
    const token = new provider.AccessToken({ client, accountId: user.sub, grantId, scope, gty: 'test' })
    return await token.save()
  }

  /**
   * Signs any claims with the provider's real key by RS256, whatever the header then says.
   * Without overrides the result is a valid token of `defaultClient`; a claim given as `undefined` is left out.
   */
  signToken(claims: Record<string, unknown> = {}, { header, key }: SigningOptions = {}): string {
    const { kid, privateKey } = this.#signingKey
    const nowSeconds = Math.floor(Date.now() / 1000)
    const ordinary: IssuedToken = {
      header: undefined,
      payload: {
        iss: this.issuer,
        sub: defaultClient,
        client_id: defaultClient,
        aud: this.audience,
        jti: randomUUID(),
        iat: nowSeconds,
        exp: nowSeconds + 3600,
      },
    }
    presets[this.kind].shape(ordinary)
    const signed = [
      { alg: 'RS256', typ: 'at+jwt', kid, ...ordinary.header, ...header },
      { ...ordinary.payload, ...claims },
    ].map(encodePart)
    const signature = sign('sha256', Buffer.from(signed.join('.')), key ?? privateKey)
    return [...signed, signature.toString('base64url')].join('.')
  }

  /** The published keys, as the JWKS endpoint shows them. */
  get publicKeys(): JsonWebKey[] {
    return this.#keys.map(({ kid, privateKey }) => ({
      ...createPublicKey(privateKey).export({ format: 'jwk' }),
      kid,
      alg: 'RS256',
      use: 'sig',
    }))
  }

  /** Stops serving and drops what is still open. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  /** Stops when an `await using` scope closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /** The issuer without a trailing slash: what its paths are added to. */
  get #base(): string {
    return this.issuer.replace(/\/$/, '')
  }

  get #signingKey(): SigningKey {
    const [newest] = this.#keys
    if (newest) return newest
    throw new Error(`Cannot sign for ${this.issuer}: it has no key yet`)
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = `${this.origin}${request.url}`
    this.#count(url, response)
    const isSpared = request.method === 'POST' && url.endsWith('/token')
    if (this.fault && !isSpared && (await answerFaultily(this.fault, response))) return
    await this.#answer(withoutMountPath(request, new URL(this.#base).pathname), response)
  }

  #count(url: string, response: ServerResponse): void {
    if (url === this.jwksUri) this.fetched.jwks += 1
    if (url === this.discoveryUri) this.fetched.discovery += 1
    if (url === this.introspectionUri) this.fetched.introspection += 1
    if (url === this.userinfoUri) this.fetched.userinfo += 1
    this.#atOnce += 1
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#atOnce)
    response.once('close', () => {
      this.#atOnce -= 1
    })
  }

  /** Every default that oidc-provider would warn about is set: a test's output stays clean. */
  #configuration(): Record<string, unknown> {
    const { routes, shape } = presets[this.kind]
    const lifetimeSeconds = 3600
    return {
      routes,
      adapter: this.#adapter,
      jwks: { keys: this.#keys.map(({ kid, privateKey }) => privateJwk(kid, privateKey)) },
      cookies: { keys: [randomUUID()] },
      scopes,
      clients: this.#clients.map((client) => ({
        client_id: client,
        client_secret: this.#secret,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      })),
      ttl: { ClientCredentials: lifetimeSeconds, AccessToken: lifetimeSeconds, Grant: lifetimeSeconds },
      claims: { profile: ['name'], email: ['email', 'email_verified'] },
      findAccount: (_context: unknown, sub: string) => ({
        accountId: sub,
        claims: async () => ({ email_verified: true, ...this.#users.get(sub), sub }),
      }),
      features: {
        devInteractions: { enabled: false },
        clientCredentials: { enabled: true },
        introspection: { enabled: true, allowedPolicy: () => true },
        revocation: { enabled: true, allowedPolicy: isOwnToken },
        resourceIndicators: {
          enabled: true,
          getResourceServerInfo: (context: { get(header: string): string }) => ({
            scope: scopes.join(' '),
            accessTokenTTL: lifetimeSeconds,
            accessTokenFormat: context.get(formatHeader) || 'jwt',
            jwt: { sign: { alg: 'RS256' } },
          }),
        },
      },
      formats: {
        customizers: {
          jwt: (_context: unknown, _token: unknown, issued: IssuedToken) => shape(issued),
        },
      },
    }
  }
}

/** Starts a provider of the given kind on a free port, or on the given one. */
export async function startOpenIdProvider(
  kind: ProviderKind,
  { port = 0, clients = [defaultClient] }: { port?: number; clients?: readonly string[] } = {},
): Promise<OpenIdProvider> {
  const server = createServer()
  const provider = new OpenIdProvider(kind, server, await listen(server, port), clients)
  await provider.rotateKeys()
  return provider
}

function encodePart(part: Record<string, unknown>): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url')
}

function privateJwk(kid: string, key: KeyObject): JsonWebKey {
  return { ...key.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' }
}

/** oidc-provider, as any Koa application, learns where it is mounted from the difference between the two. */
function withoutMountPath(request: IncomingMessage, mountPath: string): IncomingMessage {
  if (mountPath === '/') return request
  const { url = '' } = request
  const inside = url.startsWith(`${mountPath}/`) ? url.slice(mountPath.length) : '/outside'
  return Object.assign(request, { originalUrl: url, url: inside })
}

/** RFC 7009 §2.1: a client may revoke no other's tokens. */
function isOwnToken(_context: unknown, client: { clientId: string }, token: { clientId: string }): boolean {
  return client.clientId === token.clientId
}

/** Keeps what the provider stores in memory, as long as the provider lives. */
function memoryAdapter() {
  const stored = new Map<string, Record<string, unknown>>()
  return (model: string) => ({
    find: async (id: string) => stored.get(`${model}:${id}`),
    upsert: async (id: string, payload: Record<string, unknown>) => stored.set(`${model}:${id}`, payload),
    destroy: async (id: string) => stored.delete(`${model}:${id}`),
    consume: async (id: string) => Object.assign(stored.get(`${model}:${id}`) ?? {}, { consumed: true }),
  })
}
