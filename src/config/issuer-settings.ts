import { type Environment, type Problem, secretOf } from './environment.ts'
import { clientSecret, isLoopback } from './parsers.ts'
import { type PolicyDocument, type PolicyIssuer, problemsOfIssuer } from './policy.ts'
import type { Complain } from './route-policy.ts'
import { readSecretFile, type Secret, secretFile } from './secret-file.ts'
import type { Values } from './variables.ts'

/** Audiences of which a token must name one; `any` leaves the audience unchecked. */
export type Audiences = readonly string[] | 'any'

/** By what Gatepost shows a provider who it is. */
export interface ClientCredentials {
  id: string
  secret: Secret
}

/** An issuer as the environment or the policy describes it. With `introspection` it is asked about each token. */
export type IssuerSettings =
  | { kind: 'auth0'; origin: string; audiences: Audiences }
  | {
      kind: 'okta'
      origin: string
      authorizationServer: string
      audiences: Audiences
      introspection?: ClientCredentials
      userinfo: boolean
    }
  | { kind: 'oidc'; issuer: string; audiences: Audiences }
  | { kind: 'policy'; issuer: PolicyIssuer; audiences: Audiences; introspection?: ClientCredentials }

/**
 * Reads every issuer, of the environment and of the policy. No two may have the same name or the same `iss`.
 * @param complain told of what is wrong with those of the policy.
 */
export function readIssuers(
  values: Values,
  env: Environment,
  document: PolicyDocument,
  problems: Problem[],
  complain: Complain,
): IssuerSettings[] {
  const ofEnvironment = [
    readAuth0(values, problems),
    readOkta(values, env, problems),
    readOidc(values, problems),
  ].filter((issuer) => issuer !== undefined)
  const ofPolicy = (document.issuers ?? []).map((issuer, at) =>
    policyIssuer(issuer, values.GATEPOST_ALLOW_PLAINTEXT, env, (problem) =>
      complain(['issuers', at], problem),
    ),
  )
  checkDistinct([...ofEnvironment, ...ofPolicy], ofEnvironment.length, complain)
  return [...ofEnvironment, ...ofPolicy]
}

function readAuth0(values: Values, problems: Problem[]): IssuerSettings | undefined {
  const audiences = values.AUTH0_AUDIENCE
  const origin = checkPair('AUTH0_DOMAIN', values.AUTH0_DOMAIN, 'AUTH0_AUDIENCE', audiences, values, problems)
  return origin !== undefined && audiences ? { kind: 'auth0', origin, audiences } : undefined
}

function readOkta(values: Values, env: Environment, problems: Problem[]): IssuerSettings | undefined {
  const audiences = values.OKTA_AUDIENCE
  const introspection = readOktaClient(values, env, problems)
  const origin = checkPair('OKTA_DOMAIN', values.OKTA_DOMAIN, 'OKTA_AUDIENCE', audiences, values, problems)
  if (origin === undefined || audiences === undefined) return undefined
  const { OKTA_AUTHORIZATION_SERVER: authorizationServer, OKTA_USERINFO: userinfo } = values
  return {
    kind: 'okta',
    origin,
    authorizationServer,
    audiences,
    userinfo,
    ...(introspection && { introspection }),
  }
}

function readOktaClient(
  values: Values,
  env: Environment,
  problems: Problem[],
): ClientCredentials | undefined {
  if (values.OKTA_VALIDATION !== 'introspection') return undefined
  const { OKTA_CLIENT_ID: id, OKTA_CLIENT_SECRET: given } = values
  const secret = secretOf('OKTA_CLIENT_SECRET', given, env)
  if (id !== undefined && secret) return { id, secret }
  const hint = oktaTokenNames.some((name) => env[name])
    ? '; an Okta API token is set, but it cannot introspect: create an OAuth client (API Services) in Okta'
    : ''
  if (!problems.some((problem) => problem.startsWith('OKTA_CLIENT_SECRET:'))) {
    problems.push(`OKTA_VALIDATION: introspection needs OKTA_CLIENT_ID and OKTA_CLIENT_SECRET${hint}`)
  }
  return undefined
}

// What Okta's own SDKs and tools call their API token.
const oktaTokenNames = ['OKTA_API_TOKEN', 'OKTA_CLIENT_TOKEN', 'OKTA_TOKEN']

function readOidc(values: Values, problems: Problem[]): IssuerSettings | undefined {
  const audiences = values.OIDC_AUDIENCE
  const issuer = checkPair('OIDC_ISSUER', values.OIDC_ISSUER, 'OIDC_AUDIENCE', audiences, values, problems)
  return issuer !== undefined && audiences ? { kind: 'oidc', issuer, audiences } : undefined
}

/** An issuer without audience would accept tokens minted for anybody (RFC 8725 §3.9): it takes a word to want that. */
function checkPair(
  name: string,
  url: string | undefined,
  audienceName: string,
  audiences: Audiences | undefined,
  { GATEPOST_ALLOW_PLAINTEXT: allowPlaintext }: Values,
  problems: Problem[],
): string | undefined {
  if (url === undefined) {
    if (audiences !== undefined) problems.push(`${audienceName}: it means nothing without ${name}`)
    return undefined
  }
  if (audiences === undefined) {
    problems.push(
      `${audienceName}: ${name} needs it, for else a token minted for any other API would pass; name your API's audience, or * if every audience will do`,
    )
  }
  if (!mayFetch(url, allowPlaintext)) {
    problems.push(
      `${name}: ${JSON.stringify(url)} is plain http, which only loopback may use; use https, or set GATEPOST_ALLOW_PLAINTEXT=true`,
    )
  }
  return url
}

function policyIssuer(
  issuer: PolicyIssuer,
  allowPlaintext: boolean,
  env: Environment,
  complain: (problem: string) => void,
): IssuerSettings {
  problemsOfIssuer(issuer, (url) => mayFetch(url, allowPlaintext)).forEach(complain)
  const { audience, client_id: id } = issuer
  const audiences = audience === '*' ? 'any' : [audience].flat()
  if (issuer.validation !== 'introspection' || id === undefined) return { kind: 'policy', issuer, audiences }
  const secret = policySecret(issuer, env, complain)
  return { kind: 'policy', issuer, audiences, introspection: { id, secret } }
}

function policySecret(issuer: PolicyIssuer, env: Environment, complain: (problem: string) => void): Secret {
  const { name, client_secret: secret = '', client_secret_file: path } = issuer
  if (path === undefined) {
    const [, variable] = /^\$\{(\w+)\}$/.exec(secret) ?? []
    const value = variable === undefined ? secret : env[variable]
    if (!value) complain(`issuer ${JSON.stringify(name)}: client_secret is empty, or its variable is not set`)
    return () => value ?? ''
  }
  const first = readSecretFile(path)
  if (!first)
    complain(`issuer ${JSON.stringify(name)}: cannot read client_secret_file ${JSON.stringify(path)}`)
  return secretFile(path, first ?? '', clientSecret)
}

/** @param first where the policy's issuers begin. */
function checkDistinct(issuers: readonly IssuerSettings[], first: number, complain: Complain): void {
  for (const [at, issuer] of issuers.entries()) {
    const earlier = issuers.slice(0, at)
    const path = ['issuers', Math.max(0, at - first)]
    if (earlier.some((other) => issuerName(other) === issuerName(issuer))) {
      complain(path, `there are two issuers called ${JSON.stringify(issuerName(issuer))}`)
    }
    if (earlier.some((other) => issuerIdentifier(other) === issuerIdentifier(issuer))) {
      complain(
        path,
        `${issuerIdentifier(issuer)} is configured twice, and a token could not tell which is meant`,
      )
    }
  }
}

/** The short name of an issuer. */
export function issuerName(issuer: IssuerSettings): string {
  return issuer.kind === 'policy' ? issuer.issuer.name : issuer.kind
}

/** What tokens of an issuer say in `iss`. */
export function issuerIdentifier(issuer: IssuerSettings): string {
  switch (issuer.kind) {
    case 'auth0':
      return `${issuer.origin}/`
    case 'okta':
      return `${issuer.origin}/oauth2/${issuer.authorizationServer}`
    case 'oidc':
      return issuer.issuer
    case 'policy':
      return issuer.issuer.issuer
  }
}

/** Whether keys may be fetched from a URL: https, http on loopback, or any http where plain text is allowed. */
export function mayFetch(url: string, allowPlaintext: boolean): boolean {
  const parsed = URL.parse(url)
  if (parsed?.protocol === 'https:') return true
  return parsed?.protocol === 'http:' && (allowPlaintext || isLoopback(parsed.hostname))
}
