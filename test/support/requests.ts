import type { RequestContext } from '../../src/core/request.ts'

/** A plain GET with the given headers; `more` replaces whatever else matters. */
export function requestWith(
  headers: Readonly<Record<string, string>> = {},
  more: Partial<RequestContext> = {},
): RequestContext {
  return {
    door: 'ext_authz',
    receivedAtMs: Date.UTC(2030, 0, 1),
    requestId: 'request-1',
    method: 'GET',
    authority: 'api.example.com',
    path: '/orders?page=2',
    headers: new Map(Object.entries(headers)),
    overrides: {},
    clientAddress: '192.0.2.7',
    principal: undefined,
    ...more,
  }
}
