import { type ServiceError, status } from '@grpc/grpc-js'
import type { GrpcClient } from './grpc-client.ts'

/** What a caller saw: it passed, it was refused for a reason, or Gatepost could not decide. */
export interface CheckOutcome {
  kind: 'allow' | 'deny' | 'fault'
  /** The reason of a denial, the gRPC status of a fault; empty for an allow. */
  reason: string
  /** The headers that the upstream gets, beside the client's own. */
  upstreamHeaders: Readonly<Record<string, string>>
}

/** Sends a request with a bearer token, as Envoy would ask about it. */
export async function checkToken(client: GrpcClient, token: string): Promise<CheckOutcome> {
  try {
    const { http_response, ok_response, denied_response } = await client.check({
      attributes: {
        request: {
          http: {
            method: 'GET',
            host: 'api.example.com',
            path: '/users',
            headers: { authorization: `Bearer ${token}` },
          },
        },
      },
    })
    if (http_response === 'denied_response') {
      return { kind: 'deny', reason: reasonOf(denied_response?.body), upstreamHeaders: {} }
    }
    const headers = (ok_response?.headers ?? []).map(({ header }) => [header?.key, header?.value])
    return { kind: 'allow', reason: '', upstreamHeaders: Object.fromEntries(headers) }
  } catch (error) {
    return { kind: 'fault', reason: status[(error as ServiceError).code], upstreamHeaders: {} }
  }
}

/** The kind of an outcome and its reason, in one word: `allow`, `deny invalid_token`, `fault UNAVAILABLE`. */
export function describeOutcome({ kind, reason }: CheckOutcome): string {
  return `${kind} ${reason}`.trim()
}

function reasonOf(body = ''): string {
  const { type = '' } = JSON.parse(body) as { type?: string }
  return type.split(/[:/#]/).at(-1) ?? ''
}
