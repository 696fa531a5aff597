import type { TourCase } from './tour.ts'

/** What envoy/full.yaml has beside the decision. */
export const fullTour: readonly TourCase[] = [
  {
    name: "a load balancer's probe",
    door: 'ingress',
    path: '/healthz',
    expected: { verdict: '200', events: 'none' },
  },
  {
    name: 'an address that has moved',
    door: 'ingress',
    path: '/me',
    expected: {
      verdict: '308',
      headers: { location: /\/users\/me$/ },
      events: { decision: 'allow', route: 'moved' },
    },
  },
  {
    name: 'a path that is rewritten',
    door: 'ingress',
    path: '/v1/users/7',
    tokens: ['auth0'],
    expected: {
      verdict: '200 as demo-app@clients',
      upstreamHeaders: { 'x-envoy-original-path': '/v1/users/7' },
      events: { decision: 'allow', route: 'users_v1', userId: 'demo-app@clients' },
    },
  },
  {
    name: 'a gRPC method without token',
    door: 'ingress',
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
]
