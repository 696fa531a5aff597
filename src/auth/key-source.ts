import type { FetchJson } from '../core/fetch.ts'
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
  return async () => fetchJson(readDiscovery(await fetchJson(keys.url), issuer, 'jwks_uri', mayUse))
}

/**
 * Reads a URL out of a discovery document.
 * @throws Error where the document is another issuer's, or the URL may not be used.
 */
export function readDiscovery(
  document: unknown,
  issuer: string,
  member: string,
  mayUse: (url: string) => boolean,
): string {
  const { issuer: named, [member]: url } = (document ?? {}) as Record<string, unknown>
  // OpenID Connect Discovery 1.0 §4.3: the names must be the same to the letter.
  if (named !== issuer) {
    throw new Error(`Cannot use the discovery document of ${issuer}: it is ${JSON.stringify(named)}'s`)
  }
  if (typeof url === 'string' && mayUse(url)) return url
  throw new Error(`Cannot use the ${member} of ${issuer}: ${JSON.stringify(url)} is no https URL`)
}
