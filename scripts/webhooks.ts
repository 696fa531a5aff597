import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { webhooksSchema } from '../src/config/webhooks.ts'
import { itemsOf, keysTable, member, type Schema } from './policy.ts'
import { fillSections, type Sections } from './sections.ts'

/** The page on disk. */
export const pagePath = docs('webhooks.md')

/** The schema on disk, for editors. */
export const schemaPath = docs('webhooks.schema.json')

/** The complete example on disk; the page shows it. */
export const examplePath = docs('webhooks.example.yaml')

function docs(name: string): string {
  return fileURLToPath(new URL(`../docs/${name}`, import.meta.url))
}

// Through JSON, as editors see it.
const schema = JSON.parse(JSON.stringify(webhooksSchema)) as Schema

/** The schema as a file. */
export function schemaText(): string {
  const named = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: 'urn:gatepost:webhooks',
    title: 'Gatepost webhooks',
    ...schema,
  }
  return `${JSON.stringify(named, null, 2)}\n`
}

const webhook = itemsOf(schema, 'webhooks')

/** The objects of the schema, each with a table of its own on the page, by the table's name. */
export const objects: Readonly<Record<string, Schema>> = {
  webhook,
  retry: member(webhook, 'retry_policy'),
  filters: member(webhook, 'filters'),
  old: itemsOf(webhook, 'old_secrets'),
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
