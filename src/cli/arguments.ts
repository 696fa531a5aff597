import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'

/** The commands of `gatepost`, each with the actions it has (none for most) and its own options. */
const grammar = {
  serve: { actions: [], options: {} },
  check: { actions: [], options: {} },
  keys: {
    actions: ['new'],
    options: {
      'client-id': { type: 'string' },
      scopes: { type: 'string' },
      'expires-at': { type: 'string' },
      json: { type: 'boolean' },
    },
  },
} as const satisfies Record<string, { actions: readonly string[]; options: ParseArgsOptionsConfig }>

/** The name of a command. */
export type CommandName = keyof typeof grammar

/** The names of all commands; the first is what `gatepost` does without any. */
export const commands = Object.keys(grammar) as CommandName[]

/** What a user gave with a command: options by name, texts or `true`. */
export type Options = Readonly<Record<string, string | boolean>>

/** What the command line asks for. */
export type Invocation =
  | { kind: 'run'; command: CommandName; options: Options }
  | { kind: 'help'; command: CommandName | undefined }
  | { kind: 'version' }
  | { kind: 'misuse'; problem: string }

const commonOptions = {
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const

/** Reads the command line; without a command it is `serve`. */
export function parseArguments(argv: readonly string[]): Invocation {
  const named = commands.find((command) => argv.includes(command)) ?? 'serve'
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      options: { ...commonOptions, ...grammar[named].options },
      allowPositionals: true,
    })
    const { help = false, version = false, ...options } = values as Record<string, string | boolean>
    if (version) return { kind: 'version' }
    return invocation(positionals, help === true, options)
  } catch (error) {
    return misuse((error as Error).message)
  }
}

function invocation(positionals: readonly string[], help: boolean, options: Options): Invocation {
  const [first, second] = positionals
  const asksHelp = help || first === 'help'
  const name = first === 'help' ? second : first
  const command = commands.find((known) => known === name)
  if (name !== undefined && !command) return misuse(`There is no command ${JSON.stringify(name)}`)
  if (asksHelp) return { kind: 'help', command }
  return run(command ?? 'serve', positionals.slice(1), options)
}

function run(command: CommandName, rest: readonly string[], options: Options): Invocation {
  const actions: readonly string[] = grammar[command].actions
  const [action, surplus] = actions.length > 0 ? rest : ['', rest[0]]
  if (surplus !== undefined) return misuse(`${command} takes no ${JSON.stringify(surplus)}`)
  if (actions.length > 0 && !actions.includes(action ?? '')) {
    return misuse(`${command} wants one of: ${actions.join(', ')}`)
  }
  return { kind: 'run', command, options }
}

function misuse(problem: string): Invocation {
  return { kind: 'misuse', problem }
}
