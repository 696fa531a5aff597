import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, expect, test } from '@jest/globals'
import { readServices } from '../../scripts/compose/compose-file.ts'
import { goTool } from '../support/go-tool.ts'
import { run } from '../support/process.ts'

const buildLimitMs = 2_400_000
const root = fileURLToPath(new URL('../..', import.meta.url))

/** What Compose makes of a service, as far as the walk reads it too. */
interface Told {
  command: string[] | null
  environment?: Record<string, string>
  depends_on?: Record<string, { condition: string }>
  healthcheck?: { test?: string[]; disable?: boolean }
}

let compose: string
beforeAll(async () => {
  compose = join(await goTool({ name: 'compose', module: 'github.com/docker/compose/v2' }), 'cmd')
}, buildLimitMs)

const some = ['kafka', 'rabbitmq', 'observability']

test.each([[[]], ...some.map((profile) => [[profile]]), [some]] as string[][][])(
  'Compose itself reads docker-compose.yml as the walk does, under the profiles %j',
  async (profiles) => {
    const variables = { KAFKA_BROKERS: 'kafka:9092' }
    const told = await run({
      name: 'docker compose config',
      command: compose,
      args: [...profiles.flatMap((profile) => ['--profile', profile]), 'config', '--format', 'json'],
      cwd: root,
      env: { PATH: process.env['PATH'], ...variables },
    })
    const { services } = JSON.parse(told) as { services: Record<string, Told> }

    const read = readServices(readFileSync(join(root, 'docker-compose.yml'), 'utf8'), profiles, variables)

    const walked = read.map(({ name, command = null, environment, dependsOn, healthcheck }) => [
      name,
      { command, environment, dependsOn, healthcheck: healthcheck && ['CMD', ...healthcheck] },
    ])
    const expected = Object.entries(services).map(([name, service]) => [
      name,
      {
        command: service.command,
        environment: service.environment ?? {},
        dependsOn: conditionsOf(service, Object.keys(services)),
        healthcheck: service.healthcheck?.test,
      },
    ])
    expect(Object.fromEntries(walked)).toEqual(Object.fromEntries(expected))
  },
)

/** Compose lists those that no profile starts as well, and skips them later. */
function conditionsOf({ depends_on: all = {} }: Told, there: readonly string[]): Record<string, string> {
  const started = Object.entries(all).filter(([name]) => there.includes(name))
  return Object.fromEntries(started.map(([name, { condition }]) => [name, condition]))
}
