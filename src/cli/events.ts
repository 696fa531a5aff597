import { exitCodes } from '../core/exit-codes.ts'
import type { Options } from './arguments.ts'
import { wrap } from './wrap.ts'

/** An event type as the command shows it. */
export interface EventHelp {
  type: string
  /** What it says. */
  meaning: string
  /** When it is told. */
  occasion: string
  /** Kafka's. */
  topic: string
  /** RabbitMQ's. */
  routingKey: string
  fields: readonly { name: string; type: string; isRequired: boolean; description: string }[]
  /** JSON Schema of the whole event. */
  schema: object
  example: object
}

/** What the command needs of its surroundings. */
export interface EventsCommandParts {
  entries: readonly EventHelp[]
  /** The AsyncAPI document of all events, as YAML or as JSON. */
  asyncApi: (format: 'yaml' | 'json') => string
  /** The one of the candidates that is meant most likely. */
  nearest: (name: string, candidates: readonly string[]) => string
  answer: (text: string) => void
  complain: (text: string) => void
}

/**
 * `gatepost events [TYPE]`: the catalogue of events, one of them with its fields, or the AsyncAPI document.
 * @returns the exit code.
 */
export function eventsCommand(
  [type]: readonly string[],
  options: Options,
  { entries, asyncApi, nearest, answer, complain }: EventsCommandParts,
): number {
  const types = entries.map((entry) => entry.type)
  const entry = entries.find((known) => known.type === type)
  const problem = problemOf(type, entry, options, () => nearest(String(type), types))
  if (problem) {
    complain(`${problem}. Try gatepost events --help\n`)
    return exitCodes.usage
  }
  const isJson = options['json'] === true
  if (options['asyncapi'] === true) answer(asyncApi(isJson ? 'json' : 'yaml'))
  else if (entry) answer(isJson ? json(entry.schema) : details(entry))
  else answer(isJson ? json(entries.map(forPrograms)) : entries.map(summary).join('\n'))
  return exitCodes.ok
}

function problemOf(
  type: string | undefined,
  entry: EventHelp | undefined,
  options: Options,
  likely: () => string,
): string | undefined {
  if (type !== undefined && options['asyncapi'] === true)
    return 'The AsyncAPI document is of all events: leave out TYPE or --asyncapi'
  if (type === undefined || entry) return undefined
  return `There is no event ${JSON.stringify(type)}; did you mean ${likely()}`
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`
}

function forPrograms({ type, meaning, occasion, topic, routingKey, schema, example }: EventHelp) {
  return { type, meaning, when: occasion, topic, routing_key: routingKey, schema, example }
}

const labelWidth = 13
const textWidth = 100

function summary(entry: EventHelp): string {
  const names = entry.fields.map(({ name, isRequired }) => (isRequired ? name : `${name}?`))
  return `${heading(entry)}${labelled('data', names.join(' '))}`
}

function details(entry: EventHelp): string {
  const width = Math.max(...entry.fields.map(({ name }) => name.length)) + 3
  const fields = entry.fields.map(({ name, type, isRequired, description }) =>
    block(`  ${(isRequired ? name : `${name}?`).padEnd(width)}`, `${description} (${type})`),
  )
  const example = JSON.stringify(entry.example, null, 2).replaceAll(/^/gm, '  ')
  return `${heading(entry)}\ndata, a question mark where it may be absent\n${fields.join('')}\nexample\n${example}\n`
}

function heading({ type, meaning, occasion, topic, routingKey }: EventHelp): string {
  return [
    `${type}\n`,
    labelled('says', meaning),
    labelled('when', occasion),
    labelled('Kafka', `topic ${topic}`),
    labelled('RabbitMQ', `routing key ${routingKey}`),
  ].join('')
}

function labelled(label: string, text: string): string {
  return block(`  ${label.padEnd(labelWidth - 2)}`, text)
}

/** A text beside its label; further lines are as far in as the first. */
function block(label: string, text: string): string {
  return `${label}${wrap(text, textWidth - label.length).join(`\n${' '.repeat(label.length)}`)}\n`
}
