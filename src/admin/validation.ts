import { Ajv2020, type ErrorObject, type Options, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import type { FastifySchemaCompiler } from 'fastify'

/** Gives the candidate that a name was likely meant to be; the empty text where there is none. */
export type Nearest = (name: string, candidates: readonly string[]) => string

/** A request that does not do. */
export class BadRequest extends Error {
  readonly statusCode = 400
  /** What is wrong with it, each with the member that it is about; at least one. */
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(problems.join('; '))
    this.problems = problems
  }
}

/** The most problems that are told of one request. */
const maxProblems = 20

const options: Options = {
  allErrors: true,
  strict: true,
  verbose: true,
  allowUnionTypes: true,
  useDefaults: false,
}

/**
 * Makes Fastify's validator: every problem is told, a setting that there is not with the name that was likely meant, and
 * bodies are taken as they are. What stands in a URL is text, and is read as the number that its schema wants.
 */
export function createValidatorCompiler(nearest: Nearest): FastifySchemaCompiler<object> {
  const strict = addFormats.default(new Ajv2020(options))
  const coercing = addFormats.default(new Ajv2020({ ...options, coerceTypes: true }))
  return ({ schema, httpPart = 'body' }) => {
    let validate: ValidateFunction | undefined
    return (data: unknown) => {
      validate ??= (httpPart === 'body' ? strict : coercing).compile(schema)
      if (validate(data)) return true
      const problems = (validate.errors ?? []).map((error) => describe(error, httpPart, nearest))
      return { error: new BadRequest([...new Set(problems)].slice(0, maxProblems)) }
    }
  }
}

const parts: Readonly<Record<string, string>> = {
  body: 'the body',
  querystring: 'the query',
  params: 'the path',
}

function describe(error: ErrorObject, httpPart: string, nearest: Nearest): string {
  const { instancePath, keyword, params, message = 'does not do' } = error
  const where = instancePath.slice(1).replaceAll('/', '.') || (parts[httpPart] ?? httpPart)
  if (keyword !== 'additionalProperties') return `${where}: ${demandOf(error) ?? message}`
  const { additionalProperty } = params as { additionalProperty: string }
  const { properties = {} } = (error.parentSchema ?? {}) as { properties?: object }
  const known = Object.keys(properties)
  const hint = known.length > 0 ? `, did you mean ${JSON.stringify(nearest(additionalProperty, known))}?` : ''
  return `${where}: there is no setting ${JSON.stringify(additionalProperty)}${hint}`
}

/** What would do, where Ajv says less. A regular expression helps nobody: the schema says it in words. */
function demandOf({ keyword, params, parentSchema }: ErrorObject): string | undefined {
  const { description } = (parentSchema ?? {}) as { description?: string }
  const { allowedValues = [], type } = params as { allowedValues?: unknown[]; type?: string | string[] }
  if (keyword === 'enum') return `must be one of ${allowedValues.join(', ')}`
  if (keyword === 'type') return `must be ${[type].flat().join(' or ')}`
  return keyword === 'pattern' && description ? `must be of another form: ${description}` : undefined
}
