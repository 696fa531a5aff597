import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { fill } from '../scripts/readme.ts'
import { variables } from '../src/config/variables.ts'
import { denials } from '../src/core/denials.ts'
import { eventTypes } from '../src/events/catalogue.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const readme = read('README.md')

function read(file: string): string {
  return readFileSync(join(root, file), 'utf8')
}

const empty = ['variables', 'denials', 'events', 'metrics']
  .map((name) => `<!-- generated: ${name} -->\n<!-- end -->\n`)
  .join('\n')

test('the tables in the README are what the code says now (mend: npm run generate)', () => {
  expect(fill(readme)).toBe(readme)
})

test('the tables have every variable, denial and event, and the metrics with their labels', () => {
  const filled = fill(empty)

  for (const name of [...Object.keys(variables), ...Object.keys(denials), ...eventTypes])
    expect(filled).toContain(`\`${name}\``)
  expect(filled).toContain(
    '| `gateway_decisions_total` | counter | `door`, `decision`, `reason` | Verdicts, by door, decision',
  )
  expect(filled).toContain('`reason` `path` `client_ip?`')
  expect(filled).toContain('| `gateway_overhead_seconds` | histogram | `door` | Time from message to reply')
  expect(filled).not.toContain('nodejs_')
})

test('filling changes nothing beside the tables, and nothing the second time', () => {
  const filled = fill(`before\n${empty}after\n`)

  expect(filled.startsWith('before\n<!-- generated: variables -->\n| variable |')).toBe(true)
  expect(filled.endsWith('<!-- end -->\nafter\n')).toBe(true)
  expect(fill(filled)).toBe(filled)
})

test('a changed table is noticed', () => {
  const filled = fill(empty)

  expect(fill(filled.replace('`127.0.0.1:9001`', '`0.0.0.0:9001`'))).toBe(filled)
})

test.each([
  ['a section that nothing fills', `${empty}<!-- generated: colours -->\n<!-- end -->`, '"colours"'],
  ['no section for a table', empty.replace('denials', 'metrics'), 'denials'],
])('%s is an error', (_what, text, named) => {
  expect(() => fill(text)).toThrow(named)
})

test.each(['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md'])(
  'every file that %s links to is there',
  (file) => {
    const links = [...read(file).matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)].map(
      ([, link]) => link ?? '',
    )

    const dead = links.filter((link) => !existsSync(join(root, dirname(file), link)))
    expect(dead).toEqual([])
  },
)

test('every npm script that the README names is there', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }

  const named = [...readme.matchAll(/npm run ([\w:]+)/g)].map(([, script]) => script ?? '')

  expect(named.length).toBeGreaterThan(0)
  expect(named.filter((script) => !(script in scripts))).toEqual([])
})
