import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { distance } from 'fastest-levenshtein'
import type { TSchema } from 'typebox'
import { type Document, isMap, isScalar, LineCounter, type Node, parseDocument } from 'yaml'
import { nearest } from './nearest.ts'

/** A YAML file that fits its schema, or everything that is wrong with it, each with line and column. */
export type DocumentResult<T> = { kind: 'document'; value: T } | { kind: 'problems'; problems: string[] }

/** Where in a document a value stands: keys and indices from the root. */
export type DocumentPath = readonly (string | number)[]

/** A document that fits its schema; `locate` tells `name:line:column` of a value in it. */
export interface ParsedDocument<T> {
  kind: 'document'
  value: T
  locate: (path: DocumentPath) => string
}

/** Reads texts of one schema. @param name how the file is called in problems. */
export type ReadDocument<T> = (
  name: string,
  text: string,
) => ParsedDocument<T> | Extract<DocumentResult<T>, { kind: 'problems' }>

/** The most bytes of a file that is read. */
export const maxDocumentBytes = 16 * 1024 * 1024

const ajv = new Ajv2020({
  allErrors: true,
  strict: true,
  verbose: true,
  allowUnionTypes: true,
  useDefaults: false,
})
addFormats.default(ajv)

/** Makes a reader of YAML (and so of JSON) files: parsed, checked against a JSON Schema, problems placed. */
export function createDocumentReader<T>(schema: TSchema): ReadDocument<T> {
  let validate: ValidateFunction | undefined
  return (name, text) => {
    const lines = new LineCounter()
    const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true })
    const at = (offset: number) => {
      const { line, col } = lines.linePos(offset)
      return `${name}:${line}:${col}`
    }
    if (document.errors.length > 0) {
      return {
        kind: 'problems',
        problems: document.errors.map(({ pos, message }) => `${at(pos[0])}: ${message}`),
      }
    }
    const value = unfold(document)
    if (value === undefined) {
      return { kind: 'problems', problems: [`${name}: its aliases unfold too often, or name no anchor`] }
    }
    validate ??= ajv.compile(schema)
    if (validate(value)) {
      const locate = (path: DocumentPath) => at(nodeAt(document.contents, path)?.range?.[0] ?? 0)
      return { kind: 'document', value: value as T, locate }
    }
    const problems = relevant(validate.errors ?? []).map((error) => {
      const offset = offsetOf(document.contents, error)
      return `${at(offset)}: ${describe(error)}`
    })
    return { kind: 'problems', problems: [...new Set(problems)] }
  }
}

/** @returns undefined where aliases are bad. Their number is bounded: a few lines could else unfold into gigabytes. */
function unfold(document: Document): unknown {
  try {
    return (document.toJS({ maxAliasCount: 100 }) as unknown) ?? {}
  } catch (error) {
    if ((error as Error).name === 'ReferenceError') return undefined
    throw error
  }
}

/**
 * Each branch of a union complains. Where one was meant, as what lies deeper shows, its complaints are worth hearing; else
 * the union says what would do.
 */
function relevant(errors: readonly ErrorObject[]): readonly ErrorObject[] {
  const unions = errors.filter(({ keyword }) => keyword === 'anyOf')
  return unions.reduce(withoutBranches, errors)
}

function withoutBranches(errors: readonly ErrorObject[], union: ErrorObject): readonly ErrorObject[] {
  const isOfBranch = ({ schemaPath, instancePath }: ErrorObject) =>
    schemaPath.startsWith(`${union.schemaPath}/`) && `${instancePath}/`.startsWith(`${union.instancePath}/`)
  const isAboutKind = ({ keyword, instancePath }: ErrorObject) =>
    instancePath === union.instancePath && ['type', 'enum', 'const', 'anyOf'].includes(keyword)
  const branches = errors.filter(isOfBranch)
  const meant = branches.filter((error) => !isAboutKind(error))
  const others = errors.filter((error) => error !== union && !isOfBranch(error))
  if (meant.length > 0) return [...others, ...meant]
  return [...others, { ...union, message: [...new Set(branches.map(demandOf))].join(', or ') }]
}

function demandOf(error: ErrorObject): string {
  const { keyword, params, message } = error
  // A regular expression helps nobody, and the value may be a secret: the schema says in words what would do.
  const { description } = (error.parentSchema ?? {}) as { description?: string }
  if (keyword === 'pattern' && description) return `must be of another form: ${description}`
  const { allowedValues = [] } = params as { allowedValues?: unknown[] }
  return keyword === 'enum' ? `must be one of ${allowedValues.join(', ')}` : (message ?? 'does not fit')
}

function describe(error: ErrorObject): string {
  const { keyword, params, instancePath } = error
  const where = instancePath === '' ? 'the file' : instancePath.slice(1).replaceAll('/', '.')
  if (keyword !== 'additionalProperties') return `${where}: ${demandOf(error)}`
  const { additionalProperty = '' } = params as { additionalProperty?: string }
  return `${where}: there is no setting ${JSON.stringify(additionalProperty)}${hint(additionalProperty, error)}`
}

/** The setting that was likely meant: no more than two letters away. */
function hint(name: string, { parentSchema }: ErrorObject): string {
  const { properties = {} } = (parentSchema ?? {}) as { properties?: object }
  const meant = nearest(name, Object.keys(properties))
  const isNear = distance(name, meant) <= 2 && name.length > 2
  return isNear ? `, did you mean ${JSON.stringify(meant)}?` : ''
}

/** Finds where in the text a problem is: at the unknown key itself, else at the value, else at what encloses it. */
function offsetOf(root: unknown, { instancePath, keyword, params }: ErrorObject): number {
  const path = instancePath.split('/').slice(1).map(unescapePointer)
  const node = nodeAt(root, path)
  const { additionalProperty } = params as { additionalProperty?: string }
  if (keyword === 'additionalProperties' && isMap(node)) {
    const pair = node.items.find(({ key }) => isScalar(key) && key.value === additionalProperty)
    return (pair?.key as Node | undefined)?.range?.[0] ?? 0
  }
  return node?.range?.[0] ?? 0
}

// RFC 6901 §4.
function unescapePointer(step: string): string | number {
  return /^\d+$/.test(step) ? Number(step) : step.replaceAll('~1', '/').replaceAll('~0', '~')
}

/** The node at a path, or the last one on the way. */
function nodeAt(root: unknown, path: DocumentPath): Node | undefined {
  let node = root as { get?: (key: unknown, keep: boolean) => unknown } | undefined
  for (const step of path) {
    const next = node?.get?.(step, true)
    if (next === undefined) break
    node = next as typeof node
  }
  return node as Node | undefined
}
