import { globSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { asyncApiText } from '../src/events/asyncapi.ts'
import { eventSchema, eventTypes } from '../src/events/catalogue.ts'
import { describeEvents, type EventEntry } from '../src/events/catalogue-entries.ts'
import { code, fillSections, type Sections, table } from './sections.ts'

/** Where schemas, document and page are kept. */
export const schemaDir = fileURLToPath(new URL('../docs/events', import.meta.url))

/** The page on disk. */
export const pagePath = join(schemaDir, 'README.md')

const asyncApiName = 'asyncapi.yaml'
const schemaSuffix = '.schema.json'

/** The JSON Schema of each event type and the AsyncAPI document, by file name. */
export function generatedFiles(): Map<string, string> {
  const schemas = eventTypes.map((type): [string, string] => [
    `${type}${schemaSuffix}`,
    `${JSON.stringify(eventSchema(type), null, 2)}\n`,
  ])
  return new Map([...schemas, [asyncApiName, asyncApiText(packageVersion(), 'yaml')]])
}

/** The names of the files in the folder that are generated, or were. */
export function generatedNames(): string[] {
  return globSync([`*${schemaSuffix}`, asyncApiName], { cwd: schemaDir }).sort()
}

function packageVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

const sections: Sections = {
  types: () =>
    table(
      ['event', 'says', 'when', 'Kafka topic'],
      describeEvents().map(({ type, meaning, occasion, topic }) => [
        `[${code(type)}](#${type.replaceAll('.', '')})`,
        meaning,
        occasion,
        code(topic),
      ]),
    ),
  fields: () => describeEvents().map(typeSection).join('\n\n'),
}

function typeSection({ type, fields, example }: EventEntry): string {
  const rows = fields.map(({ name, type: kind, isRequired, description }) => [
    code(isRequired ? name : `${name}?`),
    code(kind),
    description,
  ])
  return [
    `### ${type}`,
    `[JSON Schema](${type}${schemaSuffix})`,
    table(['field of `data`', 'type', 'meaning'], rows),
    `\`\`\`json\n${JSON.stringify(example, null, 2)}\n\`\`\``,
  ].join('\n\n')
}

/** Fills the generated sections of the page. @throws Error where it has one that nothing fills, or lacks one. */
export function fillPage(page: string): string {
  return fillSections(page, sections)
}

if (import.meta.main) {
  const files = generatedFiles()
  for (const name of generatedNames()) if (!files.has(name)) rmSync(join(schemaDir, name))
  for (const [name, text] of files) {
    writeFileSync(join(schemaDir, name), text)
    process.stdout.write(`${relative(process.cwd(), join(schemaDir, name))}\n`)
  }
  writeFileSync(pagePath, fillPage(readFileSync(pagePath, 'utf8')))
}
