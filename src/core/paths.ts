/** A path as Envoy hands it on, or why it cannot be told what an upstream would make of it. */
export type NormalPath = { kind: 'path'; path: string } | { kind: 'unclear'; why: string }

/**
 * Normalises a path as Envoy does with `normalize_path` and `merge_slashes`: query and fragment go, unreserved
 * characters are unescaped, dot segments resolved, slashes merged, and a backslash is a slash.
 * Behind a well-configured Envoy the path arrives so and nothing changes.
 */
export function normalizePath(raw: string): NormalPath {
  const path = withoutQueryAndFragment(raw)
  if (/%00/.test(path)) return { kind: 'unclear', why: 'it holds an escaped NUL' }
  if (/\p{Cc}/u.test(path)) return { kind: 'unclear', why: 'it holds a control character' }
  if (/%(?![0-9a-fA-F]{2})/.test(path)) return { kind: 'unclear', why: 'it holds a broken escape' }
  return { kind: 'path', path: mergeSlashes(resolveDots(unescapeUnreserved(path).replaceAll('\\', '/'))) }
}

/** Whether a path holds a slash in disguise: upstreams disagree on what `%2F` and `%5C` are. */
export function hasEscapedSlash(path: string): boolean {
  return /%2f|%5c/i.test(path)
}

/** The path without its query and fragment. */
export function withoutQueryAndFragment(path: string): string {
  const end = path.search(/[?#]/)
  return end < 0 ? path : path.slice(0, end)
}

/** Makes one slash of several. */
export function mergeSlashes(path: string): string {
  return path.replace(/\/{2,}/g, '/')
}

// RFC 3986 §2.3: these mean the same escaped and unescaped.
function unescapeUnreserved(path: string): string {
  return path.replace(/%([0-9a-fA-F]{2})/g, (escaped, digits: string) => {
    const character = String.fromCharCode(Number.parseInt(digits, 16))
    return /[A-Za-z0-9._~-]/.test(character) ? character : escaped
  })
}

// RFC 3986 §5.2.4. An empty segment is a segment: dots are resolved before slashes are merged.
function resolveDots(path: string): string {
  const segments: string[] = []
  const parts = path.replace(/^\//, '').split('/')
  for (const [at, part] of parts.entries()) {
    const isLast = at === parts.length - 1
    if (part === '..') segments.pop()
    if (part !== '.' && part !== '..') segments.push(part)
    else if (isLast) segments.push('')
  }
  return `/${segments.join('/')}`
}
