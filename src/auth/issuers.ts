import type { EndpointSource } from './endpoint.ts'

/** Where an issuer publishes its keys: at a fixed address, or at the one its discovery document names. */
export type KeySource = { kind: 'jwks'; url: string } | { kind: 'discovery'; url: string }

/** One issuer whose tokens are accepted, and on which terms. */
export interface IssuerSpec {
  /** Short and stable; a label in metrics, logs and `/readyz`. */
  name: string
  /** Compared with `iss` to the letter (RFC 7519 §4.1.1). */
  issuer: string
  /** A token must be meant for one of these; `any` leaves the audience unchecked. */
  audiences: readonly string[] | 'any'
  /** Signature algorithms that the issuer may use; never `none`, never HMAC. */
  algorithms: readonly string[]
  keys: KeySource
  /** Asks the issuer about each token instead of verifying it by keys; absent where keys do. */
  introspection?: { endpoint: EndpointSource; client: ClientCredentials }
  /** Where the issuer tells more about users; absent where nobody wants to know. */
  userinfo?: EndpointSource
}

/** The algorithms of an issuer that names none: every asymmetric one that is not deprecated. */
const asymmetricAlgorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
] as const

/** Auth0 signs with RS256 and publishes its keys beside the issuer, whose name ends in a slash. */
export function auth0Issuer(origin: string, audiences: IssuerSpec['audiences']): IssuerSpec {
  const issuer = `${origin}/`
  return {
    name: 'auth0',
    issuer,
    audiences,
    algorithms: ['RS256'],
    keys: { kind: 'jwks', url: `${issuer}.well-known/jwks.json` },
  }
}

/** By what Gatepost shows a provider who it is. */
export interface ClientCredentials {
  id: string
  secret: () => string
}

/** What may be asked of an issuer beside its keys. */
export interface IssuerServices {
  /** Ask about each token (RFC 7662). */
  introspection?: ClientCredentials
  /** Ask about users (OpenID Connect Core 1.0 §5.3). */
  userinfo?: boolean
}

/** Okta signs with RS256; each authorization server is an issuer with keys of its own. */
export function oktaIssuer(
  origin: string,
  authorizationServer: string,
  audiences: IssuerSpec['audiences'],
  { introspection, userinfo }: IssuerServices = {},
): IssuerSpec {
  const issuer = `${origin}/oauth2/${authorizationServer}`
  return {
    name: 'okta',
    issuer,
    audiences,
    algorithms: ['RS256'],
    keys: { kind: 'jwks', url: `${issuer}/v1/keys` },
    ...(introspection && {
      introspection: { endpoint: { kind: 'fixed', url: `${issuer}/v1/introspect` }, client: introspection },
    }),
    ...(userinfo && { userinfo: { kind: 'fixed', url: `${issuer}/v1/userinfo` } }),
  }
}

/** What is known of an issuer that is no preset; what is absent is found by discovery. */
export interface IssuerDescription extends IssuerServices {
  name: string
  issuer: string
  audiences: IssuerSpec['audiences']
  algorithms?: readonly string[] | undefined
  jwksUri?: string | undefined
  introspectionEndpoint?: string | undefined
  userinfoEndpoint?: string | undefined
}

/** Any issuer, its endpoints named or found by OpenID Connect Discovery 1.0 §4. */
export function anyIssuer(description: IssuerDescription): IssuerSpec {
  const { name, issuer, audiences, algorithms, jwksUri, introspection, userinfo } = description
  const discovery = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  const endpoint = (url: string | undefined, member: string): EndpointSource =>
    url === undefined ? { kind: 'discovery', url: discovery, issuer, member } : { kind: 'fixed', url }
  return {
    name,
    issuer,
    audiences,
    algorithms: algorithms ?? asymmetricAlgorithms,
    keys: jwksUri === undefined ? { kind: 'discovery', url: discovery } : { kind: 'jwks', url: jwksUri },
    ...(introspection && {
      introspection: {
        endpoint: endpoint(description.introspectionEndpoint, 'introspection_endpoint'),
        client: introspection,
      },
    }),
    ...(userinfo && { userinfo: endpoint(description.userinfoEndpoint, 'userinfo_endpoint') }),
  }
}

/** Any issuer that OpenID Connect Discovery 1.0 §4 finds. */
export function oidcIssuer(issuer: string, audiences: IssuerSpec['audiences']): IssuerSpec {
  return anyIssuer({ name: 'oidc', issuer, audiences })
}
