import { spiffeId } from './files.ts'
import { refused, type Section, served } from './tour-case.ts'

/** Credentials that are no tokens, and what becomes of several at once. */
export const credentialSection: Section = {
  title: 'Other credentials',
  about:
    'The key was made by `gatepost keys new`. The certificate is shown on a listener of this Envoy with TLS that asks\n' +
    'for one (GATEPOST_CLIENT_CERT=principal).',
  cases: [
    {
      name: 'an API key',
      path: '/orders',
      credentials: ['apiKey'],
      expected: served('batch-job', 'orders', {
        upstreamHeaders: {
          'x-client-id': 'batch-job',
          'x-auth-scopes': 'read:orders',
          'x-auth-issuer': 'urn:gatepost:api-keys',
          'x-api-key': undefined,
        },
      }),
    },
    {
      name: 'an API key with another secret',
      path: '/orders',
      credentials: ['badApiKey'],
      expected: refused(401, 'invalid_api_key', 'orders'),
    },
    {
      name: 'a good key, a bad token',
      path: '/orders',
      credentials: ['apiKey', 'expired'],
      expected: refused(401, 'invalid_token', 'orders'),
    },
    {
      name: 'a good token, a bad key',
      path: '/orders',
      credentials: ['auth0', 'badApiKey'],
      expected: refused(401, 'invalid_api_key', 'orders'),
    },
    {
      name: 'a client certificate',
      door: 'mtls',
      path: '/users',
      shows: ['x-client-id'],
      expected: served(spiffeId, 'users', {
        upstreamHeaders: {
          'x-client-id': spiffeId,
          'x-user-id': undefined,
          'x-auth-issuer': 'urn:gatepost:client-certificate',
        },
      }),
    },
    {
      name: 'a certificate, and a token',
      door: 'mtls',
      path: '/users',
      credentials: ['auth0'],
      expected: served('demo-app@clients', 'users', { upstreamHeaders: { 'x-client-id': 'demo-app' } }),
    },
  ],
}
