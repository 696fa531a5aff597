import { parseArgs } from 'node:util'

/** The commands of `gatepost`. */
export const commands = ['serve', 'check'] as const

/** One of {@link commands}. */
export type CommandName = (typeof commands)[number]

/** What the command line asks for. */
export type Invocation =
  | { kind: 'run'; command: CommandName }
  | { kind: 'help'; command: CommandName | undefined }
  | { kind: 'version' }
  | { kind: 'misuse'; problem: string }

/** Reads the command line; without a command it is `serve`. */
export function parseArguments(argv: readonly string[]): Invocation {
  try {
    const options = {
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean', short: 'v' },
    } as const
    const { values, positionals } = parseArgs({ args: [...argv], options, allowPositionals: true })
    if (values.version) return { kind: 'version' }
    return invocation(positionals, values.help ?? false)
  } catch (error) {
    return { kind: 'misuse', problem: (error as Error).message }
  }
}

function invocation(positionals: readonly string[], help: boolean): Invocation {
  const [first, second] = positionals
  const name = first === 'help' ? second : first
  const command = commands.find((known) => known === name)
  if (name !== undefined && !command)
    return { kind: 'misuse', problem: `There is no command ${JSON.stringify(name)}` }
  if (help || first === 'help') return { kind: 'help', command }
  if (positionals.length > 1) return { kind: 'misuse', problem: `${name} takes no ${JSON.stringify(second)}` }
  return { kind: 'run', command: command ?? 'serve' }
}
