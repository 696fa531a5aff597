import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { maxFileBytes, parseFile } from '../../src/lint/document.ts'
import { lint } from '../../src/lint/lint.ts'

function problemsOf(text: string): string[] {
  return parseFile('a.yaml', text).problems.map(
    ({ line, column, message }) => `${line}:${column}: ${message}`,
  )
}

describe('what cannot be read is one clear problem', () => {
  const nines = (name: string) => Array(9).fill(name).join()

  test.each([
    ['an open bracket', 'a: [1', /^1:\d+: Flow sequence/],
    ['a key that stands twice', 'spec:\n  a: 1\n  a: 2', /^3:3: the key "a" stands twice in one map$/],
    ['an alias of nothing', 'a: *b', /^1:\d+: .*alias/i],
    ['a template of Helm', '{{- if .Values.a }}\na: b\n{{- end }}', /^1:/],
    [
      'a bomb of aliases',
      [
        'a: &a [x]',
        ...[...'bcdefghi'].map((name, at) => `${name}: &${name} [${nines(`*${'abcdefghi'[at]}`)}]`),
      ].join('\n'),
      /aliases that unfold too often/,
    ],
    ['too many aliases', `a: &a 1\nb: [${Array(101).fill('*a').join()}]`, /more than 100 aliases/],
    ['brackets too deep', '['.repeat(5_000), /^1:1: is nested too deeply or too often$/],
    ['maps too deep', '{a: '.repeat(5_000), /^1:1: is nested too deeply or too often$/],
    [
      'brackets and keys too deep',
      `a: 1\nb: ${'[? '.repeat(5_000)}`,
      /^2:1: is nested too deeply or too often$/,
    ],
    ['dashes too deep', `${'- '.repeat(5_000)}a`, /^1:1: is nested too deeply or too often$/],
    ['too many explicit keys', '? a\n'.repeat(2_000), /^1001:1: is nested too deeply or too often$/],
    ['too many brackets', 'a: [[[]]]\n---\n'.repeat(70_000), /^\d+:1: is nested too deeply or too often$/],
    ['a file that is too large', 'a'.repeat(maxFileBytes + 1), /^1:1: is larger than 2 MiB$/],
  ])('%s', (_what, text, problem) => {
    const problems = problemsOf(text)

    expect(problems[0]).toMatch(problem)
  })
})

describe('what can be read has no problem', () => {
  test.each([
    ['nothing', ''],
    ['a comment', '# nothing\n'],
    ['null', 'null\n---\n~\n---\n'],
    ['a number', '7'],
    ['a list', '- 1\n- null\n'],
    ['an object without all that rules look for', 'apiVersion: v1\nkind: Pod\nspec: null\nmetadata: 3\n'],
    ['objects where lists are due', 'apiVersion: v1\nkind: Pod\nspec: { containers: { a: 1 }, volumes: x }'],
    ['a large block', `a: |\n${'  x\n'.repeat(100_000)}`],
  ])('%s', (_what, text) => {
    expect(lint([{ name: 'a.yaml', text }])).toEqual({ findings: [], problems: [] })
  })
})

test('a document that cannot be read does not hide the others', () => {
  const { documents, problems } = parseFile('a.yaml', 'a: 1\n---\nb: [\n---\nc: 3\n')

  expect(documents.map(({ root }) => root.value)).toEqual([{ a: 1 }, { c: 3 }])
  expect(problems).toHaveLength(1)
})

test('a configuration in a ConfigMap has its places in the file', () => {
  const text =
    'apiVersion: v1\nkind: ConfigMap\ndata:\n  envoy.yaml: |\n\n    a:\n      b: 1\n  other: text\n'
  const [, inner] = parseFile('a.yaml', text).documents

  expect(inner?.root.value).toEqual({ a: { b: 1 } })
  expect(inner?.root.get('a', 'b').place).toEqual({ line: 7, column: 7 })
})

const words = [
  ...[
    'apiVersion: networking.istio.io/v1',
    'kind: EnvoyFilter',
    'kind: VirtualService',
    'kind: Pod',
    'kind: List',
  ],
  ...[
    'spec:',
    '  http:',
    '  - ',
    '  servers: [',
    '{',
    '}',
    ']',
    '"@type": a.ExtAuthz',
    '&a',
    '*a',
    '---',
    '? ',
    '|',
    '\t',
  ],
  ...[
    'static_resources:',
    'configPatches: [{',
    'containers:',
    'null',
    '# gatepost-lint-ignore: x y',
    '<<: *a',
    '\n',
    '  ',
  ],
]

test('nothing that a file holds makes it throw', () => {
  const lines = fc.array(fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 12 })), { maxLength: 30 })
  const texts = fc.oneof(
    lines.map((parts) => parts.join('\n')),
    lines.map((parts) => parts.join('')),
    fc.json(),
  )

  fc.assert(
    fc.property(texts, (text) => {
      for (const { line, column, rule } of lint([{ name: 'a.yaml', text }]).findings) {
        expect(line).toBeGreaterThan(0)
        expect(column).toBeGreaterThan(0)
        expect(rule).toBeTruthy()
      }
    }),
    { numRuns: 300 },
  )
})

const kinds = [
  'EnvoyFilter',
  'VirtualService',
  'DestinationRule',
  'Gateway',
  'HTTPRoute',
  'Deployment',
  'Pod',
  'ConfigMap',
  'Telemetry',
]
const names = [
  ...[
    'spec',
    'data',
    'items',
    'http',
    'servers',
    'hosts',
    'configPatches',
    'patch',
    'value',
    'match',
    'typed_config',
    '@type',
  ],
  ...[
    'template',
    'containers',
    'initContainers',
    'env',
    'name',
    'route',
    'timeout',
    'gateways',
    'listener',
    'operation',
  ],
  ...[
    'static_resources',
    'listeners',
    'clusters',
    'http_filters',
    'route_config',
    'virtual_hosts',
    'routes',
    'meshConfig',
  ],
]

test('rules bear any value under the names that they look for', () => {
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 6 },
      fc.constantFrom(
        null,
        true,
        0,
        '',
        '*',
        'gatepost',
        'HTTP_FILTER',
        'x.ExtAuthz',
        'x.HttpConnectionManager',
        'mesh: {',
      ),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...names), tie('value'), { maxKeys: 5 }),
    ),
  }))

  fc.assert(
    fc.property(fc.constantFrom(...kinds), value, (kind, rest) => {
      const object = {
        apiVersion: 'networking.istio.io/v1',
        kind,
        spec: rest,
        data: rest,
        static_resources: rest,
      }

      expect(lint([{ name: 'a.json', text: JSON.stringify(object) }]).problems).toEqual([])
    }),
    { numRuns: 300 },
  )
})
