import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startArrangement } from './compose/arrangement.ts'
import { stops } from './compose/tour.ts'

/**
 * Runs what docker-compose.yml describes without containers, each service's command line as a plain process, and walks
 * it. `--profile NAME`, as often as needed, says which profiles; default: all.
 */
const root = fileURLToPath(new URL('..', import.meta.url))

/** What a user sets beside a profile, as the README says. */
const environmentOf: Readonly<Record<string, Record<string, string>>> = {
  kafka: { KAFKA_BROKERS: 'kafka:9092' },
  rabbitmq: { AMQP_URL_FILE: '/run/rabbitmq/amqp-url' },
  observability: {},
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { profile: { type: 'string', multiple: true } } })
  const profiles = values.profile ?? Object.keys(environmentOf)
  await using arrangement = await startArrangement({
    root,
    profiles,
    env: Object.assign({}, ...profiles.map((profile) => environmentOf[profile])),
    progress: (message) => print(`… ${message}`),
  })
  for (const service of arrangement.left)
    print(`– ${service} has no package to run here: only its files were looked at`)
  let failed = 0
  const own = stops.filter(({ profile }) => profile === undefined || profiles.includes(profile))
  for (const { title, look } of own) {
    const problem = await look(arrangement, root).then(
      () => undefined,
      (error: Error) => error.message,
    )
    print(problem === undefined ? `✓ ${title}` : `✗ ${title}\n  ${problem}`)
    if (problem !== undefined) failed += 1
  }
  print(`${own.length - failed} as expected, ${failed} not`)
  return failed === 0 ? 0 : 1
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

process.exitCode = await main()
