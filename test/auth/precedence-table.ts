import type { DenialReason } from '../../src/core/denials.ts'
import type { AuthMode } from '../../src/core/routes.ts'

/** What the `authorization` header may hold. */
export const authorizations = [
  'absent',
  'a good JWT',
  'a good opaque token',
  'a bad JWT',
  'an unknown opaque token',
  'no token that could be one',
  'another scheme',
  'a malformed value',
  'more than one value',
] as const

/** What the header for API keys may hold. */
export const keys = ['absent', 'good', 'bad'] as const

/** What is known of the client certificate; what is unreadable can only be forwarded (`xfcc`). */
export const certificates = ['absent', 'present', 'unreadable'] as const

/** One way to show credentials. */
export interface Shown {
  authorization: (typeof authorizations)[number]
  key: (typeof keys)[number]
  certificate: (typeof certificates)[number]
}

/** Who the caller is by which credential, or for which reason the request is refused. */
export type Outcome = 'token' | 'key' | 'certificate' | 'anonymous' | DenialReason

/** A row: what is shown (`any` where it makes no difference), and what comes of it. */
export interface Row {
  authorization: readonly Shown['authorization'][]
  key: readonly Shown['key'][] | 'any'
  certificate: readonly Shown['certificate'][] | 'any'
  outcome: Readonly<Record<AuthMode, Outcome>>
}

const readable = ['absent', 'present'] as const
const notBad = ['absent', 'good'] as const

/** The one bearer token that a header may hold, good or bad. */
export const bearer = authorizations.slice(1, 6)

/** The same on `required` and `optional`; where nobody is asked, nobody is refused. */
function both(outcome: Outcome): Row['outcome'] {
  return { required: outcome, optional: outcome, none: 'anonymous' }
}

/** Every combination of credentials, in exactly one row, and what comes of it. */
export const precedence: readonly Row[] = [
  {
    authorization: ['a malformed value', 'more than one value'],
    key: 'any',
    certificate: 'any',
    outcome: both('invalid_request'),
  },
  {
    authorization: ['another scheme'],
    key: 'any',
    certificate: 'any',
    outcome: both('unsupported_scheme'),
  },
  {
    authorization: ['absent', ...bearer],
    key: ['bad'],
    certificate: 'any',
    outcome: both('invalid_api_key'),
  },
  {
    authorization: ['absent', ...bearer],
    key: notBad,
    certificate: ['unreadable'],
    outcome: both('invalid_request'),
  },
  {
    authorization: ['a bad JWT', 'an unknown opaque token', 'no token that could be one'],
    key: notBad,
    certificate: readable,
    outcome: both('invalid_token'),
  },
  {
    authorization: ['a good JWT', 'a good opaque token'],
    key: notBad,
    certificate: readable,
    outcome: both('token'),
  },
  { authorization: ['absent'], key: ['good'], certificate: readable, outcome: both('key') },
  { authorization: ['absent'], key: ['absent'], certificate: ['present'], outcome: both('certificate') },
  {
    authorization: ['absent'],
    key: ['absent'],
    certificate: ['absent'],
    outcome: { required: 'missing_token', optional: 'anonymous', none: 'anonymous' },
  },
]

/** Whether a row speaks of what is shown. */
export function covers(row: Row, shown: Shown): boolean {
  return (
    row.authorization.includes(shown.authorization) &&
    (row.key === 'any' || row.key.includes(shown.key)) &&
    (row.certificate === 'any' || row.certificate.includes(shown.certificate))
  )
}
