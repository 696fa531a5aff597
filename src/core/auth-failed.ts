import type { Deny } from './decision.ts'
import type { AuthFailed } from './events.ts'
import { pathWithoutQuery, type RequestContext } from './request.ts'
import { maxEventPathBytes, truncateJson } from './text.ts'

/** The event of a caller who was refused. What is not known is left out. */
export function authFailed(
  request: RequestContext,
  { denial, route, caller }: Pick<Deny, 'denial' | 'route' | 'caller'>,
  shadow = false,
): AuthFailed {
  return {
    reason: denial.reason,
    path: truncateJson(pathWithoutQuery(request.path), maxEventPathBytes),
    ...(request.clientAddress !== undefined && { client_ip: request.clientAddress }),
    token_type:
      denial.reason === 'invalid_api_key' ? 'api_key' : tokenType(request.headers.get('authorization')),
    route: route.name,
    ...(caller.kind !== 'anonymous' && { issuer: caller.issuer }),
    ...(shadow && { shadow }),
  }
}

function tokenType(authorization: string | undefined): AuthFailed['token_type'] {
  if (authorization === undefined) return 'none'
  return /^ *bearer /i.test(authorization) ? 'bearer' : 'other'
}
