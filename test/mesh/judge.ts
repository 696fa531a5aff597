import { status } from '@grpc/grpc-js'
import type { CheckResponse__Output } from '../../src/envoy/gen/envoy/service/auth/v3/CheckResponse.ts'
import { startGatepost, waitUntilReady } from '../support/gatepost.ts'
import { connectGrpc } from '../support/grpc-client.ts'
import type { KeycloakRealm } from '../support/keycloak-realm.ts'

/** How Gatepost judges the tokens of a realm. */
export const ways = ['keys', 'keys and userinfo', 'introspection', 'introspection and userinfo'] as const

/** One of {@link ways}. */
export type Way = (typeof ways)[number]

/** What Gatepost answered to a Check. */
export interface Answer {
  /** `allowed`, an HTTP status such as `Unauthorized`, or the gRPC status of a fault such as `UNAVAILABLE`. */
  verdict: string
  /** For the upstream where the request is allowed, for the client where it is refused. */
  headers: Record<string, string>
  /** Why it is refused, as the client reads it. */
  detail?: string
}

/** What Gatepost must know of a realm. */
type TrustedRealm = Pick<KeycloakRealm, 'issuer' | 'audience' | 'introspectionSecret'>

/** A Gatepost that trusts one realm, in a process of its own. */
export interface Judge extends AsyncDisposable {
  grpcAddress: string
  /** Asks as Envoy does about a request with this bearer token. */
  check(token: string): Promise<Answer>
  stop(): Promise<void>
}

/** How long Gatepost may remember an answer of the provider in these tests. */
const answerTtl = '1s'

/** Starts Gatepost for a realm. @param env replaces and adds. */
export async function startJudge(
  realm: TrustedRealm,
  way: Way,
  env: Record<string, string> = {},
): Promise<Judge> {
  await using parts = new AsyncDisposableStack()
  const gatepost = parts.use(
    await startGatepost({ ...trust(realm, way), GATEPOST_INTROSPECTION_CACHE_TTL: answerTtl, ...env }),
  )
  await waitUntilReady(gatepost)
  const client = parts.use(connectGrpc(gatepost.grpcAddress))
  const owned = parts.move()
  const stop = () => owned.disposeAsync()
  return {
    grpcAddress: gatepost.grpcAddress,
    async check(token) {
      const http = { method: 'GET', path: '/users', host: 'api.example.com', headers: bearer(token) }
      try {
        return describe(await client.check({ attributes: { request: { http } } }))
      } catch (error) {
        return { verdict: status[(error as { code: number }).code] ?? String(error), headers: {} }
      }
    },
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

/** The header of a bearer token. */
export function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` }
}

function trust({ issuer, audience, introspectionSecret }: TrustedRealm, way: Way): Record<string, string> {
  if (way === 'keys') return { OIDC_ISSUER: issuer, OIDC_AUDIENCE: audience }
  const client = { client_id: 'gatepost', client_secret: introspectionSecret }
  const described = {
    name: 'keycloak',
    issuer,
    audience,
    userinfo: way.endsWith('userinfo'),
    ...(way.startsWith('introspection') && { validation: 'introspection', ...client }),
  }
  return { GATEPOST_POLICY: JSON.stringify({ issuers: [described] }) }
}

function describe({ denied_response: denied, ok_response: ok }: CheckResponse__Output): Answer {
  const options = (denied ?? ok)?.headers ?? []
  const headers = Object.fromEntries(options.map(({ header }) => [header?.key ?? '', header?.value ?? '']))
  if (!denied) return { verdict: 'allowed', headers }
  const { detail } = JSON.parse(denied.body ?? '{}') as { detail?: string }
  return { verdict: denied.status?.code ?? 'refused', headers, ...(detail !== undefined && { detail }) }
}
