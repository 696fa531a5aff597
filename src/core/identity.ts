/** A caller whom a credential names. */
export interface Identity {
  /** What named the caller. */
  kind: 'token' | 'key' | 'certificate'
  /** Who vouches for everything else here: a token's `iss`, verbatim. Two issuers may mint the same `sub`. */
  issuer: string
  /** A token's `sub`, for machine tokens too; absent if there is none. */
  userId?: string
  /** The client: a token's `client_id`, `azp` or `cid`, a key's owner, a certificate's name; absent if there is none. */
  clientId?: string
  /** A token's `scope`, `scp` and `permissions` together, or a key's scopes; without repeats. */
  scopes: readonly string[]
  /** Every claim that was signed or told by the issuer. */
  claims: Readonly<Record<string, unknown>>
  /** What the issuer's userinfo adds for the upstream, by claim name; absent where nobody asked. */
  profile?: Readonly<Record<string, string>>
}

/** A caller who showed no credential where none was required. */
export interface Anonymous {
  kind: 'anonymous'
}

/** Who is calling. */
export type Caller = Identity | Anonymous

/** The one anonymous caller. */
export const anonymous: Anonymous = { kind: 'anonymous' }

/** Headers by which the upstream learns who is calling. Gatepost alone sets them; a client's own are never believed. */
export const identityHeaderNames = ['x-user-id', 'x-client-id', 'x-auth-scopes', 'x-auth-issuer'] as const

/** Headers that begin so are Gatepost's own: a profile's claims travel in them, and a client's are taken away. */
const reservedPrefix = 'x-gatepost-'

/** How the request to the upstream differs from the client's. Header names are lower-case. */
export interface HeaderChanges {
  /** Headers to set, replacing every value the client sent. */
  set: readonly (readonly [name: string, value: string])[]
  /** Headers to remove; never one that `set` names, because Envoy's ext_authz removes last. */
  remove: readonly string[]
}

/**
 * Turns a caller into the headers that the upstream may trust, and takes away every forged one.
 * @param requestHeaders names of the client's headers.
 * @param credentials names of headers that are for Gatepost alone; they are taken away too.
 */
export function identityHeaders(
  caller: Caller,
  requestHeaders: Iterable<string>,
  credentials: readonly string[] = [],
): HeaderChanges {
  const values = caller.kind === 'anonymous' ? [] : headerValues(caller)
  const set: [string, string][] = []
  const remove: string[] = []
  identityHeaderNames.forEach((name, at) => {
    const value = values[at]
    if (value === undefined) remove.push(name)
    else set.push([name, value])
  })
  const profile = caller.kind === 'anonymous' ? {} : (caller.profile ?? {})
  for (const [claim, value] of Object.entries(profile)) set.push([profileHeader(claim), value])
  for (const name of requestHeaders) {
    const isForged = name.startsWith(reservedPrefix) && !set.some(([own]) => own === name)
    if (isForged || credentials.includes(name)) remove.push(name)
  }
  return { set, remove }
}

/** The header in which a claim of userinfo travels to the upstream. */
export function profileHeader(claim: string): string {
  return reservedPrefix + claim.replaceAll('_', '-')
}

function headerValues({ userId, clientId, scopes, issuer }: Identity): (string | undefined)[] {
  return [userId, clientId, scopes.length > 0 ? scopes.join(' ') : undefined, issuer]
}
