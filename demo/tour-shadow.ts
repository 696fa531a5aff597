import type { Stack } from './stack.ts'
import { refused, type Section, served, type TourCase } from './tour-case.ts'
import { policyStep } from './tour-policy.ts'

const path = '/api/next'

/** How long a policy may take to hold, from its reading on. */
const adoptionMs = 5_000

/** What would be refused is reported, until it is refused. */
export function shadowSection(stack: Stack): Section {
  return {
    title: 'Shadow mode',
    about:
      'The policy file says of /api/next that authentication and limits only report: requests go on, and metrics, events\n' +
      'and (because GATEPOST_SHADOW_HEADER is true) a header tell what would have refused them.',
    cases: [
      reported('no token, and it goes on', /^auth=missing_token$/, { authFailed: 'missing_token' }),
      reported('too often as well', /^auth=missing_token, rate_limit=rate_limited$/, {
        authFailed: 'missing_token',
        exceeded: 'next',
      }),
      {
        name: 'enforced',
        path,
        before: policyStep(stack, 'enforced', 'the policy file takes the route out of shadow mode'),
        patienceMs: adoptionMs,
        expected: refused(401, 'missing_token', 'next'),
      },
    ],
  }
}

function reported(name: string, header: RegExp, told: { authFailed: string; exceeded?: string }): TourCase {
  const expected = served(undefined, 'next', { headers: { 'x-gatepost-shadow': header } })
  return {
    name,
    path,
    shows: ['x-gatepost-shadow'],
    expected: { ...expected, events: { decision: 'allow', route: 'next', ...told } },
  }
}
