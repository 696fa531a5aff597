import type { ExpectedEvents } from './events.ts'
import type { Attachment, Doors, Providers } from './stack.ts'
import { fullTour } from './tour-full.ts'

/** The tokens of the tour by name. */
export interface Tokens {
  auth0: string
  okta: string
  oidc: string
  expired: string
  otherAudience: string
  withoutScope: string
  unknownIssuer: string
}

/** What the tour's last lines are about. */
export const faultNote =
  'Faults are shown on two more listeners of this Envoy whose Gatepost is down: one refuses\n' +
  '(failure_mode_allow: false), one lets through (true). No client may gain an identity by it.'

/** One stop of the tour: a request, and what must come of it. */
export interface TourCase {
  name: string
  door: keyof Doors
  path: string
  /** Default: GET. */
  method?: string
  /** Names of tokens, each sent in an `Authorization` header of its own. Default: none. */
  tokens?: readonly (keyof Tokens)[]
  headers?: Readonly<Record<string, string>>
  /** HTTP/2 with prior knowledge. Default: HTTP/1.1. */
  http2?: boolean
  expected: Expectation
}

/** What must come of a request. What is left out is not looked at. */
export interface Expectation {
  /** In the words of `verdictOf`. */
  verdict: string
  /** Patterns that headers of the reply must match. */
  headers?: Readonly<Record<string, RegExp>>
  /** The exact headers the upstream must see; undefined: it must not see that one. */
  upstreamHeaders?: Readonly<Record<string, string | undefined>>
  body?: 'problem' | 'empty'
  /** What Gatepost must tell of it; `none` where it must not even hear of it. */
  events: ExpectedEvents | 'none'
}

/** Gets the tokens of the tour: real ones from the token endpoints, bad ones signed by the providers' real keys. */
export async function tourTokens({ auth0, okta, oidc }: Providers): Promise<Tokens> {
  const scope = 'read:users read:orders'
  return {
    auth0: await auth0.issueToken({ scope }),
    okta: await okta.issueToken({ scope }),
    oidc: await oidc.issueToken({ scope }),
    expired: auth0.signToken({ exp: Math.floor(Date.now() / 1000) - 3600 }),
    otherAudience: await auth0.issueToken({ audience: 'https://elsewhere.example.com' }),
    withoutScope: await auth0.issueToken({ scope: 'read:users' }),
    unknownIssuer: auth0.signToken({ iss: 'https://login.unknown.example/' }),
  }
}

const forged = { 'x-user-id': 'admin', 'x-auth-scopes': 'everything', 'x-gatepost-plan': 'gold' }
const unseen = { 'x-user-id': undefined, 'x-auth-scopes': undefined, 'x-gatepost-plan': undefined }
const invalidToken = {
  verdict: '401 invalid_token',
  headers: { 'www-authenticate': /^Bearer .*error="invalid_token"/ },
  body: 'problem',
  events: { decision: 'deny', route: 'users', authFailed: 'invalid_token' },
} as const

/** The tour: what Gatepost lets through, what it refuses and how, and what nobody can talk it into. */
export function tour(attachment: Attachment, providers: Providers): readonly TourCase[] {
  return [...commonTour(providers), ...(attachment === 'full' ? fullTour : []), ...faultTour]
}

function commonTour({ auth0, okta, oidc }: Providers): readonly TourCase[] {
  return [
    {
      name: 'a good Auth0 token',
      door: 'ingress',
      path: '/users',
      tokens: ['auth0'],
      expected: {
        verdict: '200 as demo-app@clients',
        headers: { 'x-upstream': /^user_service$/ },
        upstreamHeaders: { 'x-client-id': 'demo-app', 'x-auth-issuer': auth0.issuer },
        events: { decision: 'allow', route: 'users', userId: 'demo-app@clients' },
      },
    },
    {
      name: 'a good Okta token',
      door: 'ingress',
      path: '/orders',
      tokens: ['okta'],
      expected: {
        verdict: '200 as demo-app',
        headers: { 'x-upstream': /^order_service$/ },
        upstreamHeaders: { 'x-client-id': 'demo-app', 'x-auth-issuer': okta.issuer },
        events: { decision: 'allow', route: 'orders', userId: 'demo-app' },
      },
    },
    {
      name: 'a good OpenID Connect token',
      door: 'ingress',
      path: '/orders',
      tokens: ['oidc'],
      expected: {
        verdict: '200 as demo-app',
        headers: { 'x-upstream': /^order_service$/ },
        upstreamHeaders: { 'x-client-id': 'demo-app', 'x-auth-issuer': oidc.issuer },
        events: { decision: 'allow', route: 'orders', userId: 'demo-app' },
      },
    },
    {
      name: 'no token',
      door: 'ingress',
      path: '/users',
      // RFC 6750 §3.1: no error code when the request carried no credentials
      expected: {
        verdict: '401 Bearer',
        headers: { 'www-authenticate': /^Bearer(?!.*error=)/ },
        body: 'problem',
        events: { decision: 'deny', route: 'users', authFailed: 'missing_token' },
      },
    },
    {
      name: 'an expired token',
      door: 'ingress',
      path: '/users',
      tokens: ['expired'],
      expected: invalidToken,
    },
    {
      name: 'a token for another audience',
      door: 'ingress',
      path: '/users',
      tokens: ['otherAudience'],
      expected: invalidToken,
    },
    {
      name: 'a token of an unknown issuer',
      door: 'ingress',
      path: '/users',
      tokens: ['unknownIssuer'],
      expected: invalidToken,
    },
    {
      name: 'a token without the scope',
      door: 'ingress',
      path: '/orders',
      tokens: ['withoutScope'],
      expected: {
        verdict: '403 insufficient_scope',
        headers: { 'www-authenticate': /^Bearer .*error="insufficient_scope"/ },
        body: 'problem',
        events: {
          decision: 'deny',
          route: 'orders',
          userId: 'demo-app@clients',
          authFailed: 'insufficient_scope',
        },
      },
    },
    {
      name: 'two authorization headers',
      door: 'ingress',
      path: '/users',
      tokens: ['auth0', 'okta'],
      expected: {
        verdict: '400 invalid_request',
        body: 'problem',
        events: { decision: 'deny', route: 'users', authFailed: 'invalid_request' },
      },
    },
    {
      name: 'a good token, forged identity',
      door: 'ingress',
      path: '/users',
      tokens: ['auth0'],
      headers: forged,
      expected: {
        verdict: '200 as demo-app@clients',
        headers: { 'x-upstream': /^user_service$/ },
        upstreamHeaders: { 'x-auth-scopes': 'read:users read:orders', 'x-gatepost-plan': undefined },
        events: { decision: 'allow', route: 'users', userId: 'demo-app@clients' },
      },
    },
    {
      name: 'a public route, forged identity',
      door: 'ingress',
      path: '/public',
      headers: forged,
      expected: {
        verdict: '200 as nobody',
        headers: { 'x-upstream': /^user_service$/ },
        upstreamHeaders: unseen,
        events: { decision: 'allow', route: 'public' },
      },
    },
    {
      name: 'a public route, forged x_user_id',
      door: 'ingress',
      path: '/public',
      headers: { x_user_id: 'admin' },
      expected: { verdict: '400', events: { decision: 'none' } },
    },
    {
      name: 'a detour by an escaped slash',
      door: 'ingress',
      path: '/public/..%2fusers',
      expected: { verdict: '400', events: { decision: 'none' } },
    },
    {
      name: 'a gRPC call without token',
      door: 'ingress',
      path: '/users',
      method: 'POST',
      headers: { 'content-type': 'application/grpc', te: 'trailers' },
      http2: true,
      expected: {
        verdict: '200 grpc-status 16',
        headers: { 'grpc-message': /./ },
        body: 'empty',
        events: { decision: 'deny', route: 'users', authFailed: 'missing_token' },
      },
    },
    {
      name: "a browser's preflight",
      door: 'ingress',
      path: '/users',
      method: 'OPTIONS',
      headers: { origin: 'https://app.example.com', 'access-control-request-method': 'GET' },
      expected: {
        verdict: '200',
        headers: { 'access-control-allow-origin': /^https:\/\/app\.example\.com$/ },
        events: { decision: 'none' },
      },
    },
  ]
}

const faultTour: readonly TourCase[] = [
  {
    name: 'a fault refused, good token',
    door: 'faultRefused',
    path: '/users',
    tokens: ['auth0'],
    headers: forged,
    expected: { verdict: '503', events: { decision: 'fault' } },
  },
  {
    name: 'a fault let through, forged identity',
    door: 'faultAllowed',
    path: '/users',
    headers: forged,
    expected: {
      verdict: '200 as nobody',
      headers: { 'x-upstream': /^user_service$/ },
      upstreamHeaders: unseen,
      events: { decision: 'fault' },
    },
  },
]
