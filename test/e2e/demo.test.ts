import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { attachments } from '../../demo/stack.ts'
import { isFree } from '../support/ports.ts'
import { RunningProcess, run } from '../support/process.ts'

const INSTALL_AND_WALK_MS = 300_000
const root = fileURLToPath(new URL('../../', import.meta.url))
const main = fileURLToPath(new URL('../../demo/main.ts', import.meta.url))

function demo(...args: string[]): Promise<string> {
  return run({
    name: 'the demo',
    command: process.execPath,
    args: [main, ...args],
    limitMs: INSTALL_AND_WALK_MS,
  })
}

/** What must be seen on the way, beside that all is as expected. */
const sights = [
  'auth.failed missing_token · request.completed 401 deny users',
  'the upstream got x-gatepost-email: ada@example.com',
  'it is revoked at its issuer',
  'the upstream got x-client-id: spiffe://demo/billing',
  'rate_limit.exceeded pace 2/6s · request.completed 429 deny pace demo-app@clients',
  'ratelimit-policy: "pace";q=2;w=6',
  'wait as long as Retry-After says: 3 s',
  'allow: GET, POST',
  'file not reloaded',
  'routes.6.auth: must be one of required, optional, none',
  'routes.6: there is no setting "rate_limit"',
  'an override opens it, by the admin API: 200, 1s',
  'x-gatepost-shadow: auth=missing_token, rate_limit=rate_limited',
  'refused: 403 insufficient_scope',
]

test.each(attachments)(
  'every request of the demo goes as expected through a real Envoy, and each is told of, with %s',
  async (attachment) => {
    const output = await demo('--check', '--config', attachment, '--port', '0')

    expect(output).toContain(' as expected, 0 not')
    expect(sights.filter((sight) => !output.includes(sight))).toEqual([])
  },
  INSTALL_AND_WALK_MS,
)

test(
  'for a person the demo explains a refusal by a command to paste, and Ctrl-C leaves nothing behind',
  async () => {
    await using running = new RunningProcess({
      name: 'the demo',
      command: process.execPath,
      args: [main, '--port', '0'],
    })
    await running.line((line) => line.includes('Ctrl-C ends everything'), INSTALL_AND_WALK_MS)
    const shown = running.lines.join('\n')
    const find = (pattern: RegExp) => pattern.exec(shown)?.[1] ?? ''
    const envoyPort = Number(find(/Envoy serves on http:\/\/127\.0\.0\.1:(\d+)/))
    const gatepostPid = Number(find(/kill -HUP (\d+)/))
    const folder = find(/everything is in ([^)]+)\)/)

    const line = find(/^ +(npx node .* explain .*)$/m)
    const explanation = await run({ name: line, command: 'sh', args: ['-c', line], cwd: root })
    const before = {
      envoy: !(await isFree(envoyPort)),
      gatepost: lives(gatepostPid),
      files: existsSync(folder),
    }
    running.signal('SIGINT')
    const end = await running.ended

    expect(explanation).toContain('says the gatepost that runs on 127.0.0.1:')
    expect(explanation).toContain('refused: 403 insufficient_scope')
    expect(before).toEqual({ envoy: true, gatepost: true, files: true })
    expect(end).toBe('exit code 0')
    expect(await isFree(envoyPort)).toBe(true)
    expect(lives(gatepostPid)).toBe(false)
    expect(existsSync(folder)).toBe(false)
  },
  INSTALL_AND_WALK_MS,
)

test('the demo names the configurations there are when asked for another', async () => {
  await expect(demo('--config', 'no-such')).rejects.toThrow(
    /exit code 64.*\n.*choose one of ext-authz, ext-proc, full/,
  )
})

test('the help of the demo names the sections of its tour', async () => {
  const help = await demo('--help')

  for (const title of ['Tokens', 'Other credentials', 'Limits', 'Policy', 'Around the decision', 'Faults']) {
    expect(help).toContain(`\n  ${title}`)
  }
})

function lives(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
