import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'

/** The commands of `gatepost`, each with its actions or operands (none for most; a `[NAME]` may be left out, `[NAME…]` repeated) and options. */
const grammar = {
  serve: { actions: [], operands: [], options: {} },
  check: { actions: [], operands: [], options: { ready: { type: 'boolean' } } },
  explain: {
    actions: [],
    operands: ['METHOD', 'PATH'],
    options: {
      header: { type: 'string', short: 'H', multiple: true },
      host: { type: 'string' },
      'client-address': { type: 'string' },
      principal: { type: 'string' },
      setting: { type: 'string', multiple: true },
      ask: { type: 'boolean' },
      values: { type: 'boolean' },
      json: { type: 'boolean' },
    },
  },
  keys: {
    actions: ['new'],
    operands: [],
    options: {
      'client-id': { type: 'string' },
      scopes: { type: 'string' },
      'expires-at': { type: 'string' },
      json: { type: 'boolean' },
    },
  },
  events: {
    actions: [],
    operands: ['[TYPE]'],
    options: { asyncapi: { type: 'boolean' }, json: { type: 'boolean' } },
  },
  lint: {
    actions: [],
    operands: ['[FILES…]'],
    options: { rules: { type: 'boolean' }, json: { type: 'boolean' } },
  },
} as const satisfies Record<
  string,
  { actions: readonly string[]; operands: readonly string[]; options: ParseArgsOptionsConfig }
>

/** The name of a command. */
export type CommandName = keyof typeof grammar

/** The names of all commands; the first is what `gatepost` does without any. */
export const commands = Object.keys(grammar) as CommandName[]

/** What a user gave with a command: options by name, as texts, lists of them, or `true`. */
export type Options = Readonly<Record<string, string | boolean | readonly string[]>>

/** What the command line asks for. */
export type Invocation =
  | { kind: 'run'; command: CommandName; operands: readonly string[]; options: Options }
  | { kind: 'help'; command: CommandName | undefined }
  | { kind: 'version' }
  | { kind: 'misuse'; problem: string }

const commonOptions = {
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const

/** Reads the command line; without a command it is `serve`. */
export function parseArguments(argv: readonly string[]): Invocation {
  const named =
    argv.map((argument) => commands.find((command) => command === argument)).find(Boolean) ?? 'serve'
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      options: { ...commonOptions, ...grammar[named].options },
      allowPositionals: true,
    })
    const {
      help = false,
      version = false,
      ...options
    } = values as Record<string, string | boolean | string[]>
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
  const { actions, operands }: { actions: readonly string[]; operands: readonly string[] } = grammar[command]
  const [action = ''] = rest
  if (actions.length > 0 && !actions.includes(action))
    return misuse(`${command} wants one of: ${actions.join(', ')}`)
  const given = actions.length > 0 ? rest.slice(1) : rest
  const needed = operands.filter((operand) => !operand.startsWith('['))
  if (given.length < needed.length) return misuse(`${command} wants ${operands.join(' ')}`)
  const surplus = operands.at(-1)?.endsWith('…]') ? undefined : given[operands.length]
  if (surplus !== undefined) return misuse(`${command} takes no ${JSON.stringify(surplus)}`)
  return { kind: 'run', command, operands: given, options }
}

function misuse(problem: string): Invocation {
  return { kind: 'misuse', problem }
}
