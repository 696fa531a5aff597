import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Runs the command with a configuration that no other command would start with. */
function lint(args: readonly string[], input = '') {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['src/main.ts', 'lint', ...args], {
    cwd: root,
    encoding: 'utf8',
    input,
    env: { GATEPOST_AUTH: 'nonsense' },
  })
  return { status, stdout, stderr }
}

test('a folder of traps: findings with file, line and column, exit code 1, and no configuration is read', () => {
  const { status, stdout, stderr } = lint(['test/lint/traps', 'test/lint/none.yaml'])

  expect(status).toBe(1)
  expect(stdout).toMatch(
    /^test\/lint\/traps\/consecutive-errors\.yaml\n {2}\d+:\d+ +consecutive-errors: consecutiveErrors is ignored$/m,
  )
  expect(stderr).toBe('test/lint/none.yaml cannot be read: there is no such file\n')
})

test('standard input: a sound file is 0, a trap is 1, as JSON', () => {
  const sound = readFileSync(`${root}/test/lint/sound/sidecar.yaml`, 'utf8')

  expect(lint(['-'], sound)).toEqual({ status: 0, stdout: '1 file: nothing found\n', stderr: '' })
  const trap = lint(['--json', '-'], sound.replace('enableServiceLinks: false', 'enableServiceLinks: true'))
  expect({ ...trap, stdout: JSON.parse(trap.stdout) }).toEqual({
    status: 1,
    stdout: {
      files: 1,
      findings: [
        {
          ...{ rule: 'service-links', file: '-', line: 9, column: 7 },
          ...{ message: expect.any(String), why: expect.any(String), mend: expect.any(String) },
        },
      ],
      problems: [],
    },
    stderr: '',
  })
})

test('an option that there is not is misuse: 64', () => {
  expect(lint(['--fix', 'a.yaml'])).toMatchObject({ status: 64, stdout: '' })
})
