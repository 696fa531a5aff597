import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { normalizePath } from '../../src/core/paths.ts'
import { createRouteTable, type RouteFinding, type RouteMatch } from '../../src/core/route-table.ts'

/** How many tables and paths are tried; 2,000 are enough for a first look. */
const runs = Number(process.env['FUZZ_RUNS'] ?? 100_000)

/** With the seed that a failure names, the same ones come again. */
const seed = process.env['FUZZ_SEED'] === undefined ? {} : { seed: Number(process.env['FUZZ_SEED']) }

const limitMs = 10 * 60_000

const literals = [
  'a',
  'b',
  'a:b',
  'a%3Ab',
  'a%3ab',
  'é',
  '%C3%A9',
  '%c3%a9',
  'constructor',
  '__proto__',
  '%25',
]

const hosts = [undefined, '*', 'x.com', '*.x.com', 'y.x.com', '*.y.x.com', 'z.y.x.com', '[::1]', '__proto__']

const authorities = [
  'x.com',
  'X.com:443',
  'y.x.com.',
  'z.y.x.com',
  'w.Z.y.x.com.:8',
  '[::1]:80',
  'else',
  '',
  '__proto__',
]

const methods = ['GET', 'PUT', 'POST']

const patternSegment = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...literals) },
  { weight: 2, arbitrary: fc.constantFrom('{x}', '{y}') },
)

const pattern = fc
  .tuple(fc.array(patternSegment, { maxLength: 4 }), fc.constantFrom('', '', '/', '/*', '/*'))
  .map(([segments, end]) => segments.map((segment) => `/${segment}`).join('') + end)
  .map((path) => path || '/')

const rule: fc.Arbitrary<RouteMatch> = fc.record({
  host: fc.constantFrom(...hosts),
  path: fc.option(pattern, { nil: undefined, freq: 9 }),
  methods: fc.option(fc.subarray(methods, { minLength: 1 }), { nil: undefined }),
})

interface Request {
  authority: string
  path: string
  method: string
}

const request: fc.Arbitrary<Request> = fc.record({
  authority: fc.constantFrom(...authorities),
  path: fc
    .array(fc.constantFrom(...literals, '', 'c', '{x}'), { maxLength: 5 })
    .map((segments) => `/${segments.join('/')}`),
  method: fc.constantFrom(...methods, 'get'),
})

test(
  `of ${runs} random tables each finds what a slow obvious matcher finds`,
  () => {
    const tally = { route: 0, wrong_method: 0, none: 0 }

    const property = fc.property(
      fc.array(rule, { maxLength: 12 }),
      fc.array(request, { minLength: 1, maxLength: 6 }),
      (rules, requests) => {
        const table = createRouteTable(rules.map((match, at) => ({ match, route: at })))
        for (const { authority, path, method } of requests) {
          const found = table.find(authority, path, method)
          tally[found.kind] += 1
          expect(found).toEqual(findSlowly(rules, { authority, path, method }))
        }
      },
    )
    fc.assert(property, { numRuns: runs, ...seed })

    // The tables are no idle noise: every finding is among them, and often.
    for (const count of Object.values(tally)) expect(count).toBeGreaterThan(runs / 10)
  },
  limitMs,
)

/** Looks at every rule, and takes those of the highest rank; among them the file's order and the methods decide. */
function findSlowly(
  rules: readonly RouteMatch[],
  { authority, path, method }: Request,
): RouteFinding<number> {
  const ranked = rules.flatMap((match, at) => {
    const rank = rankOf(match, authority, path)
    return rank === undefined ? [] : [{ match, at, rank }]
  })
  const highest = ranked
    .map(({ rank }) => rank)
    .toSorted()
    .at(-1)
  const best = ranked.filter(({ rank }) => rank === highest)
  if (best.length === 0) return { kind: 'none' }
  const fitting = best.find(({ match }) => match.methods?.includes(method) ?? true)
  if (fitting) return { kind: 'route', route: fitting.at }
  return { kind: 'wrong_method', allow: [...new Set(best.flatMap(({ match }) => match.methods ?? []))] }
}

/** How specific a rule is about a request: a text, of which the greater comes first; undefined where it does not fit. */
function rankOf(match: RouteMatch, authority: string, path: string): string | undefined {
  const host = rankOfHost(match.host ?? '*', authority)
  const place = rankOfPath(match.path ?? '/*', path)
  return host === undefined || place === undefined ? undefined : `${host} ${place}`
}

function rankOfHost(wanted: string, authority: string): string | undefined {
  const [, host = ''] = /^(.*?)\.?(?::\d+)?$/.exec(authority.toLowerCase()) ?? []
  if (wanted === '*') return '0'
  if (wanted === host) return '9'
  if (!wanted.startsWith('*.') || !host.endsWith(wanted.slice(1))) return undefined
  return `${wanted.split('.').length}`
}

function rankOfPath(wanted: string, path: string): string | undefined {
  const isPrefix = wanted.endsWith('/*')
  const asked = (isPrefix ? wanted.slice(0, -2) : wanted).split('/').slice(1)
  const given = path.split('/').slice(1)
  const isLongEnough = isPrefix ? given.length >= asked.length : given.length === asked.length
  if (!isLongEnough || !asked.every((segment, at) => fits(segment, given[at] ?? ''))) return undefined
  const kind = isPrefix ? 1 : wanted.includes('{') ? 2 : 3
  // Of the same kind and length the one that differs first by a literal: "l" is greater than "*".
  return `${kind} ${isPrefix ? asked.length : 0} ${asked.map((segment) => (isWild(segment) ? '*' : 'l')).join('')}`
}

function fits(wanted: string, given: string): boolean {
  return isWild(wanted) ? given !== '' : decodeURIComponent(wanted) === decodeURIComponent(given)
}

function isWild(segment: string): boolean {
  return segment.startsWith('{')
}

/** What means the same as a slash. */
const slashes = ['/', '\\', '//', '/./', '/x/../', '/%2e/', '/y/.%2E/', '/x/y/../%2e%2E/', '\\.\\//']

/** What means the same as a character that needs no escape. */
const spellings: readonly ((character: string) => string)[] = [
  (character) => character,
  escaped,
  (character) => escaped(character).toUpperCase(),
]

const heads = ['', '/..', '/./../%2e%2e', '\\..']

const tails = ['', '?', '#', '?x=/../%', '#/..?', '?%00']

test(
  `${runs} paths are normal once normalised, and no disguise makes another of them`,
  () => {
    const segment = fc
      .stringMatching(/^[a-zA-Z0-9.~_;:@é%-]{0,6}$/)
      .map((text) => text.replaceAll('%', '%25'))
    const choices = fc.array(fc.nat(1_000), { minLength: 1, maxLength: 20 })
    let unclear = 0

    const property = fc.property(fc.array(segment, { maxLength: 6 }), choices, (segments, chosen) => {
      const plain = normalizePath(`/${segments.join('/')}`)
      if (plain.kind === 'unclear') {
        unclear += 1
        return
      }
      expect(plain.path).toMatch(/^\//)
      expect(plain.path).not.toMatch(/\/\/|\/\.\.?(\/|$)|[\\?#]|%(2e|7e|[46][1-9a-f]|[57][0-9a])/i)
      expect(normalizePath(disguise(plain.path, chosen))).toEqual(plain)
    })
    fc.assert(property, { numRuns: runs, ...seed })

    expect(unclear).toBeLessThan(runs / 5)
  },
  limitMs,
)

/** Spells a normal path in another way, as the numbers choose in turn. */
function disguise(path: string, choices: readonly number[]): string {
  let turn = 0
  function pick<T>(from: readonly T[]): T {
    turn += 1
    return from[(choices[turn % choices.length] ?? 0) % from.length] as T
  }
  const body = path.replace(/%..|[/A-Za-z0-9._~-]/g, (piece) => {
    if (piece.startsWith('%')) return piece
    return piece === '/' ? pick(slashes) : pick(spellings)(piece)
  })
  return pick(heads) + body + pick(tails)
}

function escaped(character: string): string {
  return `%${character.charCodeAt(0).toString(16)}`
}
