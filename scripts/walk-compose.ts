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

const exitCodes = { ok: 0, failed: 1, usage: 64 }

async function main(): Promise<number> {
  try {
    const { values } = parseArgs({ options: { profile: { type: 'string', multiple: true } } })
    const profiles = values.profile ?? Object.keys(environmentOf)
    const unknown = profiles.find((profile) => !(profile in environmentOf))
    if (unknown === undefined) return await walk(profiles)
    return complain(`There is no profile "${unknown}": choose of ${Object.keys(environmentOf).join(', ')}`)
  } catch (error) {
    const { code, message } = error as Error & { code?: string }
    return complain(message, code?.startsWith('ERR_PARSE_ARGS') ? exitCodes.usage : exitCodes.failed)
  }
}

async function walk(profiles: readonly string[]): Promise<number> {
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
  return failed === 0 ? exitCodes.ok : exitCodes.failed
}

function complain(problem: string, exitCode = exitCodes.usage): number {
  process.stderr.write(`${problem}\n`)
  return exitCode
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

process.exitCode = await main()
