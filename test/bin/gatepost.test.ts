import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from '@jest/globals'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'gatepost-bin-'))
const bin = join(folder, 'bin/gatepost.js')

beforeAll(() => {
  cpSync(join(root, 'bin'), join(folder, 'bin'), { recursive: true })
  cpSync(join(root, 'package.json'), join(folder, 'package.json'))
  mkdirSync(join(folder, 'dist'))
  writeFileSync(join(folder, 'dist/main.js'), 'process.stdout.write(process.argv.slice(2).join())')
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function run(version: string, ...args: string[]) {
  const pretend = `Object.defineProperty(process, 'versions', { value: { node: '${version}' } })`
  const preload = `data:text/javascript,${encodeURIComponent(pretend)}`
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', preload, bin, ...args], {
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

test.each(['12.22.12', '20.20.2', '23.11.0'])(
  'on Node.js %s says in one line what to do, exit 78',
  (version) => {
    expect(run(version, 'serve')).toEqual({
      status: 78,
      stdout: '',
      stderr:
        `gatepost needs Node.js 24 or newer, this is v${version}: install it, ` +
        'or run `npm install node@24` beside gatepost and then `npx gatepost`\n',
    })
  },
)

test.each(['24.0.0', '26.1.0'])('on Node.js %s runs dist/main.js with its arguments', (version) => {
  expect(run(version, 'explain', 'GET')).toEqual({ status: 0, stdout: 'explain,GET', stderr: '' })
})

test('asks for the Node.js that package.json names in `engines`', () => {
  const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

  expect(engines.node).toBe(`>=${/const needed = (\d+)/.exec(readFileSync(bin, 'utf8'))?.[1]}`)
})
