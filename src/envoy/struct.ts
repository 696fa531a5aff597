import type { Struct, Struct__Output } from './gen/google/protobuf/Struct.ts'

/** The kinds of values that Gatepost keeps in a Struct. */
export type Flat = Record<string, string | number>

/**
 * Writes a google.protobuf.Struct. Its values keep their camelCase names even where the loader keeps the case of
 * everything else: `string_value` would be dropped without an error.
 */
export function toStruct(record: Readonly<Flat>): Struct {
  const fields: NonNullable<Struct['fields']> = {}
  for (const [key, value] of Object.entries(record)) {
    fields[key] = typeof value === 'string' ? { stringValue: value } : { numberValue: value }
  }
  return { fields }
}

/** Reads the texts and numbers of a Struct; values of other kinds are left out. */
export function fromStruct(struct: Struct__Output | undefined): Flat {
  const record: Flat = {}
  for (const [key, { stringValue, numberValue }] of Object.entries(struct?.fields ?? {})) {
    const value = stringValue ?? numberValue
    if (value !== undefined) record[key] = value
  }
  return record
}
