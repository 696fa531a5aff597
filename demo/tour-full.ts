import { type Section, served } from './tour-case.ts'

/** What envoy/full.yaml has beside the decision. */
export const fullSection: Section = {
  title: 'Around the decision',
  cases: [
    {
      name: "a load balancer's probe",
      path: '/healthz',
      expected: { verdict: '200', events: 'none' },
    },
    {
      name: 'an address that has moved',
      path: '/me',
      expected: {
        verdict: '308',
        headers: { location: /\/users\/me$/ },
        events: { decision: 'allow', route: 'moved' },
      },
    },
    {
      name: 'a path that is rewritten',
      path: '/v1/users/7',
      credentials: ['auth0'],
      expected: served('demo-app@clients', 'users_v1', {
        upstreamHeaders: { 'x-envoy-original-path': '/v1/users/7' },
      }),
    },
    {
      name: 'a gRPC method without token',
      path: '/example.orders.v1.Orders/Get',
      method: 'POST',
      headers: { 'content-type': 'application/grpc', te: 'trailers' },
      http2: true,
      expected: {
        verdict: '200 grpc-status 16',
        headers: { 'grpc-message': /./ },
        body: 'empty',
        events: { decision: 'deny', route: 'orders_grpc', authFailed: 'missing_token' },
      },
    },
  ],
}
