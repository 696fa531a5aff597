/** The response headers by which a cache tells whether it had the answer. Names are lower-case. */
export const cacheHeaderNames = ['cache-status', 'age', 'x-cache'] as const

/**
 * Reads whether a response came from a cache: `Cache-Status` (RFC 9211), else `Age` (RFC 9111 §5.1, present only on
 * stored responses), else the unregistered `X-Cache` of proxies and CDNs.
 * @returns undefined where no cache spoke.
 */
export function cacheStatus(headers: Readonly<Record<string, string>>): 'hit' | 'miss' | undefined {
  const { 'cache-status': status, age, 'x-cache': xCache } = headers
  if (status) return fromCacheStatus(status)
  if (age && /^\d+$/.test(age.trim())) return 'hit'
  if (!xCache) return undefined
  if (/\bhit\b/i.test(xCache)) return 'hit'
  return /\bmiss\b/i.test(xCache) ? 'miss' : undefined
}

// One member a cache, the one nearest the client last; each says `hit`, or `fwd` with the reason it asked onwards.
function fromCacheStatus(value: string): 'hit' | 'miss' | undefined {
  // A quote that nothing closes swallows the rest; to look for its end again and again would take quadratic time.
  const bare = value.replace(/"(?:[^"\\]|\\.?)*(?:"|$)/gs, '""')
  if (/;\s*hit(?:\s*=\s*\?1)?\s*(?:[;,]|$)/.test(bare)) return 'hit'
  return /;\s*fwd\s*=/.test(bare) ? 'miss' : undefined
}
