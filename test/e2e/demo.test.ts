import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { attachments } from '../../demo/stack.ts'
import { run } from '../support/process.ts'

const INSTALL_AND_WALK_MS = 300_000
const main = fileURLToPath(new URL('../../demo/main.ts', import.meta.url))

function demo(...args: string[]): Promise<string> {
  return run({
    name: 'the demo',
    command: process.execPath,
    args: [main, ...args],
    limitMs: INSTALL_AND_WALK_MS,
  })
}

test.each(attachments)(
  'every request of the demo goes as expected through a real Envoy, and each is told of, with %s',
  async (attachment) => {
    const output = await demo('--check', '--config', attachment, '--port', '0')

    expect(output).toContain(' as expected, 0 not')
    expect(output).toContain('auth.failed missing_token · request.completed 401 deny users')
  },
  INSTALL_AND_WALK_MS,
)

test('the demo names the configurations there are when asked for another', async () => {
  await expect(demo('--config', 'no-such')).rejects.toThrow(
    /exit code 64.*\n.*choose one of ext-authz, ext-proc, full/,
  )
})
