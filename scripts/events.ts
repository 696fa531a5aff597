import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { eventSchema, eventTypes } from '../src/events/catalogue.ts'

/** Where the schemas are kept. */
export const schemaDir = fileURLToPath(new URL('../docs/events', import.meta.url))

/** The JSON Schema of each event type, by file name. */
export function schemaFiles(): Map<string, string> {
  return new Map(
    eventTypes.map((type) => [`${type}.schema.json`, `${JSON.stringify(eventSchema(type), null, 2)}\n`]),
  )
}

if (import.meta.main) {
  rmSync(schemaDir, { recursive: true, force: true })
  mkdirSync(schemaDir, { recursive: true })
  for (const [name, text] of schemaFiles()) {
    writeFileSync(join(schemaDir, name), text)
    process.stdout.write(`${relative(process.cwd(), join(schemaDir, name))}\n`)
  }
}
