import { type Denial, deny } from '../core/denials.ts'

/** What an `authorization` header showed: nothing, or a bearer token that nobody has looked into yet. */
export type Credential = { kind: 'none' } | { kind: 'bearer'; token: string }

const none: Credential = { kind: 'none' }

/**
 * Reads the bearer token of RFC 6750 §2.1. Tokens in a query or a form are not credentials here: they end in logs.
 * @param authorization the header's value; values of a repeated header arrive joined by commas.
 * @returns a denial where the header is there and is not exactly one bearer token.
 */
export function readCredential(authorization: string | undefined): Credential | Denial {
  if (authorization === undefined) return none
  // Neither a bearer token nor the name of a scheme holds a comma: two credentials, or a smuggled second one.
  if (authorization.includes(',')) {
    return deny('invalid_request', 'The authorization header was sent more than once.', {
      cause: 'repeated_authorization',
    })
  }
  const text = authorization.trim()
  const space = text.indexOf(' ')
  const scheme = space < 0 ? text : text.slice(0, space)
  if (scheme.toLowerCase() !== 'bearer') return otherScheme(scheme)
  const token = space < 0 ? '' : text.slice(space).trimStart()
  if (token !== '' && !token.includes(' ')) return { kind: 'bearer', token }
  return deny('invalid_request', 'The authorization header must be the word Bearer and one token.', {
    cause: 'malformed_authorization',
  })
}

function otherScheme(scheme: string): Denial {
  if (scheme === '') {
    return deny('invalid_request', 'The authorization header is empty.', { cause: 'malformed_authorization' })
  }
  return deny('unsupported_scheme', 'This route asks for a bearer token.', { cause: 'unsupported_scheme' })
}
