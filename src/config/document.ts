import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import type { TSchema } from 'typebox'
import { isMap, isScalar, LineCounter, type Node, parseDocument } from 'yaml'

/** A YAML file that fits its schema, or everything that is wrong with it, each with line and column. */
export type DocumentResult<T> = { kind: 'document'; value: T } | { kind: 'problems'; problems: string[] }

/** Reads texts of one schema. @param name how the file is called in problems. */
export type ReadDocument<T> = (name: string, text: string) => DocumentResult<T>

/** The most bytes of a file that is read. */
export const maxDocumentBytes = 16 * 1024 * 1024

const ajv = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true, useDefaults: false })
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
    // A bounded number of aliases: a few lines could otherwise unfold into gigabytes.
    const value: unknown = document.toJS({ maxAliasCount: 100 }) ?? {}
    validate ??= ajv.compile(schema)
    if (validate(value)) return { kind: 'document', value: value as T }
    const problems = relevant(validate.errors ?? []).map((error) => {
      const offset = offsetOf(document.contents, error)
      return `${at(offset)}: ${describe(error)}`
    })
    return { kind: 'problems', problems: [...new Set(problems)] }
  }
}

/** Branches of a union each complain; what the union itself says is enough. */
function relevant(errors: readonly ErrorObject[]): readonly ErrorObject[] {
  const unions = errors.filter(({ keyword }) => keyword === 'anyOf').map(({ instancePath }) => instancePath)
  return errors.filter(
    ({ keyword, instancePath }) =>
      keyword === 'anyOf' || !unions.some((path) => instancePath.startsWith(path)),
  )
}

function describe({ keyword, params, message, instancePath }: ErrorObject): string {
  const where = instancePath === '' ? 'the file' : instancePath.slice(1).replaceAll('/', '.')
  const { additionalProperty, allowedValues } = params as {
    additionalProperty?: string
    allowedValues?: unknown[]
  }
  if (keyword === 'additionalProperties')
    return `${where}: there is no setting ${JSON.stringify(additionalProperty)}`
  if (keyword === 'enum') return `${where}: must be one of ${(allowedValues ?? []).join(', ')}`
  return `${where}: ${message ?? 'does not fit'}`
}

/** Finds where in the text a problem is: at the unknown key itself, else at the value, else at what encloses it. */
function offsetOf(root: unknown, { instancePath, keyword, params }: ErrorObject): number {
  let node: unknown = root
  for (const step of instancePath.split('/').slice(1)) {
    const key = step.replaceAll('~1', '/').replaceAll('~0', '~')
    const next = (node as { get?: (key: unknown, keep: boolean) => unknown }).get?.(
      /^\d+$/.test(key) ? Number(key) : key,
      true,
    )
    if (next === undefined) break
    node = next
  }
  const { additionalProperty } = params as { additionalProperty?: string }
  if (keyword === 'additionalProperties' && isMap(node)) {
    const pair = node.items.find(({ key }) => isScalar(key) && key.value === additionalProperty)
    return (pair?.key as Node | undefined)?.range?.[0] ?? 0
  }
  return (node as Node | null)?.range?.[0] ?? 0
}
