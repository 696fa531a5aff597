import Type, { type Static } from 'typebox'
import { createDocumentReader, type DocumentResult } from './document.ts'

const apiKeysSchema = Type.Object(
  {
    keys: Type.Array(
      Type.Object(
        {
          id: Type.String({
            pattern: '^[A-Za-z0-9]{1,64}$',
            description: 'The part of the key between the underscores.',
          }),
          client_id: Type.String({
            pattern: '^[\\x21-\\x7e]{1,256}$',
            description: 'Whose key it is: up to 256 characters without blanks.',
          }),
          hash: Type.String({
            pattern: '^sha256:[0-9a-fA-F]{64}$',
            description: 'sha256: and the SHA-256 of the whole key in hex; never the key itself.',
          }),
          scopes: Type.Optional(
            Type.Array(
              Type.String({
                pattern: '^[\\x21\\x23-\\x5b\\x5d-\\x7e]+$',
                description: 'A scope, without blanks.',
              }),
            ),
          ),
          expires_at: Type.Optional(
            Type.String({ format: 'date-time', description: 'From then on the key is refused.' }),
          ),
        },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false },
)

/** An API key as its file describes it. */
export interface ApiKeySettings {
  id: string
  clientId: string
  /** SHA-256 of the whole key, 32 bytes. */
  hash: Buffer
  scopes: readonly string[]
  /** Milliseconds since the epoch; absent if the key does not expire. */
  expiresAtMs?: number
}

const readDocument = createDocumentReader<Static<typeof apiKeysSchema>>(apiKeysSchema)

/** Reads a file of API keys. @returns the keys by id. */
export function readApiKeys(name: string, text: string): DocumentResult<ReadonlyMap<string, ApiKeySettings>> {
  const result = readDocument(name, text)
  if (result.kind === 'problems') return result
  const entries = result.value.keys.map(settingsOf)
  const byId = new Map(entries.map((entry) => [entry.id, entry]))
  if (byId.size === entries.length) return { kind: 'document', value: byId }
  const repeated = entries.map(({ id }) => id).filter((id, at, ids) => ids.indexOf(id) !== at)
  return {
    kind: 'problems',
    problems: repeated.map((id) => `${name}: the id ${JSON.stringify(id)} stands there twice`),
  }
}

function settingsOf(entry: Static<typeof apiKeysSchema>['keys'][number]): ApiKeySettings {
  return {
    id: entry.id,
    clientId: entry.client_id,
    hash: Buffer.from(entry.hash.slice('sha256:'.length), 'hex'),
    scopes: entry.scopes ?? [],
    ...(entry.expires_at !== undefined && { expiresAtMs: Date.parse(entry.expires_at) }),
  }
}
