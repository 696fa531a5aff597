import type { Clock } from '../core/clock.ts'
import type { FetchJson } from '../core/fetch.ts'

/** Where a provider offers a service: at a fixed address, or at the one that a discovery document names. */
export type EndpointSource =
  | { kind: 'fixed'; url: string }
  | { kind: 'discovery'; url: string; issuer: string; member: string }

/** Gives the URL of an endpoint. */
export type Endpoint = () => Promise<string>

/** How long a URL from a discovery document is believed, in milliseconds. */
const discoveryTtlMs = 3_600_000

/**
 * Finds an endpoint, asking the discovery document at most once an hour, and once for all who ask at the same time.
 * @param mayUse says whether a URL that the document names may be used.
 */
export function createEndpoint(
  source: EndpointSource,
  fetchJson: FetchJson,
  mayUse: (url: string) => boolean,
  clock: Pick<Clock, 'now'>,
): Endpoint {
  if (source.kind === 'fixed') return async () => source.url
  const { url, issuer, member } = source
  let known: { found: Promise<string>; untilMs: number } | undefined
  return () => {
    if (known && clock.now() < known.untilMs) return known.found
    const found = fetchJson(url).then((document) => readDiscovery(document, issuer, member, mayUse))
    const asked = { found, untilMs: clock.now() + discoveryTtlMs }
    known = asked
    found.catch(() => {
      if (known === asked) known = undefined
    })
    return found
  }
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
