import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { Ajv } from 'ajv'
import addFormats from 'ajv-formats'
import { parse } from 'yaml'
import { aptCommand } from '../support/apt.ts'
import { cached } from '../support/cache.ts'
import { run } from '../support/process.ts'
import { tempFolder } from '../support/temp.ts'

/** The first run fetches brokers and builds tools. */
const installAndWalkMs = 600_000

const root = fileURLToPath(new URL('../..', import.meta.url))
const silent = () => {}

/** Runs Go in an empty folder, for what needs no module of ours. */
async function go(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  await using folder = await tempFolder('go')
  try {
    return await run({
      name: `go ${args.join(' ')}`,
      command: 'go',
      args,
      cwd: folder.path,
      env: { ...process.env, ...env },
      limitMs: installAndWalkMs,
    })
  } catch (cause) {
    throw new Error(`Cannot fetch by Go: install Go 1.24 or newer.\n${(cause as Error).message}`, { cause })
  }
}

test(
  'docker-compose.yml fits the schema of the compose specification',
  async () => {
    const told = await go(['mod', 'download', '-json', 'github.com/compose-spec/compose-go/v2@v2.9.1'])
    const { Dir: folder } = JSON.parse(told) as { Dir: string }
    const schema = JSON.parse(readFileSync(join(folder, 'schema/compose-spec.json'), 'utf8'))
    // It names draft 07 by another address than draft 07 names itself.
    schema.$schema = 'http://json-schema.org/draft-07/schema#'
    const ajv = new Ajv({ strict: false, allErrors: true })
    addFormats.default(ajv)
    for (const format of ['ports', 'expose', 'subnet_ip_address']) ajv.addFormat(format, true)
    const validate = ajv.compile(schema)

    validate(parse(readFileSync(join(root, 'docker-compose.yml'), 'utf8'), { merge: true }))

    expect(validate.errors).toBeNull()
  },
  installAndWalkMs,
)

test(
  'what docker-compose.yml describes works as plain processes, under every profile',
  async () => {
    const output = await run({
      name: 'npm run test:compose',
      command: process.execPath,
      args: [join(root, 'scripts/walk-compose.ts')],
      limitMs: installAndWalkMs,
    })

    expect(output).toMatch(/^\d\d as expected, 0 not$/m)
    expect(output).toContain('✓ a caller who asks too often is limited')
  },
  installAndWalkMs,
)

test(
  "Prometheus takes its configuration, and the alerts fire when their tests say so, by Prometheus's own tool",
  async () => {
    const promtool = await aptCommand('promtool', 'prometheus', silent)
    const cwd = join(root, 'deploy/observability/prometheus')
    const tell = (...args: string[]) =>
      run({ name: `promtool ${args.join(' ')}`, command: promtool, args, cwd })

    expect(await tell('check', 'config', 'prometheus.yml')).toContain('prometheus.yml is valid')
    expect(await tell('test', 'rules', 'alerts.test.yml')).toContain('SUCCESS')
  },
  installAndWalkMs,
)

test(
  'actionlint has no objection to the workflows',
  async () => {
    const version = 'v1.7.12'
    const folder = await cached('actionlint', version, async (into) => {
      await go(['install', `github.com/rhysd/actionlint/cmd/actionlint@${version}`], { GOBIN: into })
    })
    const files = ['ci', 'release'].map((name) => join(root, `.github/workflows/${name}.yml`))

    // It looks for shellcheck and pyflakes on PATH, whose versions differ from machine to machine.
    const args = ['-shellcheck=', '-pyflakes=', ...files]
    expect(await run({ name: 'actionlint', command: join(folder, 'actionlint'), args })).toBe('')
  },
  installAndWalkMs,
)
