import { denialRow } from '../../src/core/denials.ts'
import { type BearerChallenge, bearerChallenge } from '../../src/core/reply.ts'
import { outcomeOf, readJson, unless, type VectorSet } from './report.ts'

interface Row {
  name: string
  wwwAuthenticate: string
  status: number
}

const realm = 'api'

/** What each row is made from. The rows tell the outcome alone; the names are those of the suite they come from. */
const challenges: Readonly<Record<string, BearerChallenge>> = {
  'should raise an Unauthorized error': { realm },
  'should raise an Invalid Request error': {
    realm,
    error: 'invalid_request',
    description: 'Invalid Request',
  },
  'should raise an Invalid Request error with a custom message': {
    realm,
    error: 'invalid_request',
    description: 'Custom Message',
  },
  'should avoid nested double quotes in header': {
    realm,
    error: 'invalid_request',
    description: 'expected "foo" got "bar"',
  },
  'should raise an Invalid Token error': { realm, error: 'invalid_token', description: 'Invalid Token' },
  'should omit error attributes in WWW-Authenticate when useErrorCode is false': { realm },
  'should keep the custom message but still omit error attributes when useErrorCode is false': {
    realm,
    description: 'Custom Message',
  },
  'should raise an Insufficient Scope error': {
    realm,
    error: 'insufficient_scope',
    description: 'Insufficient Scope',
    scope: ['foo', 'bar'],
  },
}

/** The challenges of RFC 6750, as Auth0's middleware writes them. */
export const bearerErrors: VectorSet = {
  entry: 'auth0-bearer-errors.json',
  async run(path) {
    const { cases } = readJson<{ cases: Row[] }>(path)
    const isDpop = ({ wwwAuthenticate }: Row) => /dpop/i.test(wwwAuthenticate)
    const rows = cases.filter((row) => !isDpop(row))
    return {
      outcomes: await Promise.all(rows.map((row) => outcomeOf(row.name, () => check(row)))),
      leftOut: cases.filter(isDpop).map(({ name }) => ({ name, why: 'DPoP' })),
    }
  },
}

function check({ name, wwwAuthenticate, status }: Row): string | undefined {
  const challenge = challenges[name]
  if (!challenge) return 'nothing is known of this row'
  // That suite can hide the error of a 400: then there is none whose status we could look up.
  const reason = challenge.error ?? (status === 401 ? 'missing_token' : undefined)
  return (
    unless(bearerChallenge(challenge), wwwAuthenticate) ??
    (reason && unless(denialRow({ reason }).httpStatus, status))
  )
}
