import { type Environment, type Problem, secretOf } from './environment.ts'
import { readFile } from './followed-file.ts'
import { clientSecret, isLoopback } from './parsers.ts'
import { type PolicyIssuer, problemsOfIssuer, readPolicy } from './policy.ts'
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

/** Reads every issuer, of the environment and of the policy. No two may have the same name or the same `iss`. */
export function readIssuers(values: Values, env: Environment, problems: Problem[]): IssuerSettings[] {
  const issuers = [
    readAuth0(values, problems),
    readOkta(values, env, problems),
    readOidc(values, problems),
    ...readPolicyIssuers(values, env, problems),
  ].filter((issuer) => issuer !== undefined)
  checkDistinct(issuers, problems)
  return issuers
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

/** Reads the issuers of the policy, from its file or from the environment. */
function readPolicyIssuers(values: Values, env: Environment, problems: Problem[]): IssuerSettings[] {
  const {
    GATEPOST_POLICY_FILE: path,
    GATEPOST_POLICY: text,
    GATEPOST_ALLOW_PLAINTEXT: allowPlaintext,
  } = values
  if (path !== undefined && text !== undefined) {
    problems.push('GATEPOST_POLICY: set either it or GATEPOST_POLICY_FILE, not both')
    return []
  }
  if (path === undefined && text === undefined) return []
  const name = path === undefined ? 'GATEPOST_POLICY' : 'GATEPOST_POLICY_FILE'
  const result = path === undefined ? readPolicy('policy', text ?? '') : readFile(path, readPolicy)
  if (result.kind === 'problems') {
    problems.push(...result.problems.map((problem) => `${name}: ${problem}`))
    return []
  }
  return (result.value.issuers ?? []).map((issuer) =>
    policyIssuer(issuer, name, allowPlaintext, env, problems),
  )
}

function policyIssuer(
  issuer: PolicyIssuer,
  where: string,
  allowPlaintext: boolean,
  env: Environment,
  problems: Problem[],
): IssuerSettings {
  const complain = (problem: string) => problems.push(`${where}: ${problem}`)
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

function checkDistinct(issuers: readonly IssuerSettings[], problems: Problem[]): void {
  const names = issuers.map(issuerName)
  for (const name of repeated(names))
    problems.push(`GATEPOST_POLICY: there are two issuers called ${JSON.stringify(name)}`)
  for (const iss of repeated(issuers.map(issuerIdentifier))) {
    problems.push(
      `OIDC_ISSUER: ${JSON.stringify(iss)} is configured twice, and a token could not tell which is meant`,
    )
  }
}

function repeated(values: readonly string[]): string[] {
  return [...new Set(values.filter((value, at) => values.indexOf(value) !== at))]
}

function issuerName(issuer: IssuerSettings): string {
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
