import { parseArgs } from 'node:util'
import { checkTour } from './check.ts'
import { type Attachment, attachments, type StackOptions, startStack } from './stack.ts'
import { watch } from './watch.ts'

const help = `Gatepost's demo: a real Envoy asks Gatepost about every request, and you see each verdict and
each event. The tour has these sections:

  Tokens             of Auth0, Okta and OpenID Connect, good and bad; opaque, revoked; userinfo
  Other credentials  API keys and client certificates, alone and beside a token
  Limits             too many requests, several limits at once, a plan from a claim
  Policy             forgeries, methods, preflights, a reload, and an explanation
  Around the decision, with --config full: what else stands in that Envoy configuration
  Faults             what becomes of a request while Gatepost is down

Usage: npm run demo -- [options]

  --check          walk the tour without you, print each request with its expected and seen
                   verdict and its events, and exit 0 if all are as expected, else 1
  --port P         Envoy's port (default 8080; 0: any free one); every other port is then chosen free
  --config NAME    how Gatepost is attached to Envoy: ${attachments.join(', ')} (default ext-authz)
  --help           this text

Everything runs on 127.0.0.1: an OpenID provider with the paths of Auth0, one with those of Okta, two of
plain OpenID Connect, two sample upstreams, Gatepost from its sources, and Envoy (downloaded on first
use into the user's cache folder; TEST_ENVOY_BIN names one you have). Without --port the demo uses the
ports of the files in envoy/: 8080 and 9901 (Envoy), 9001 and 9002 (Gatepost), 8081 and 8082
(the upstreams). Ctrl-C ends all it started.
`

const exitCodes = { ok: 0, failed: 1, usage: 64 }

interface Arguments {
  check: boolean
  help: boolean
  stack: StackOptions
}

class UsageError extends Error {}

function parseArguments(args: string[]): Arguments {
  const { values } = parse(args)
  return {
    check: values.check,
    help: values.help,
    stack: { attachment: parseConfig(values.config), port: parsePort(values.port) },
  }
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        check: { type: 'boolean', default: false },
        port: { type: 'string' },
        config: { type: 'string', default: 'ext-authz' },
        help: { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function parseConfig(name: string): Attachment {
  const attachment = attachments.find((known) => known === name)
  if (attachment) return attachment
  throw new UsageError(`There is no configuration "${name}": choose one of ${attachments.join(', ')}`)
}

function parsePort(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text)
  throw new UsageError(`--port takes a number from 0 to 65535, not "${text}"`)
}

async function demo({ check, stack: options }: Arguments): Promise<number> {
  await using stack = await startStack(options)
  if (check) return (await checkTour(stack)) ? exitCodes.ok : exitCodes.failed
  await watch(stack)
  return exitCodes.ok
}

async function main(args: string[]): Promise<number> {
  try {
    const parsed = parseArguments(args)
    if (!parsed.help) return await demo(parsed)
    process.stdout.write(help)
    return exitCodes.ok
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    return error instanceof UsageError ? exitCodes.usage : exitCodes.failed
  }
}

process.exitCode = await main(process.argv.slice(2))
