import type { FetchJson } from '../core/fetch.ts'
import { readDiscovery } from './endpoint.ts'
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
