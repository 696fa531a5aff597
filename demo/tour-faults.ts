import { forged, type Section, unseen } from './tour-case.ts'

/** What becomes of requests when Gatepost gives no verdict. */
export const faultSection: Section = {
  title: 'Faults',
  about:
    'They are shown on two more listeners of this Envoy whose Gatepost is down: one refuses\n' +
    '(failure_mode_allow: false), one lets through (true). No client may gain an identity by it.',
  cases: [
    {
      name: 'a fault refused, good token',
      door: 'faultRefused',
      path: '/users',
      credentials: ['auth0'],
      headers: forged,
      expected: { verdict: '503', events: { decision: 'fault' } },
    },
    {
      name: 'a fault let through, forged identity',
      door: 'faultAllowed',
      path: '/users',
      headers: forged,
      expected: {
        verdict: '200 as nobody',
        headers: { 'x-upstream': /^user_service$/ },
        upstreamHeaders: unseen,
        events: { decision: 'fault' },
      },
    },
  ],
}
