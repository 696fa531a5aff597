import type { Struct } from './gen/google/protobuf/Struct.ts'

/**
 * Writes a google.protobuf.Struct. Its values keep their camelCase names even where the loader keeps the case of
 * everything else: `string_value` would be dropped without an error.
 */
export function toStruct(record: Readonly<Record<string, string | number>>): Struct {
  const fields: NonNullable<Struct['fields']> = {}
  for (const [key, value] of Object.entries(record)) {
    fields[key] = typeof value === 'string' ? { stringValue: value } : { numberValue: value }
  }
  return { fields }
}
