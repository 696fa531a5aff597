import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'

const root = fileURLToPath(new URL('../..', import.meta.url))

test('the npm package has what `files` names and what every package has, and nothing of the workshop', () => {
  const { stdout } = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
  })
  const [{ files }] = Object.values(JSON.parse(stdout) as { files: { path: string }[] }[]) as [
    { files: { path: string }[] },
  ]

  const tops = new Set(files.map(({ path }) => path.split('/', 1)[0] ?? ''))
  // Built by `prepack`, which is left out here.
  tops.delete('dist')
  expect([...tops].sort()).toEqual([
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'bin',
    'docs',
    'envoy',
    'istio',
    'kubernetes',
    'package.json',
    'proto',
  ])
})
