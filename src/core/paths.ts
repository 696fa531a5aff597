import { pathWithoutQuery } from './request.ts'

/** A path as Envoy hands it on, or why it cannot be told what an upstream would make of it. */
export type NormalPath = { kind: 'path'; path: string } | { kind: 'unclear'; why: string }

/**
 * Normalises a path as Envoy does with `normalize_path` and `merge_slashes`: query and fragment go, unreserved
 * characters are unescaped, dot segments resolved, slashes merged, and a backslash is a slash.
 * Behind a well-configured Envoy the path arrives so and nothing changes.
 */
export function normalizePath(raw: string): NormalPath {
  const resolved = resolvePath(pathWithoutQuery(raw))
  return resolved.kind === 'path' ? { ...resolved, path: mergeSlashes(resolved.path) } : resolved
}

/** What makes a path unclear: the first that fits says why. */
const unclear: readonly (readonly [pattern: RegExp, why: string])[] = [
  [/%00/, 'it holds an escaped NUL'],
  [/\p{Cc}/u, 'it holds a control character'],
  [/%(?![0-9a-fA-F]{2})/, 'it holds a broken escape'],
]

/** Envoy's `normalize_path`: a path without its query, its dot segments resolved; slashes stay as many as they are. */
export function resolvePath(path: string): NormalPath {
  const why = unclear.find(([pattern]) => pattern.test(path))?.[1]
  if (why !== undefined) return { kind: 'unclear', why }
  const plain = unescapeUnreserved(path).replaceAll('\\', '/')
  // Java's servers cut the parameter off, and only then see the dots.
  if (/(^|\/)\.\.?;/.test(plain)) return { kind: 'unclear', why: 'it holds a dot segment with a parameter' }
  return { kind: 'path', path: resolveDots(plain) }
}

/** Whether a path holds a slash in disguise: upstreams disagree on what `%2F` and `%5C` are. */
export function hasEscapedSlash(path: string): boolean {
  return /%2f|%5c/i.test(path)
}

/** Envoy's `merge_slashes`: one slash of several, but in the query. */
export function mergeSlashes(path: string): string {
  return path.replace(/^[^?]*/, (bare) => bare.replace(/\/{2,}/g, '/'))
}

/**
 * The one spelling of all that mean the same, for comparing: RFC 3986 §3.3 lets a segment hold `:` or `@` plain, so that
 * `%3A` is as good; other characters are escaped, in capitals. Who could choose the spelling could choose the route.
 */
export function oneSpelling(path: string): string {
  return path
    .toWellFormed()
    .replace(/%[0-9a-fA-F]{2}/g, unescapeDelimiter)
    .replace(/[^A-Za-z0-9._~!$&'()*+,;=:@/%-]+/g, encodeURIComponent)
}

/** The same of a pattern, whose `{name}` segments stay as they are. */
export function oneSpellingOfPattern(pattern: string): string {
  return pattern
    .split('/')
    .map((segment) => (segment.startsWith('{') ? segment : oneSpelling(segment)))
    .join('/')
}

function unescapeDelimiter(escaped: string): string {
  const character = characterOf(escaped)
  return /[!$&'()*+,;=:@]/.test(character) ? character : escaped.toUpperCase()
}

// RFC 3986 §2.3: these mean the same escaped and unescaped.
function unescapeUnreserved(path: string): string {
  return path.replace(/%[0-9a-fA-F]{2}/g, (escaped) => {
    const character = characterOf(escaped)
    return /[A-Za-z0-9._~-]/.test(character) ? character : escaped
  })
}

function characterOf(escaped: string): string {
  return String.fromCharCode(Number.parseInt(escaped.slice(1), 16))
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
