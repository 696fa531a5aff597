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

/** A realm of its own: three clients, one user, one signing key. */
export interface KeycloakRealm {
  /** The exact `iss` of its tokens. */
  issuer: string
  audience: string
  /** The user's `sub`. */
  userId: string
  /** The `sub` of the service account of `shop`. */
  serviceAccountId: string
  /** The secret of the client `gatepost`. */
  introspectionSecret: string
  /** An access token by the client credentials grant. */
  clientToken(client?: 'shop' | 'stranger'): Promise<string>
  /** Logs the user in at `shop`, with the scope `openid`. Each login is a session of its own. */
  logIn(): Promise<UserTokens>
  /** Ends the session of a login, as the client does when its user logs out. */
  logOut(tokens: UserTokens): Promise<void>
  /** Revokes one access token of `shop` (RFC 7009). */
  revoke(accessToken: string): Promise<void>
  /** Signs with a new key from now on, and still publishes the keys before it. */
  addKey(): Promise<void>
  /** Withdraws every signing key but the newest. */
  removeOldKeys(): Promise<void>
}

interface RealmKey {
  providerId: string
  providerPriority: number
  algorithm?: string
}

/** Creates a realm with everything in it. */
export async function createRealm(origin: string, administer: Administer): Promise<KeycloakRealm> {
  const name = `realm-${randomUUID()}`
  const issuer = `${origin}/realms/${name}`
  const secret = randomUUID()
  const userId = randomUUID()
  const serviceAccountId = randomUUID()
  await administer('POST', '/realms', {
    realm: name,
    enabled: true,
    accessTokenLifespan: 3_600,
    ssoSessionIdleTimeout: 3_600,
    clients: (Object.keys(clients) as ClientName[]).map((client) => clientOf(client, secret)),
    users: [
      {
        id: userId,
        enabled: true,
        ...user,
        credentials: [{ type: 'password', value: secret, temporary: false }],
      },
      {
        id: serviceAccountId,
        enabled: true,
        username: 'service-account-shop',
        serviceAccountClientId: 'shop',
      },
    ],
  })

  async function post(path: string, form: Record<string, string>, client: ClientName = 'shop') {
    const response = await fetch(`${issuer}/protocol/openid-connect/${path}`, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(`${client}:${secret}`)}` },
      body: new URLSearchParams(form),
    })
    const text = await response.text()
    if (response.ok) return (text === '' ? {} : JSON.parse(text)) as Record<string, string>
    throw new Error(`Cannot use ${path} of ${issuer}: status ${response.status}, ${text}`)
  }

  let priority = 100

  return {
    issuer,
    audience,
    userId,
    serviceAccountId,
    introspectionSecret: secret,

    async clientToken(client = 'shop') {
      const { access_token = '' } = await post('token', { grant_type: 'client_credentials' }, client)
      return access_token
    },

    async logIn() {
      const form = { grant_type: 'password', username: user.username, password: secret, scope: 'openid' }
      const { access_token = '', refresh_token = '', id_token = '' } = await post('token', form)
      return { access: access_token, refresh: refresh_token, id: id_token }
    },

    async logOut({ refresh }) {
      await post('logout', { refresh_token: refresh })
    },

    async revoke(accessToken) {
      await post('revoke', { token: accessToken, token_type_hint: 'access_token' })
    },

    async addKey() {
      priority += 100
      await administer('POST', `/realms/${name}/components`, {
        name: `rsa-${priority}`,
        providerId: 'rsa-generated',
        providerType: 'org.keycloak.keys.KeyProvider',
        config: { priority: [String(priority)], algorithm: ['RS256'], keySize: ['2048'] },
      })
    },

    async removeOldKeys() {
      const { keys } = (await administer('GET', `/realms/${name}/keys`)) as { keys: RealmKey[] }
      const old = keys.filter((key) => key.algorithm === 'RS256' && key.providerPriority < priority)
      for (const { providerId } of old) {
        await administer('DELETE', `/realms/${name}/components/${providerId}`)
      }
    },
  }
}

function clientOf(clientId: ClientName, secret: string): object {
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
