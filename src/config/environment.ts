import { readFileSync } from 'node:fs'
import { nearest } from './nearest.ts'
import { type Parser, Unfit } from './parsers.ts'
import { type Secret, secretFile } from './secret-file.ts'
import { type Values, type Variable, type VariableName, variables } from './variables.ts'

/** What a process has in its environment. */
export type Environment = Readonly<Record<string, string | undefined>>

/** One thing that is wrong with the configuration, as a whole sentence that names the variable. */
export type Problem = string

/** Values that could be read, and everything that is wrong with the others. */
export interface ReadResult {
  /** Where a variable has a problem, its default stands in; do not use values beside problems but to find more. */
  values: Values
  problems: Problem[]
}

const table: Readonly<Record<string, Variable<unknown>>> = variables
const names = Object.keys(variables) as VariableName[]
const fileNames = names.filter((name) => table[name]?.secret).map((name) => `${name}_FILE`)

// Kubernetes writes these for each service in the namespace, and one may be called gatepost or gatepost-something.
const serviceLink = /_SERVICE_HOST$|_SERVICE_PORT(_.*)?$|_PORT$|_PORT_\d+_/

/** Reads every variable of the table; an empty one counts as unset. */
export function readEnvironment(env: Environment): ReadResult {
  const problems = unknownNames(env)
  const values: Record<string, unknown> = {}
  for (const name of names) {
    const variable = table[name] as Variable<unknown>
    const given = variable.secret ? readSecret(name, env, problems) : env[name] || undefined
    values[name] = parseOr(name, variable, given, problems)
  }
  return { values: values as Values, problems }
}

function parseOr(
  name: string,
  { parse, default: fallback, secret }: Variable<unknown>,
  given: string | undefined,
  problems: Problem[],
): unknown {
  const defaultValue = () => (fallback === undefined ? undefined : parse(fallback))
  if (given === undefined) return defaultValue()
  try {
    return parse(given.trim())
  } catch (error) {
    if (!(error instanceof Unfit)) throw error
    const shown = secret ? 'the value' : JSON.stringify(given)
    problems.push(`${name}: ${shown} does not do, it must be ${error.message}`)
    return defaultValue()
  }
}

function readSecret(name: string, env: Environment, problems: Problem[]): string | undefined {
  const path = env[`${name}_FILE`]
  if (!path) return env[name] || undefined
  if (env[name]) problems.push(`${name}: set either it or ${name}_FILE, not both`)
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    const { code } = error as { code?: string }
    problems.push(`${name}_FILE: cannot read ${JSON.stringify(path)}: ${code ?? 'unreadable'}`)
    return undefined
  }
}

function unknownNames(env: Environment): Problem[] {
  const known = new Set<string>([...names, ...fileNames])
  return Object.keys(env)
    .filter((name) => name.startsWith('GATEPOST_') && !known.has(name) && !serviceLink.test(name))
    .map((name) => `${name}: no such variable, did you mean ${nearest(name, [...known])}?`)
}

/** Gives a secret that was read: what its variable says, or its file, which is followed. */
export function secretOf<N extends VariableName>(
  name: N,
  value: string | undefined,
  env: Environment,
): Secret | undefined {
  if (value === undefined) return undefined
  const path = env[`${name}_FILE`]
  return path ? secretFile(path, value, table[name]?.parse as Parser<string>) : () => value
}
