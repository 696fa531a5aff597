import type { FetchJson } from './fetch-json.ts'
import type { IssuerSpec } from './issuers.ts'

/** Fetches an issuer's current JWKS document, by way of its discovery document where it has one. */
export type FetchKeys = () => Promise<unknown>

/**
 * Makes the fetch of one issuer's keys.
 * @param mayUse says whether a URL that a discovery document names may be fetched; it keeps an issuer from sending
 * Gatepost to a plain-text address.
 */
export function createFetchKeys(
  { issuer, keys }: Pick<IssuerSpec, 'issuer' | 'keys'>,
  fetchJson: FetchJson,
  mayUse: (url: string) => boolean,
): FetchKeys {
  if (keys.kind === 'jwks') return () => fetchJson(keys.url)
  return async () => fetchJson(jwksUri(await fetchJson(keys.url), issuer, mayUse))
}

function jwksUri(document: unknown, issuer: string, mayUse: (url: string) => boolean): string {
  const { issuer: named, jwks_uri: uri } = (document ?? {}) as { issuer?: unknown; jwks_uri?: unknown }
  // OpenID Connect Discovery 1.0 §4.3: the names must be the same to the letter.
  if (named !== issuer) {
    throw new Error(`Cannot use the discovery document of ${issuer}: it is ${JSON.stringify(named)}'s`)
  }
  if (typeof uri === 'string' && mayUse(uri)) return uri
  throw new Error(`Cannot use the jwks_uri of ${issuer}: ${JSON.stringify(uri)} is no https URL`)
}
