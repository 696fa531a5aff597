import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Document as Parsed,
  parseAllDocuments,
  visit,
} from 'yaml'
import { Cursor, type Path } from './cursor.ts'

/** A place in a file; lines and columns count from 1. */
export interface Place {
  line: number
  column: number
}

/** One document of a file, or one that stands as text in a ConfigMap of it. */
export interface LintDocument {
  file: string
  root: Cursor
}

/** Why a file cannot be looked at. */
export interface Problem extends Partial<Place> {
  file: string
  message: string
}

/** What a file holds. */
export interface ParsedFile {
  documents: readonly LintDocument[]
  problems: readonly Problem[]
}

/** The most bytes of a file that is looked at. */
export const maxFileBytes = 2 * 1024 * 1024

/** How many aliases a document may have, and how often they may unfold: a few lines could else become gigabytes. */
const maxAliasCount = 100

/** How deep brackets may be nested, and how many `-` and `?` may begin a line; the parser's cost grows with either. */
const maxDepth = 100
const maxExplicitKeys = 1_000

/** How many lists and maps in brackets: each costs the parser a kilobyte of memory. */
const maxBrackets = 200_000

/**
 * Reads the YAML or JSON documents of a file, and those that its ConfigMaps carry under names such as `envoy.yaml`.
 * A document that cannot be read is a problem; the others are looked at all the same.
 */
export function parseFile(file: string, text: string): ParsedFile {
  if (Buffer.byteLength(text) > maxFileBytes) {
    const message = `is larger than ${maxFileBytes / 1024 / 1024} MiB`
    return { documents: [], problems: [{ file, line: 1, column: 1, message }] }
  }
  const line = tooDeepAt(text)
  if (line !== undefined) return tooDeep(file, line)
  try {
    return readDocuments(file, text)
  } catch (error) {
    // The parser calls itself for each level of indentation.
    if ((error as Error).name === 'RangeError') return tooDeep(file, 1)
    throw error
  }
}

function tooDeep(file: string, line: number): ParsedFile {
  return {
    documents: [],
    problems: [{ file, line, column: 1, message: 'is nested too deeply or too often' }],
  }
}

function readDocuments(file: string, text: string): ParsedFile {
  const documents: LintDocument[] = []
  const problems: Problem[] = []
  for (const source of parseDocuments(text)) {
    const read = readDocument(source, file, (place) => place)
    if (read.kind === 'problem') problems.push({ file, ...read.problem })
    else documents.push(read.document, ...embedded(read.document, source, text))
  }
  return { documents, problems }
}

interface Source {
  parsed: Parsed.Parsed
  lines: LineCounter
}

function parseDocuments(text: string): Source[] {
  const lines = new LineCounter()
  // Duplicate keys are found below, in linear time.
  const all = parseAllDocuments(text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: false,
    merge: true,
    logLevel: 'silent',
  })
  return Array.isArray(all) ? all.map((parsed) => ({ parsed, lines })) : []
}

type Read = { kind: 'document'; document: LintDocument } | { kind: 'problem'; problem: Omit<Problem, 'file'> }

function readDocument({ parsed, lines }: Source, file: string, shift: (place: Place) => Place): Read {
  const at = (offset: number): Place => {
    const { line, col } = lines.linePos(offset)
    return shift({ line, column: col })
  }
  const [error] = parsed.errors
  if (error) return { kind: 'problem', problem: { ...at(error.pos[0]), message: firstLine(error.message) } }
  const twice = duplicateKey(parsed)
  if (twice)
    return {
      kind: 'problem',
      problem: {
        ...at(twice.offset),
        message: `the key ${JSON.stringify(twice.key)} stands twice in one map`,
      },
    }
  const unfolded = unfold(parsed)
  if (!unfolded) {
    const message = `has more than ${maxAliasCount} aliases, aliases that unfold too often, or one that names no anchor`
    return { kind: 'problem', problem: { ...at(parsed.range[0]), message } }
  }
  const place = (path: Path) => at(offsetOf(parsed, path))
  return { kind: 'document', document: { file, root: new Cursor(unfolded.value, { file, place }) } }
}

/** Null where aliases are too many or name no anchor. */
function unfold(parsed: Parsed): { value: unknown } | null {
  let aliases = 0
  visit(parsed, {
    Alias() {
      aliases += 1
      return aliases > maxAliasCount ? visit.BREAK : undefined
    },
  })
  if (aliases > maxAliasCount) return null
  try {
    return { value: parsed.toJS({ maxAliasCount }) as unknown }
  } catch (error) {
    if (['ReferenceError', 'Error', 'TypeError'].includes((error as Error).name)) return null
    throw error
  }
}

/** The line where nesting passes `maxDepth`, counted before the parser sees it. */
function tooDeepAt(text: string): number | undefined {
  let depth = 0
  let explicitKeys = 0
  let brackets = 0
  for (const [at, line] of text.split('\n').entries()) {
    const [indicators = ''] = /^[\s?-]*/.exec(line) ?? []
    depth = depthAfter(line, depth)
    brackets += line.match(/[[{]/g)?.length ?? 0
    // `? key` as a key of its own: the parser's cost for nested ones grows with the cube of their number.
    explicitKeys += line.match(/(^|[\s[{,])\?(?=\s)/g)?.length ?? 0
    if (depth > maxDepth || explicitKeys > maxExplicitKeys || brackets > maxBrackets) return at + 1
    if (indicators.split(/\s+/).length > maxDepth) return at + 1
  }
  return undefined
}

/** The depth of brackets at the end of a line, or past what is allowed if it is so within. */
function depthAfter(line: string, before: number): number {
  let depth = before
  for (const [bracket] of line.matchAll(/[[\]{}]/g)) {
    if (bracket === '[' || bracket === '{') depth += 1
    else depth = Math.max(0, depth - 1)
    if (depth > maxDepth) break
  }
  return depth
}

function duplicateKey(parsed: Parsed): { key: string; offset: number } | undefined {
  let found: { key: string; offset: number } | undefined
  visit(parsed, {
    Map(_key, { items }) {
      const seen = new Set<string>()
      for (const { key } of items) {
        if (!isScalar(key) || key.value === '<<') continue
        const name = String(key.value)
        if (seen.has(name)) {
          found = { key: name, offset: key.range?.[0] ?? 0 }
          return visit.BREAK
        }
        seen.add(name)
      }
      return undefined
    },
  })
  return found
}

/** Where the value at a path begins, its key where it has one; what is not there stands where its parent does. */
function offsetOf(parsed: Parsed, path: Path): number {
  let node = parsed.contents as Node | null
  let offset = node?.range?.[0] ?? 0
  for (const step of path) {
    const container = isAlias(node) ? node.resolve(parsed) : node
    const next = stepInto(container, step)
    if (!next) break
    offset = next.offset ?? offset
    node = next.node
  }
  return offset
}

function stepInto(
  container: unknown,
  step: string | number,
): { node: Node | null; offset: number | undefined } | undefined {
  if (isSeq(container)) {
    const node = container.items[Number(step)] as Node | undefined
    return node && { node, offset: node.range?.[0] }
  }
  if (!isMap(container)) return undefined
  const pair = container.items.find(({ key }) => isScalar(key) && String(key.value) === step)
  return pair && { node: pair.value as Node | null, offset: (pair.key as Node).range?.[0] }
}

/** Names under which ConfigMaps carry whole configurations: Envoy's, and Istio's mesh. */
const carriesYaml = /\.(ya?ml|json)$|^mesh$/

/** Documents that stand as text in a ConfigMap; text that cannot be read is not ours to judge. */
function embedded({ file, root }: LintDocument, source: Source, text: string): LintDocument[] {
  if (root.get('kind').text !== 'ConfigMap') return []
  const content = text.split('\n')
  return root
    .get('data')
    .entries()
    .filter(([name, { value }]) => carriesYaml.test(name) && typeof value === 'string')
    .flatMap(([name, { value }]) => {
      const inner = String(value)
      if (tooDeepAt(inner) !== undefined) return []
      const shift = shiftOf(source, ['data', name], content)
      return parseDocuments(inner).flatMap((inside) => {
        const read = readDocument(inside, file, shift)
        return read.kind === 'document' ? [read.document] : []
      })
    })
}

/** Places within a block text begin below its header and behind its indentation; within any other, where the text stands. */
function shiftOf(
  { parsed, lines }: Source,
  path: string[],
  content: readonly string[],
): (place: Place) => Place {
  const scalar = parsed.getIn(path, true)
  const offset = offsetOf(parsed, path)
  const { line, col } = lines.linePos(offset)
  if (!isScalar(scalar) || scalar.type !== 'BLOCK_LITERAL') return () => ({ line, column: col })
  const header = lines.linePos(scalar.range?.[0] ?? offset).line
  let at = header
  while (content[at]?.trim() === '') at += 1
  const first = content[at] ?? ''
  const indent = first.length - first.trimStart().length
  return (place) => ({ line: header + place.line, column: indent + place.column })
}

function firstLine(message: string): string {
  return message.split('\n', 1)[0] ?? message
}
