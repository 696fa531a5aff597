import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { policySchema } from '../src/config/policy.ts'
import { rateForm } from '../src/core/rates.ts'
import { code, fillSections, type Sections, table } from './sections.ts'

/** The page on disk. */
export const pagePath = docs('policy.md')

/** The schema on disk, for editors. */
export const schemaPath = docs('policy.schema.json')

/** The complete example on disk; the page shows it. */
export const examplePath = docs('policy.example.yaml')

function docs(name: string): string {
  return fileURLToPath(new URL(`../docs/${name}`, import.meta.url))
}

/** JSON Schema, as far as the policy's uses it. */
export interface Schema {
  type?: string
  description?: string
  enum?: readonly string[]
  anyOf?: readonly Schema[]
  items?: Schema
  properties?: Readonly<Record<string, Schema>>
  patternProperties?: Readonly<Record<string, Schema>>
  required?: readonly string[]
  pattern?: string
  minLength?: number
  maxLength?: number
  minimum?: number
  maximum?: number
  minItems?: number
  maxItems?: number
}

// Through JSON, as editors see it.
const schema = JSON.parse(JSON.stringify(policySchema)) as Schema

/** The schema as a file. */
export function schemaText(): string {
  const named = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: 'urn:gatepost:policy',
    title: 'Gatepost policy',
    ...schema,
  }
  return `${JSON.stringify(named, null, 2)}\n`
}

/** The objects of the schema, each with a table of its own on the page, by the table's name. */
export const objects: Readonly<Record<string, Schema>> = {
  file: schema,
  issuer: itemsOf(schema, 'issuers'),
  defaults: member(schema, 'defaults'),
  route: itemsOf(schema, 'routes'),
  match: member(itemsOf(schema, 'routes'), 'match'),
  auth: longForm(member(itemsOf(schema, 'routes'), 'auth')),
  limit: itemsOf(itemsOf(schema, 'routes'), 'rate_limits'),
  circuit: longForm(member(itemsOf(schema, 'routes'), 'circuit')),
  plan: member(itemsOf(itemsOf(schema, 'routes'), 'rate_limits'), 'plan'),
}

/** A member of an object. @throws Error where it has none of that name. */
export function member({ properties }: Schema, key: string): Schema {
  const found = properties?.[key]
  if (found) return found
  throw new Error(`Cannot describe the schema: it has no ${key}`)
}

/** What a list of an object holds. */
export function itemsOf(parent: Schema, key: string): Schema {
  return member(parent, key).items ?? {}
}

function longForm({ anyOf = [] }: Schema): Schema {
  return anyOf.find(({ properties }) => properties) ?? {}
}

/** The patterns in words. */
const forms: Readonly<Record<string, string>> = {
  '^https?://': 'begins with `https://`, or `http://` on loopback',
  '^[a-z0-9][a-z0-9-]{0,62}$': '1 to 63 of `a-z` `0-9` `-`, no `-` first',
  '^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$': '1 to 64 of `A-Z` `a-z` `0-9` `_` `.` `-`, a letter or digit first',
  '^[\\x21\\x23-\\x5b\\x5d-\\x7e]+$': 'printable ASCII without blank, quote and backslash',
  '^\\d{1,10}/\\d{0,9}(ms|s|m|h|d)$': rateForm,
  '^/': 'begins with `/`',
  '^(\\*\\.)?[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$|^\\[[0-9a-fA-F:.]+\\]$|^\\*$':
    '`host`, `*.domain`, `[IPv6]` or `*`, without port',
  "^[A-Z0-9!#$%&'*+.^_`|~-]{1,64}$": 'in capitals, 1 to 64 characters',
  '^[a-z0-9-]{1,64}$': 'names: 1 to 64 of `a-z` `0-9` `-`',
  '^.{1,256}$': 'names: 1 to 256 characters',
  "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$": 'names: 1 to 64 characters, as HTTP allows them',
}

/** The table of an object's keys. */
export function keysTable({ properties = {}, required = [] }: Schema): string {
  return table(
    ['key', 'type', 'default', 'bounds', 'meaning'],
    Object.entries(properties).map(([key, value]) => {
      const { meaning, fallback } = split(value.description ?? '')
      return [
        code(key),
        typeOf(value),
        required.includes(key) ? 'required' : fallback,
        boundsOf(value).join('; ') || '–',
        meaning,
      ]
    }),
  )
}

/** A description ends with the default, if it tells one. */
function split(description: string): { meaning: string; fallback: string } {
  const [, meaning, fallback] = /^(.*?) ?Default: (.+)\.$/.exec(description) ?? []
  return meaning === undefined || fallback === undefined
    ? { meaning: description, fallback: '–' }
    : { meaning, fallback }
}

function typeOf({ type, enum: values, anyOf, items, patternProperties }: Schema): string {
  if (anyOf) return anyOf.map(typeOf).join(' or ')
  if (values) return values.map(code).join(' ')
  if (items) return `list of ${inList(items)}`
  const [of] = Object.values(patternProperties ?? {})
  if (of) return `map of ${inList(of)}`
  return type ?? 'any'
}

/** A union in a list is one thing, whose kinds follow it. */
function inList(items: Schema): string {
  return items.anyOf ? `(${typeOf(items)})` : typeOf(items)
}

/** Bounds of a value, and of what is in it. */
function boundsOf(value: Schema): string[] {
  const { anyOf = [], items, patternProperties = {} } = value
  const inner = [...anyOf.filter(({ properties }) => !properties), ...(items ? [items] : [])]
  const ofNames = Object.entries(patternProperties).flatMap(([pattern, of]) => [
    formOf(pattern),
    ...boundsOf(of),
  ])
  const ofItems = items?.properties ? [] : inner.flatMap(boundsOf)
  return [...new Set([...ownBounds(value), ...ofNames, ...ofItems])]
}

function ownBounds({
  pattern,
  minLength,
  maxLength,
  minimum,
  maximum,
  minItems,
  maxItems,
}: Schema): string[] {
  return [
    pattern === undefined ? '' : formOf(pattern),
    range(minLength, maxLength, 'characters'),
    range(minimum, maximum, ''),
    range(minItems, maxItems, 'entries'),
  ].filter((bound) => bound !== '')
}

function range(least: number | undefined, most: number | undefined, what: string): string {
  if (least === undefined && most === undefined) return ''
  if (most === undefined) return least === 1 ? 'not empty' : `at least ${least} ${what}`
  const span = least === undefined ? 'at most' : `${least} to`
  return `${span} ${most.toLocaleString('en-US')} ${what}`.trim()
}

/** @throws Error where nobody has put a pattern into words. */
function formOf(pattern: string): string {
  const form = forms[pattern]
  if (form !== undefined) return form
  throw new Error(`Cannot describe the pattern ${pattern}: give it words in scripts/policy.ts`)
}

const sections: Sections = {
  ...Object.fromEntries(Object.entries(objects).map(([name, object]) => [name, () => keysTable(object)])),
  example: () => `\`\`\`yaml\n${readFileSync(examplePath, 'utf8')}\`\`\``,
}

/** Fills the generated sections of the page. @throws Error where it has one that nothing fills, or lacks one. */
export function fillPage(page: string): string {
  return fillSections(page, sections)
}

if (import.meta.main) {
  writeFileSync(schemaPath, schemaText())
  writeFileSync(pagePath, fillPage(readFileSync(pagePath, 'utf8')))
}
