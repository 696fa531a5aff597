import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'

/** What may follow a command, or an action of one: operands (a `[NAME]` may be left out, `[NAME…]` repeated) and options. */
interface Usage {
  operands: readonly string[]
  options: ParseArgsOptionsConfig
}

/** A command, or several in one: then an action follows its name, or `list` is meant where there is one. */
type Grammar = Usage | { actions: Readonly<Record<string, Usage>> }

const json = { json: { type: 'boolean' } } as const

const which = {
  webhook: { type: 'string' },
  status: { type: 'string' },
  event: { type: 'string' },
  since: { type: 'string' },
  until: { type: 'string' },
} as const

const ofOneWebhook = { operands: ['ID'], options: json }

const grammar = {
  serve: { operands: [], options: {} },
  check: { operands: [], options: { ready: { type: 'boolean' } } },
  explain: {
    operands: ['METHOD', 'PATH'],
    options: {
      header: { type: 'string', short: 'H', multiple: true },
      host: { type: 'string' },
      'client-address': { type: 'string' },
      principal: { type: 'string' },
      setting: { type: 'string', multiple: true },
      ask: { type: 'boolean' },
      values: { type: 'boolean' },
      ...json,
    },
  },
  keys: {
    actions: {
      new: {
        operands: [],
        options: {
          'client-id': { type: 'string' },
          scopes: { type: 'string' },
          'expires-at': { type: 'string' },
          ...json,
        },
      },
    },
  },
  webhooks: {
    actions: {
      list: { operands: [], options: json },
      add: {
        operands: [],
        options: {
          url: { type: 'string' },
          events: { type: 'string' },
          id: { type: 'string' },
          'secret-file': { type: 'string' },
          header: { type: 'string', short: 'H', multiple: true },
          'max-retries': { type: 'string' },
          'backoff-seconds': { type: 'string' },
          'rate-limit': { type: 'string' },
          routes: { type: 'string' },
          services: { type: 'string' },
          ordered: { type: 'boolean' },
          concurrency: { type: 'string' },
          'timeout-seconds': { type: 'string' },
          inactive: { type: 'boolean' },
          ...json,
        },
      },
      show: ofOneWebhook,
      remove: ofOneWebhook,
      test: ofOneWebhook,
      rotate: {
        operands: ['ID'],
        options: { 'secret-file': { type: 'string' }, 'grace-seconds': { type: 'string' }, ...json },
      },
      pause: ofOneWebhook,
      resume: ofOneWebhook,
      enable: ofOneWebhook,
      deliveries: {
        operands: ['[ID]'],
        options: { ...which, limit: { type: 'string' }, cursor: { type: 'string' }, ...json },
      },
      replay: { operands: ['[ID]'], options: { all: { type: 'boolean' }, ...which, ...json } },
    },
  },
  deliver: { operands: [], options: { 'replay-dead': { type: 'boolean' } } },
  circuits: {
    actions: {
      list: { operands: [], options: json },
      open: {
        operands: ['SERVICE'],
        options: { reason: { type: 'string' }, for: { type: 'string' }, ...json },
      },
      close: {
        operands: ['SERVICE'],
        options: { reason: { type: 'string' }, for: { type: 'string' }, ...json },
      },
      clear: { operands: ['SERVICE'], options: json },
    },
  },
  events: {
    operands: ['[TYPE]'],
    options: { asyncapi: { type: 'boolean' }, ...json },
  },
  lint: {
    operands: ['[FILES…]'],
    options: { rules: { type: 'boolean' }, ...json },
  },
} as const satisfies Record<string, Grammar>

/** The name of a command. */
export type CommandName = keyof typeof grammar

/** The names of all commands; the first is what `gatepost` does without any. */
export const commands = Object.keys(grammar) as CommandName[]

/** What a user gave with a command: options by name, as texts, lists of them, or `true`. */
export type Options = Readonly<Record<string, string | boolean | readonly string[]>>

/** What the command line asks for; `action` where the command has several. */
export type Invocation =
  | { kind: 'run'; command: CommandName; action?: string; operands: readonly string[]; options: Options }
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
      options: { ...commonOptions, ...optionsOf(grammar[named]) },
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

/** The options of a command, whichever its action. */
function optionsOf(command: Grammar): ParseArgsOptionsConfig {
  if (!('actions' in command)) return command.options
  return Object.assign({}, ...Object.values(command.actions).map(({ options }) => options))
}

function run(command: CommandName, rest: readonly string[], options: Options): Invocation {
  const meant: Grammar = grammar[command]
  if (!('actions' in meant))
    return use(command, meant, rest, { kind: 'run', command, operands: rest, options })
  const [first = 'list', ...operands] = rest
  const usage = Object.hasOwn(meant.actions, first) ? meant.actions[first] : undefined
  if (!usage) return misuse(`${command} wants one of: ${Object.keys(meant.actions).join(', ')}`)
  return use(`${command} ${first}`, usage, operands, {
    kind: 'run',
    command,
    action: first,
    operands,
    options,
  })
}

/** Holds what was given against what may follow. @param name the command with its action, as the user gave it. */
function use(
  name: string,
  { operands, options }: Usage,
  given: readonly string[],
  invocation: Extract<Invocation, { kind: 'run' }>,
): Invocation {
  const needed = operands.filter((operand) => !operand.startsWith('['))
  if (given.length < needed.length) return misuse(`${name} wants ${operands.join(' ')}`)
  const surplus = operands.at(-1)?.endsWith('…]') ? undefined : given[operands.length]
  if (surplus !== undefined) return misuse(`${name} takes no ${JSON.stringify(surplus)}`)
  const unknown = Object.keys(invocation.options).find((option) => !Object.hasOwn(options, option))
  return unknown === undefined ? invocation : misuse(`${name} takes no --${unknown}`)
}

function misuse(problem: string): Invocation {
  return { kind: 'misuse', problem }
}
