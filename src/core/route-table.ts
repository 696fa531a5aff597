import { oneSpelling, oneSpellingOfPattern } from './paths.ts'

/** Which requests a route is for. What is absent fits everything. */
export interface RouteMatch {
  /** A host in lower case, or `*.` and a domain for every host below it. */
  host?: string | undefined
  /** `/exact`, `/prefix/*` (the prefix itself and all below it), or either with `{name}` for one segment. */
  path?: string | undefined
  methods?: readonly string[] | undefined
}

/** What a look into the table finds. */
export type RouteFinding<T> =
  | { kind: 'route'; route: T }
  /** Routes fit but for the method; `allow` are the methods that would do. */
  | { kind: 'wrong_method'; allow: readonly string[] }
  | { kind: 'none' }

/** Finds the route of a request. */
export interface RouteTable<T> {
  /** @param path normalised; how it escapes what needs no escape does not count. */
  find(authority: string, path: string, method: string): RouteFinding<T>
}

interface Entry<T> {
  methods: readonly string[] | undefined
  route: T
}

interface Node<T> {
  literals: Map<string, Node<T>>
  wildcard: Node<T> | undefined
  /** Routes whose pattern ends here. */
  here: Entry<T>[]
  /** Routes whose pattern ends here with `/*`. */
  below: Entry<T>[]
}

interface PathTable<T> {
  exact: Map<string, Entry<T>[]>
  tree: Node<T>
}

/**
 * Builds the table. Of several routes that fit, an exact host comes before a wildcard, the longer wildcard before the
 * shorter, and any host last; then an exact path before a template before the longest prefix, and of two templates or two
 * prefixes of one length the one that differs first by a literal; then the order of the list. The most specific path decides: where its methods do not fit, nothing less specific is tried.
 * A look-up costs by the number of segments and labels of the request, not by the number of routes.
 */
export function createRouteTable<T>(routes: readonly { match: RouteMatch; route: T }[]): RouteTable<T> {
  const byHost = new Map<string, PathTable<T>>()
  for (const { match, route } of routes) {
    const host = match.host ?? '*'
    const table = byHost.get(host) ?? { exact: new Map(), tree: newNode() }
    byHost.set(host, table)
    insert(table, oneSpellingOfPattern(match.path ?? '/*'), { methods: match.methods, route })
  }

  return {
    find(authority, rawPath, method) {
      const path = oneSpelling(rawPath)
      for (const host of hostsOf(authority)) {
        const table = byHost.get(host)
        const entries = table && entriesOf(table, path)
        if (entries) return choose(entries, method)
      }
      return { kind: 'none' }
    },
  }
}

/** The host of an authority: lower case, without port and trailing dot. */
export function hostOf(authority: string): string {
  return authority.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '')
}

function* hostsOf(authority: string): Iterable<string> {
  const host = hostOf(authority)
  yield host
  for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1)) yield `*${host.slice(dot)}`
  yield '*'
}

function newNode<T>(): Node<T> {
  return { literals: new Map(), wildcard: undefined, here: [], below: [] }
}

function insert<T>(table: PathTable<T>, pattern: string, entry: Entry<T>): void {
  const isPrefix = pattern.endsWith('/*')
  const isTemplate = pattern.includes('{')
  if (!isPrefix && !isTemplate) {
    const entries = table.exact.get(pattern) ?? []
    table.exact.set(pattern, [...entries, entry])
    return
  }
  const segments = segmentsOf(isPrefix ? pattern.slice(0, -2) : pattern)
  const node = segments.reduce(descend, table.tree)
  ;(isPrefix ? node.below : node.here).push(entry)
}

function descend<T>(node: Node<T>, segment: string): Node<T> {
  const isWildcard = segment.startsWith('{')
  const next = (isWildcard ? node.wildcard : node.literals.get(segment)) ?? newNode<T>()
  if (isWildcard) node.wildcard = next
  else node.literals.set(segment, next)
  return next
}

function segmentsOf(path: string): string[] {
  return path === '' || path === '/' ? [] : path.slice(1).split('/')
}

function entriesOf<T>({ exact, tree }: PathTable<T>, path: string): readonly Entry<T>[] | undefined {
  const segments = segmentsOf(path)
  return exact.get(path) ?? template(tree, segments, 0) ?? prefix(tree, segments, 0)?.entries
}

/** The routes whose pattern fits every segment; a literal before a wildcard. */
function template<T>(node: Node<T>, segments: readonly string[], at: number): Entry<T>[] | undefined {
  const segment = segments[at]
  if (segment === undefined) return node.here.length > 0 ? node.here : undefined
  const literal = node.literals.get(segment)
  const wildcard = segment === '' ? undefined : node.wildcard
  return (
    (literal && template(literal, segments, at + 1)) ?? (wildcard && template(wildcard, segments, at + 1))
  )
}

interface Prefix<T> {
  length: number
  entries: readonly Entry<T>[]
}

/** The routes of the longest prefix; of two of one length, a literal before a wildcard. */
function prefix<T>(node: Node<T>, segments: readonly string[], at: number): Prefix<T> | undefined {
  const segment = segments[at]
  const literal = segment === undefined ? undefined : node.literals.get(segment)
  const wildcard = segment ? node.wildcard : undefined
  const byLiteral = literal && prefix(literal, segments, at + 1)
  const byWildcard = wildcard && prefix(wildcard, segments, at + 1)
  const longer = longest(byLiteral, byWildcard)
  return longer ?? (node.below.length > 0 ? { length: at, entries: node.below } : undefined)
}

function longest<T>(one: Prefix<T> | undefined, other: Prefix<T> | undefined): Prefix<T> | undefined {
  return one && other && one.length < other.length ? other : (one ?? other)
}

function choose<T>(entries: readonly Entry<T>[], method: string): RouteFinding<T> {
  const entry = entries.find(({ methods }) => methods === undefined || methods.includes(method))
  if (entry) return { kind: 'route', route: entry.route }
  return { kind: 'wrong_method', allow: [...new Set(entries.flatMap(({ methods }) => methods ?? []))] }
}
