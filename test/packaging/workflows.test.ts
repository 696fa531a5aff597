import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { parse } from 'yaml'

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (file: string) => readFileSync(join(root, file), 'utf8')

interface Step {
  uses?: string
  run?: string
}

interface Workflow {
  permissions: Record<string, string>
  jobs: Record<
    string,
    { needs?: string; permissions?: Record<string, string>; steps: Step[]; 'timeout-minutes'?: number }
  >
}

const workflows = globSync('.github/workflows/*.yml', { cwd: root }).map(
  (file) => [file, parse(read(file)) as Workflow] as const,
)

function stepsOf(file: string): Step[] {
  const [, workflow] = workflows.find(([name]) => name.endsWith(file)) ?? []
  return Object.values(workflow?.jobs ?? {}).flatMap(({ steps }) => steps)
}

test.each(['ci.yml', 'release.yml'])("%s runs the README's test command", (file) => {
  const [, command] = /^(npm ci && npm test)\b/m.exec(read('README.md')) ?? []

  expect(command).toBeDefined()
  expect(stepsOf(file).map(({ run }) => run)).toContain(command)
})

test.each(workflows)(
  '%s may only read unless a job says otherwise, and names its actions by version',
  (_file, workflow) => {
    const actions = Object.values(workflow.jobs)
      .flatMap(({ steps }) => steps)
      .flatMap(({ uses }) => uses ?? [])

    expect(workflow.permissions).toEqual({ contents: 'read' })
    expect(actions.length).toBeGreaterThan(0)
    expect(actions.filter((action) => !/^(actions|docker)\/[\w-]+@v\d+$/.test(action))).toEqual([])
  },
)

test('nothing is published before the tests have passed', () => {
  const [, release] = workflows.find(([file]) => file.endsWith('release.yml')) ?? []
  const publishing = Object.entries(release?.jobs ?? {}).filter(([, { permissions }]) => permissions)

  expect(publishing.map(([name]) => name).sort()).toEqual(['image', 'npm'])
  for (const [, { needs }] of publishing) expect(needs).toBe('test')
})

test('every npm script that a workflow runs is there', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  const commands = workflows.flatMap(([file]) => stepsOf(file)).map(({ run = '' }) => run)
  const named = commands.flatMap((run) =>
    [...run.matchAll(/npm run ([\w:]+)/g)].map(([, script]) => script ?? ''),
  )

  expect(named.length).toBeGreaterThan(0)
  expect(named.filter((script) => !(script in scripts))).toEqual([])
})

test('updates are looked for in packages, images and actions', () => {
  const { updates } = parse(read('.github/dependabot.yml')) as { updates: { 'package-ecosystem': string }[] }

  expect(updates.map((update) => update['package-ecosystem']).sort()).toEqual([
    'docker',
    'docker-compose',
    'github-actions',
    'npm',
  ])
})
