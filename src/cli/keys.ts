import { exitCodes } from '../core/exit-codes.ts'
import { isScope, splitList } from '../core/routes.ts'
import type { Options } from './arguments.ts'

/** A new key, and what the file needs to know of it. */
export interface MadeKey {
  key: string
  id: string
  /** `sha256:HEX`. */
  hash: string
}

/** Where the command writes. */
export interface KeysOutput {
  answer: (text: string) => void
  complain: (text: string) => void
}

/**
 * `gatepost keys new`: shows a new key, this once, and the entry of the keys file, which holds only its hash.
 * @returns the exit code.
 */
export function newKey(options: Options, make: () => MadeKey, { answer, complain }: KeysOutput): number {
  const problem = problemOf(options)
  if (problem) {
    complain(`${problem}. Try gatepost keys --help\n`)
    return exitCodes.usage
  }
  const { key, id, hash } = make()
  const { 'client-id': clientId, scopes, 'expires-at': expiresAt } = options
  const entry = {
    id,
    client_id: clientId,
    hash,
    ...(scopes !== undefined && { scopes: splitList(String(scopes)) }),
    ...(expiresAt !== undefined && { expires_at: new Date(String(expiresAt)).toISOString() }),
  }
  answer(options['json'] ? `${JSON.stringify({ key, entry })}\n` : forPeople(key, JSON.stringify(entry)))
  return exitCodes.ok
}

function problemOf({
  'client-id': clientId,
  scopes = '',
  'expires-at': expiresAt,
}: Options): string | undefined {
  if (typeof clientId !== 'string' || !/^[\x21-\x7e]{1,256}$/.test(clientId)) {
    return 'Say whose key it is: --client-id NAME, up to 256 characters without blanks'
  }
  const bad = splitList(String(scopes)).find((scope) => !isScope(scope))
  if (bad !== undefined) return `${JSON.stringify(bad)} is no scope`
  if (expiresAt === undefined || !Number.isNaN(Date.parse(String(expiresAt)))) return undefined
  return `--expires-at wants a date such as 2030-01-31T00:00:00Z, not ${JSON.stringify(expiresAt)}`
}

// JSON is YAML: the entry stands in the file as it is.
function forPeople(key: string, entry: string): string {
  return `The key, shown only now; hand it to the client:

${key}

Its entry for the file that GATEPOST_API_KEYS_FILE names, below "keys:"; it holds the key's hash alone:

  - ${entry}
`
}
