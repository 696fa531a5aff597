import { type Credentials, credentialFile } from './credentials.ts'
import { introspectionCacheTtl } from './policy.ts'
import type { Stack } from './stack.ts'
import { forged, refused, type Section, served, type TourStep } from './tour-case.ts'

/** Tokens that are JWTs, which Gatepost verifies by itself, and opaque ones, about which it asks. */
export function tokenSection(stack: Stack, credentials: Credentials): Section {
  const { auth0, okta, oidc, partner } = stack.providers
  const invalidToken = refused(401, 'invalid_token', 'users', {
    headers: { 'www-authenticate': /^Bearer .*error="invalid_token"/ },
  })
  return {
    title: 'Tokens',
    cases: [
      {
        name: 'a good Auth0 token',
        path: '/users',
        credentials: ['auth0'],
        expected: served('demo-app@clients', 'users', {
          headers: { 'x-upstream': /^user_service$/ },
          upstreamHeaders: { 'x-client-id': 'demo-app', 'x-auth-issuer': auth0.issuer },
        }),
      },
      {
        name: 'a good Okta token',
        path: '/orders',
        credentials: ['okta'],
        expected: served('demo-app', 'orders', {
          headers: { 'x-upstream': /^order_service$/ },
          upstreamHeaders: { 'x-client-id': 'demo-app', 'x-auth-issuer': okta.issuer },
        }),
      },
      {
        name: 'a good OpenID Connect token',
        path: '/orders',
        credentials: ['oidc'],
        expected: served('demo-app', 'orders', {
          headers: { 'x-upstream': /^order_service$/ },
          upstreamHeaders: { 'x-client-id': 'demo-app', 'x-auth-issuer': oidc.issuer },
        }),
      },
      {
        name: 'no token',
        path: '/users',
        // RFC 6750 §3.1: no error code when the request carried no credentials
        expected: refused(401, 'missing_token', 'users', {
          headers: { 'www-authenticate': /^Bearer(?!.*error=)/ },
        }),
      },
      { name: 'an expired token', path: '/users', credentials: ['expired'], expected: invalidToken },
      {
        name: 'a token for another audience',
        path: '/users',
        credentials: ['otherAudience'],
        expected: invalidToken,
      },
      {
        name: 'a token of an unknown issuer',
        path: '/users',
        credentials: ['unknownIssuer'],
        expected: invalidToken,
      },
      {
        name: 'a token without the scope',
        path: '/orders',
        credentials: ['withoutScope'],
        expected: refused(403, 'insufficient_scope', 'orders', {
          headers: { 'www-authenticate': /^Bearer .*error="insufficient_scope"/ },
          caller: 'demo-app@clients',
        }),
      },
      {
        name: 'two authorization headers',
        path: '/users',
        credentials: ['auth0', 'okta'],
        expected: refused(400, 'invalid_request', 'users'),
      },
      {
        name: 'a good token, forged identity',
        path: '/users',
        credentials: ['auth0'],
        headers: forged,
        expected: served('demo-app@clients', 'users', {
          headers: { 'x-upstream': /^user_service$/ },
          upstreamHeaders: { 'x-auth-scopes': 'read:users read:orders', 'x-gatepost-plan': undefined },
        }),
      },
      {
        name: 'a gRPC call without token',
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
        name: "a user's token, and userinfo",
        path: '/users',
        credentials: ['user'],
        shows: ['x-gatepost-email', 'x-gatepost-name'],
        expected: served('ada', 'users', {
          upstreamHeaders: { 'x-gatepost-email': 'ada@example.com', 'x-gatepost-name': 'Ada Lovelace' },
        }),
      },
      {
        name: 'an opaque token, by introspection',
        path: '/orders',
        credentials: ['opaque'],
        expected: served('demo-app', 'orders', { upstreamHeaders: { 'x-auth-issuer': partner.issuer } }),
      },
      {
        name: 'the same one, revoked',
        path: '/orders',
        credentials: ['opaque'],
        before: revocation(stack, credentials),
        patienceMs: introspectionCacheTtl.ms,
        expected: refused(401, 'invalid_token', 'orders'),
      },
    ],
  }
}

/** The issuer is told; Gatepost learns of it when it asks again. */
function revocation({ providers: { partner }, files }: Stack, { opaque }: Credentials): TourStep {
  const { id, secret } = partner.client
  const file = credentialFile(files.folder, 'opaque')
  return {
    does: `it is revoked at its issuer; Gatepost may believe the old answer for ${introspectionCacheTtl.text}`,
    line: `curl -u '${id}:${secret}' -d "token=$(sed 's/.*Bearer //' ${file})" ${partner.revocationUri}`,
    async run() {
      await partner.revokeToken(opaque[1].replace(/^Bearer /, ''))
      return []
    },
  }
}
