import type { ListenAddress, TcpAddress } from '../core/listen.ts'
import type { AuthMode } from '../core/routes.ts'
import { type Environment, type Problem, readEnvironment } from './environment.ts'
import { isLoopback } from './parsers.ts'
import { type Secret, secretFile } from './secret-file.ts'
import { type Values, variables } from './variables.ts'

/** Audiences of which a token must name one; `any` leaves the audience unchecked. */
export type Audiences = readonly string[] | 'any'

/** Everything the environment decides, checked. Durations in milliseconds unless the name says otherwise. */
export interface Settings {
  grpc: { address: ListenAddress; socketMode: number; tls?: TlsSettings }
  admin: { address: TcpAddress; token?: Secret }
  /** The second listener, open to everyone and with nothing to hide. */
  statusAddress?: TcpAddress
  dataDir: string
  drain: { delayMs: number; timeoutMs: number }
  /** What a route asks for where nothing stronger speaks. */
  defaults: { auth: AuthMode; scopes: readonly string[] }
  issuers: IssuerSettings[]
  /** By which source a client's address is known. */
  clientAddress: Values['GATEPOST_CLIENT_ADDRESS']
  /** Who tells how requests ended; `none` for nobody. */
  observer: Values['GATEPOST_OBSERVER']
  /** Where events go as JSON lines: `stdout`, or the path of a file. */
  eventsLog?: string
  /** Whether keys may be fetched over plain http beyond loopback. */
  allowPlaintext: boolean
  tokens: { cacheTtlMs: number; clockSkewSeconds: number }
  log: { level: Values['LOG_LEVEL']; format: Values['LOG_FORMAT'] }
}

/** mTLS of the gRPC listener; all files are PEM. */
export interface TlsSettings {
  certFile: string
  keyFile: string
  clientCaFile: string
  /** Subject alternative names of which a client must have one; absent if any certificate of the authorities will do. */
  clientNames?: readonly string[]
}

/** An issuer as the environment describes it. */
export type IssuerSettings =
  | { kind: 'auth0'; origin: string; audiences: Audiences }
  | { kind: 'okta'; origin: string; authorizationServer: string; audiences: Audiences }
  | { kind: 'oidc'; issuer: string; audiences: Audiences }

/** Settings, or every problem that keeps them from being any. */
export type SettingsResult =
  | { kind: 'settings'; settings: Settings }
  | { kind: 'problems'; problems: Problem[] }

/** Reads and checks the whole environment; all problems are found at once. */
export function readSettings(env: Environment): SettingsResult {
  const { values, problems } = readEnvironment(env)
  const issuers = readIssuers(values, problems)
  checkListeners(values, problems)
  checkWaysIn(values, env, problems)
  if (problems.length > 0) return { kind: 'problems', problems }
  return { kind: 'settings', settings: deepFreeze(assemble(values, issuers, env)) }
}

function assemble(values: Values, issuers: IssuerSettings[], env: Environment): Settings {
  const token = adminToken(values, env)
  const tls = tlsSettings(values)
  return {
    grpc: {
      address: values.GATEPOST_GRPC_ADDRESS,
      socketMode: values.GATEPOST_GRPC_SOCKET_MODE,
      ...(tls && { tls }),
    },
    admin: { address: values.GATEPOST_ADMIN_ADDRESS, ...(token && { token }) },
    ...(values.GATEPOST_STATUS_ADDRESS && { statusAddress: values.GATEPOST_STATUS_ADDRESS }),
    dataDir: values.GATEPOST_DATA_DIR,
    drain: { delayMs: values.GATEPOST_DRAIN_DELAY, timeoutMs: values.GATEPOST_DRAIN_TIMEOUT },
    defaults: { auth: values.GATEPOST_AUTH, scopes: values.GATEPOST_REQUIRED_SCOPES },
    issuers,
    clientAddress: values.GATEPOST_CLIENT_ADDRESS,
    observer: values.GATEPOST_OBSERVER,
    ...(values.GATEPOST_EVENTS_LOG && { eventsLog: values.GATEPOST_EVENTS_LOG }),
    allowPlaintext: values.GATEPOST_ALLOW_PLAINTEXT,
    tokens: {
      cacheTtlMs: values.GATEPOST_TOKEN_CACHE_TTL,
      clockSkewSeconds: Math.ceil(values.GATEPOST_CLOCK_SKEW / 1_000),
    },
    log: { level: values.LOG_LEVEL, format: values.LOG_FORMAT },
  }
}

function adminToken({ GATEPOST_ADMIN_TOKEN: token }: Values, env: Environment): Secret | undefined {
  if (token === undefined) return undefined
  const path = env['GATEPOST_ADMIN_TOKEN_FILE']
  return path ? secretFile(path, token, variables.GATEPOST_ADMIN_TOKEN.parse) : () => token
}

function readIssuers(values: Values, problems: Problem[]): IssuerSettings[] {
  const issuers = [readAuth0(values, problems), readOkta(values, problems), readOidc(values, problems)]
  return issuers.filter((issuer) => issuer !== undefined)
}

function readAuth0(values: Values, problems: Problem[]): IssuerSettings | undefined {
  const audiences = values.AUTH0_AUDIENCE
  const origin = checkPair('AUTH0_DOMAIN', values.AUTH0_DOMAIN, 'AUTH0_AUDIENCE', audiences, values, problems)
  return origin !== undefined && audiences ? { kind: 'auth0', origin, audiences } : undefined
}

function readOkta(values: Values, problems: Problem[]): IssuerSettings | undefined {
  const audiences = values.OKTA_AUDIENCE
  const origin = checkPair('OKTA_DOMAIN', values.OKTA_DOMAIN, 'OKTA_AUDIENCE', audiences, values, problems)
  const authorizationServer = values.OKTA_AUTHORIZATION_SERVER
  return origin !== undefined && audiences
    ? { kind: 'okta', origin, authorizationServer, audiences }
    : undefined
}

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

/** Whether keys may be fetched from a URL: https, http on loopback, or any http where plain text is allowed. */
export function mayFetch(url: string, allowPlaintext: boolean): boolean {
  const parsed = URL.parse(url)
  if (parsed?.protocol === 'https:') return true
  return parsed?.protocol === 'http:' && (allowPlaintext || isLoopback(parsed.hostname))
}

function tlsSettings(values: Values): TlsSettings | undefined {
  const { GATEPOST_GRPC_TLS_CERT_FILE: certFile, GATEPOST_GRPC_TLS_KEY_FILE: keyFile } = values
  const { GATEPOST_GRPC_TLS_CLIENT_CA_FILE: clientCaFile, GATEPOST_GRPC_CLIENT_NAMES: clientNames } = values
  if (!certFile || !keyFile || !clientCaFile) return undefined
  return { certFile, keyFile, clientCaFile, ...(clientNames && { clientNames }) }
}

const tlsFiles = [
  'GATEPOST_GRPC_TLS_CERT_FILE',
  'GATEPOST_GRPC_TLS_KEY_FILE',
  'GATEPOST_GRPC_TLS_CLIENT_CA_FILE',
] as const

function checkListeners(values: Values, problems: Problem[]): void {
  const { GATEPOST_GRPC_ADDRESS: grpc, GATEPOST_GRPC_INSECURE: insecure } = values
  const missing = tlsFiles.filter((name) => values[name] === undefined)
  if (missing.length < tlsFiles.length) {
    problems.push(...missing.map((name) => `${name}: mTLS needs it beside the other two files`))
    return
  }
  if (values.GATEPOST_GRPC_CLIENT_NAMES) {
    problems.push(`GATEPOST_GRPC_CLIENT_NAMES: it means nothing without ${tlsFiles.join(', ')}`)
  }
  if (grpc.kind === 'tcp' && !isLoopback(grpc.host) && !insecure) {
    problems.push(
      `GATEPOST_GRPC_ADDRESS: ${grpc.host} can be reached from other machines and the connection is plain text; set ${tlsFiles.join(', ')} for mTLS, listen on 127.0.0.1 or unix:/path, or set GATEPOST_GRPC_INSECURE=true`,
    )
  }
}

const issuerNames = ['AUTH0_DOMAIN', 'OKTA_DOMAIN', 'OIDC_ISSUER']

function checkWaysIn(values: Values, env: Environment, problems: Problem[]): void {
  const spokenOf = problems.some((problem) => problem.startsWith('GATEPOST_AUTH:'))
  if (values.GATEPOST_AUTH !== 'required' || spokenOf || issuerNames.some((name) => env[name])) return
  problems.push(
    [
      'GATEPOST_AUTH: it is "required", and nothing says whom to trust. There are three ways out:',
      '  1. an issuer: AUTH0_DOMAIN and AUTH0_AUDIENCE, OKTA_DOMAIN and OKTA_AUDIENCE, or OIDC_ISSUER and OIDC_AUDIENCE',
      '  2. GATEPOST_AUTH=optional: callers may come without a token',
      '  3. GATEPOST_AUTH=none: nobody is asked who they are',
    ].join('\n'),
  )
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    Object.freeze(value)
    Object.values(value).forEach(deepFreeze)
  }
  return value
}
