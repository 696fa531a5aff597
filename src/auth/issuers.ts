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

/** Okta signs with RS256; each authorization server is an issuer with keys of its own. */
export function oktaIssuer(
  origin: string,
  authorizationServer: string,
  audiences: IssuerSpec['audiences'],
): IssuerSpec {
  const issuer = `${origin}/oauth2/${authorizationServer}`
  return {
    name: 'okta',
    issuer,
    audiences,
    algorithms: ['RS256'],
    keys: { kind: 'jwks', url: `${issuer}/v1/keys` },
  }
}

/** Any issuer that OpenID Connect Discovery 1.0 §4 finds. */
export function oidcIssuer(issuer: string, audiences: IssuerSpec['audiences']): IssuerSpec {
  return {
    name: 'oidc',
    issuer,
    audiences,
    algorithms: asymmetricAlgorithms,
    keys: { kind: 'discovery', url: `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration` },
  }
}
