/** A caller whom a verified token names. */
export interface TokenIdentity {
  kind: 'token'
  /** The `iss` that vouches for everything else here, verbatim. Two issuers may mint the same `sub`. */
  issuer: string
  /** `sub`, for machine tokens too; absent if the token has none. */
  userId?: string
  /** The first of `client_id`, `azp` and `cid`; absent if the token has none of them. */
  clientId?: string
  /** The union of `scope`, `scp` and `permissions`, without repeats, in the token's order. */
  scopes: readonly string[]
  /** Every claim, as signed. */
  claims: Readonly<Record<string, unknown>>
}

/** A caller who showed no credential where none was required. */
export interface Anonymous {
  kind: 'anonymous'
}

/** Who is calling. */
export type Caller = TokenIdentity | Anonymous

/** The one anonymous caller. */
export const anonymous: Anonymous = { kind: 'anonymous' }

/** Headers by which the upstream learns who is calling. Gatepost alone sets them; a client's own are never believed. */
export const identityHeaderNames = ['x-user-id', 'x-client-id', 'x-auth-scopes', 'x-auth-issuer'] as const

/** Headers that begin so are Gatepost's own and are taken from a client's request too. */
const reservedPrefix = 'x-gatepost-'

/** How the request to the upstream differs from the client's. Header names are lower-case. */
export interface HeaderChanges {
  /** Headers to set, replacing every value the client sent. */
  set: readonly (readonly [name: string, value: string])[]
  /** Headers to remove; never one that `set` names, because Envoy's ext_authz removes last. */
  remove: readonly string[]
}

/** Turns a caller into the headers that the upstream may trust, and takes away every forged one. */
export function identityHeaders(caller: Caller, requestHeaders: Iterable<string>): HeaderChanges {
  const values = caller.kind === 'anonymous' ? [] : headerValues(caller)
  const set: [string, string][] = []
  const remove: string[] = []
  identityHeaderNames.forEach((name, at) => {
    const value = values[at]
    if (value === undefined) remove.push(name)
    else set.push([name, value])
  })
  for (const name of requestHeaders) if (name.startsWith(reservedPrefix)) remove.push(name)
  return { set, remove }
}

function headerValues({ userId, clientId, scopes, issuer }: TokenIdentity): (string | undefined)[] {
  return [userId, clientId, scopes.length > 0 ? scopes.join(' ') : undefined, issuer]
}
