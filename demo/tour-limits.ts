import { setTimeout as delay } from 'node:timers/promises'
import { limited, type Section, served, type TourStep } from './tour-case.ts'

const rateLimit = ['ratelimit']

/** How often a caller may ask. */
export const limitSection: Section = {
  title: 'Limits',
  about:
    'They stand in the policy file: /api/pace two in six seconds, /api/reports one export and five reports a minute,\n' +
    '/api/search one a minute, for callers whose token says `plan: gold` five.',
  cases: [
    {
      name: 'the first of two',
      path: '/api/pace',
      credentials: ['auth0'],
      shows: rateLimit,
      expected: served('demo-app@clients', 'pace', {
        headers: { ratelimit: /^"pace";r=1;t=\d$/, 'ratelimit-policy': /^"pace";q=2;w=6$/ },
      }),
    },
    {
      name: 'the second',
      path: '/api/pace',
      credentials: ['auth0'],
      shows: rateLimit,
      expected: served('demo-app@clients', 'pace', { headers: { ratelimit: /^"pace";r=0;t=\d$/ } }),
    },
    {
      name: 'one too many',
      path: '/api/pace',
      credentials: ['auth0'],
      shows: ['retry-after', 'ratelimit', 'ratelimit-policy', 'x-ratelimit-reset'],
      expected: limited('demo-app@clients', 'pace', 'pace', {
        'retry-after': /^[1-3]$/,
        ratelimit: /^"pace";r=0;t=[1-3]$/,
      }),
    },
    {
      name: 'after exactly that time',
      path: '/api/pace',
      credentials: ['auth0'],
      before: waitAsTold(),
      shows: rateLimit,
      expected: served('demo-app@clients', 'pace'),
    },
    {
      name: 'two limits at once',
      path: '/api/reports',
      credentials: ['auth0'],
      shows: rateLimit,
      expected: served('demo-app@clients', 'reports', {
        headers: { ratelimit: /^"exports";r=0;t=\d+, "reports";r=4;t=\d+$/ },
      }),
    },
    {
      name: 'one refuses, the other stays at 4',
      path: '/api/reports',
      credentials: ['auth0'],
      shows: ['retry-after', 'ratelimit'],
      expected: limited('demo-app@clients', 'reports', 'exports', {
        ratelimit: /^"exports";r=0;t=\d+, "reports";r=4;t=\d+$/,
      }),
    },
    {
      name: 'the free plan',
      path: '/api/search',
      credentials: ['free'],
      shows: rateLimit,
      expected: served('fred', 'search', { headers: { 'ratelimit-policy': /^"search";q=1;w=60$/ } }),
    },
    {
      name: 'the free plan, once more',
      path: '/api/search',
      credentials: ['free'],
      shows: ['retry-after'],
      expected: limited('fred', 'search', 'search'),
    },
    {
      name: 'the gold plan',
      path: '/api/search',
      credentials: ['gold'],
      shows: rateLimit,
      expected: served('greta', 'search', { headers: { 'ratelimit-policy': /^"search";q=5;w=60$/ } }),
    },
    {
      name: 'the gold plan, once more',
      path: '/api/search',
      credentials: ['gold'],
      shows: rateLimit,
      expected: served('greta', 'search', { headers: { ratelimit: /^"search";r=3;t=\d+$/ } }),
    },
  ],
}

/** Waits as long as the refusal said, and not a moment longer. */
export function waitAsTold(): TourStep {
  return {
    does: 'wait as long as Retry-After says',
    line: 'sleep 3',
    async run(lastReply) {
      const seconds = Number(lastReply?.headers['retry-after'] ?? 0)
      await delay(seconds * 1_000)
      return [`${seconds} s`]
    },
  }
}
