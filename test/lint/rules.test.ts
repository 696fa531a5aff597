import { globSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from '@jest/globals'
import { lint, listedRules } from '../../src/lint/lint.ts'

const here = fileURLToPath(new URL('.', import.meta.url))
const root = join(here, '../..')

function filesIn(pattern: string, folder = here): string[] {
  return globSync(pattern, { cwd: folder }).sort()
}

function read(name: string, folder = here) {
  return { name, text: readFileSync(join(folder, name), 'utf8') }
}

/** What the comments at the top of a trap say is to be found in it. */
function expected(text: string): string[] {
  return [...text.matchAll(/^# expect: (\S+ at line \d+)$/gm)].map(([, spot = '']) => spot)
}

function found(files: Parameters<typeof lint>[0]): string[] {
  const { findings, problems } = lint(files)
  expect(problems).toEqual([])
  return findings.map(({ rule, line }) => `${rule} at line ${line}`)
}

describe('each trap is found, where it stands, and nothing else', () => {
  test.each(filesIn('traps/*.yaml'))('%s', (name) => {
    const file = read(name)

    expect(expected(file.text).length).toBeGreaterThan(0)
    expect(found([file])).toEqual(expected(file.text))
  })

  test('every rule has a trap of its name', () => {
    const trapped = new Set(filesIn('traps/*.yaml').map((name) => basename(name).split('.')[0]))

    expect(listedRules.map(({ id }) => id).filter((id) => !trapped.has(id))).toEqual([])
  })
})

describe('nothing is found in', () => {
  test.each(filesIn('sound/*.yaml'))('%s', (name) => {
    expect(found([read(name)])).toEqual([])
  })

  test.each(filesIn('envoy/*.yaml', root))('our own %s', (name) => {
    expect(found([read(name, root)])).toEqual([])
  })

  test.each(['istio', 'kubernetes'])('our own files of %s/', (folder) => {
    expect(found(filesIn(`${folder}/**/*.yaml`, root).map((name) => read(name, root)))).toEqual([])
  })
})

describe('between files', () => {
  const mesh = { name: 'values.yaml', text: 'meshConfig:\n  extensionProviders: [{ name: other }]\n' }
  const policy = {
    name: 'policy.yaml',
    text: [
      'apiVersion: security.istio.io/v1',
      'kind: AuthorizationPolicy',
      'spec: { action: CUSTOM, provider: { name: gatepost } }',
    ].join('\n'),
  }

  test('a provider is looked for in the mesh configuration of another file', () => {
    expect(found([mesh, policy])).toEqual(['unknown-provider at line 3'])
  })

  test('without a mesh configuration nobody can tell whether a provider is there', () => {
    expect(found([policy])).toEqual([])
  })

  test('findings come in the order of files and lines, each with why and mend', () => {
    const { findings } = lint([policy, mesh])

    expect(findings).toEqual([
      {
        rule: 'unknown-provider',
        file: 'policy.yaml',
        line: 3,
        column: 37,
        message: 'the mesh configuration has no provider "gatepost"',
        why: expect.stringMatching(/\.$/),
        mend: expect.stringMatching(/\.$/),
      },
    ])
  })
})

describe('the same trap is found', () => {
  const rule = 'spec: { trafficPolicy: { outlierDetection: { consecutiveErrors: 5 } } }'

  test.each([
    [
      'in JSON',
      '{"apiVersion":"networking.istio.io/v1","kind":"DestinationRule",\n"spec":{"trafficPolicy":{"outlierDetection":{"consecutiveErrors":5}}}}',
      2,
    ],
    [
      'in a List',
      `apiVersion: v1\nkind: List\nitems:\n  - apiVersion: networking.istio.io/v1\n    kind: DestinationRule\n    ${rule}`,
      6,
    ],
    ['with Windows line ends', `apiVersion: networking.istio.io/v1\r\nkind: DestinationRule\r\n${rule}`, 3],
    [
      'behind a document that cannot be read',
      `a: [\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n${rule}`,
      5,
    ],
    [
      'behind an alias, once',
      `x: &outlier\n  consecutiveErrors: 5\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nspec: { trafficPolicy: { outlierDetection: *outlier, portLevelSettings: [{ outlierDetection: *outlier }] } }`,
      2,
    ],
    [
      'behind a merge key',
      `x: &outlier { consecutiveErrors: 5 }\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nspec:\n  trafficPolicy:\n    outlierDetection:\n      <<: *outlier`,
      6,
    ],
  ])('%s', (_how, text, line) => {
    expect(lint([{ name: 'a', text }]).findings.map((one) => `${one.rule} at line ${one.line}`)).toEqual([
      `consecutive-errors at line ${line}`,
    ])
  })
})

describe('rules', () => {
  test('have ids of their own, in kebab-case, and whole sentences', () => {
    const ids = listedRules.map(({ id }) => id)

    expect(new Set(ids).size).toBe(ids.length)
    for (const { id, title, why, mend } of listedRules) {
      expect(id).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/)
      expect(title).not.toMatch(/\.$/)
      expect(why).toMatch(/^\P{Ll}.*\.$/su)
      expect(mend).toMatch(/^\P{Ll}.*\.$/su)
    }
  })

  test('never show a secret', () => {
    const names = filesIn('traps/secret-in-manifest*.yaml')

    expect(names.length).toBeGreaterThan(1)
    expect(JSON.stringify(lint(names.map((name) => read(name))))).not.toContain('hunter2')
  })
})
