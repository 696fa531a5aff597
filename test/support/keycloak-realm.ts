import { randomUUID } from 'node:crypto'

/** Speaks to Keycloak's admin REST API as its administrator. @param path what follows `/admin`. */
export type Administer = (method: string, path: string, body?: object) => Promise<unknown>

/** The tokens that a user's login gives. */
export interface UserTokens {
  access: string
  refresh: string
  id: string
}

/** The audience for which Gatepost stands in these tests. */
const audience = 'https://api.example.com'

const user = {
  username: 'ada',
  email: 'ada@example.com',
  emailVerified: true,
  firstName: 'Ada',
  lastName: 'Lovelace',
}

/**
 * Confidential clients with service accounts, and the audience that an audience mapper puts into their tokens. `shop`
 * calls Gatepost's API, `stranger` another one, `gatepost` introspects.
 */
const clients = { shop: audience, stranger: 'https://other.example.com', gatepost: undefined }

type ClientName = keyof typeof clients

interface RealmKey {
  providerId: string
  providerPriority: number
  algorithm?: string
}

/** A realm of its own: three clients, one user, one signing key. */
export class KeycloakRealm {
  /** The exact `iss` of its tokens. */
  readonly issuer: string
  readonly audience: string = audience
  /** The user's `sub`. */
  readonly userId = randomUUID()
  /** The `sub` of the service account of `shop`. */
  readonly serviceAccountId = randomUUID()
  /** The secret of the client `gatepost`. */
  readonly introspectionSecret: string
  readonly #name = `realm-${randomUUID()}`
  readonly #secret = randomUUID()
  readonly #administer: Administer
  /** Of the newest signing key; Keycloak gives its first one 100. */
  #priority = 100

  constructor(origin: string, administer: Administer) {
    this.issuer = `${origin}/realms/${this.#name}`
    this.introspectionSecret = this.#secret
    this.#administer = administer
  }

  /** Creates the realm with everything in it. */
  async create(): Promise<void> {
    const password = { type: 'password', value: this.#secret, temporary: false }
    const serviceAccount = { username: 'service-account-shop', serviceAccountClientId: 'shop' }
    await this.#administer('POST', '/realms', {
      realm: this.#name,
      enabled: true,
      accessTokenLifespan: 3_600,
      ssoSessionIdleTimeout: 3_600,
      clients: (Object.keys(clients) as ClientName[]).map((name) => describeClient(name, this.#secret)),
      users: [
        { id: this.userId, enabled: true, ...user, credentials: [password] },
        { id: this.serviceAccountId, enabled: true, ...serviceAccount },
      ],
    })
  }

  /** Gets an access token by the client credentials grant. */
  async clientToken(client: 'shop' | 'stranger' = 'shop'): Promise<string> {
    const { access_token = '' } = await this.#post('token', { grant_type: 'client_credentials' }, client)
    return access_token
  }

  /** Logs the user in at `shop`, with the scope `openid`. Each login is a session of its own. */
  async logIn(): Promise<UserTokens> {
    const credentials = { username: user.username, password: this.#secret }
    const form = { grant_type: 'password', ...credentials, scope: 'openid' }
    const { access_token = '', refresh_token = '', id_token = '' } = await this.#post('token', form)
    return { access: access_token, refresh: refresh_token, id: id_token }
  }

  /** Ends the session of a login, as the client does when its user logs out. */
  async logOut({ refresh }: UserTokens): Promise<void> {
    await this.#post('logout', { refresh_token: refresh })
  }

  /** Revokes one access token of `shop` (RFC 7009). */
  async revoke(accessToken: string): Promise<void> {
    await this.#post('revoke', { token: accessToken, token_type_hint: 'access_token' })
  }

  /** Signs with a new key from now on, and still publishes the keys before it. */
  async addKey(): Promise<void> {
    this.#priority += 100
    await this.#administer('POST', `/realms/${this.#name}/components`, {
      name: `rsa-${this.#priority}`,
      providerId: 'rsa-generated',
      providerType: 'org.keycloak.keys.KeyProvider',
      config: { priority: [String(this.#priority)], algorithm: ['RS256'], keySize: ['2048'] },
    })
  }

  /** Withdraws every signing key but the newest. */
  async removeOldKeys(): Promise<void> {
    const { keys } = (await this.#administer('GET', `/realms/${this.#name}/keys`)) as { keys: RealmKey[] }
    const old = keys.filter((key) => key.algorithm === 'RS256' && key.providerPriority < this.#priority)
    for (const { providerId } of old) {
      await this.#administer('DELETE', `/realms/${this.#name}/components/${providerId}`)
    }
  }

  async #post(
    path: string,
    form: Record<string, string>,
    client: ClientName = 'shop',
  ): Promise<Record<string, string>> {
    const response = await fetch(`${this.issuer}/protocol/openid-connect/${path}`, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(`${client}:${this.#secret}`)}` },
      body: new URLSearchParams(form),
    })
    const text = await response.text()
    if (response.ok) return text === '' ? {} : JSON.parse(text)
    throw new Error(`Cannot use ${path} of ${this.issuer}: status ${response.status}, ${text}`)
  }
}

function describeClient(clientId: ClientName, secret: string): object {
  const audienceOfClient = clients[clientId]
  return {
    clientId,
    secret,
    publicClient: false,
    serviceAccountsEnabled: true,
    directAccessGrantsEnabled: true,
    standardFlowEnabled: false,
    protocolMappers: audienceOfClient === undefined ? [] : [audienceMapper(audienceOfClient)],
  }
}

/** Without one Keycloak's access tokens are meant for nobody in particular. */
function audienceMapper(included: string): object {
  return {
    name: 'audience',
    protocol: 'openid-connect',
    protocolMapper: 'oidc-audience-mapper',
    config: {
      'included.custom.audience': included,
      'access.token.claim': 'true',
      'id.token.claim': 'false',
      'introspection.token.claim': 'true',
    },
  }
}
