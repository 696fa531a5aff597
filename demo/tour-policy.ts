import { copyFile, rename } from 'node:fs/promises'
import { parseLogLine } from '../test/support/gatepost.ts'
import type { RunningProcess } from '../test/support/process.ts'
import { type Credentials, credentialFile } from './credentials.ts'
import type { DemoFiles } from './files.ts'
import type { Stack } from './stack.ts'
import {
  forged,
  refused,
  type Section,
  served,
  type TourCommand,
  type TourStep,
  unseen,
} from './tour-case.ts'

/** How long a good policy may take to hold, from its reading on. */
const adoptionMs = 5_000

/** What a route asks, and what nobody gets around. */
export function policySection(stack: Stack, credentials: Credentials): Section {
  return {
    title: 'Policy',
    about: `The policy file is ${stack.files.policy}: change it, and see.`,
    cases: [
      {
        name: 'a public route, forged identity',
        path: '/public',
        headers: forged,
        expected: served(undefined, 'public', {
          headers: { 'x-upstream': /^user_service$/ },
          upstreamHeaders: unseen,
        }),
      },
      {
        name: 'a public route, forged x_user_id',
        path: '/public',
        headers: { x_user_id: 'admin' },
        expected: { verdict: '400', events: { decision: 'none' } },
      },
      {
        name: 'a detour by an escaped slash',
        path: '/public/..%2fusers',
        expected: { verdict: '400', events: { decision: 'none' } },
      },
      {
        name: 'a method that the route has not',
        path: '/api/widgets',
        method: 'DELETE',
        credentials: ['auth0'],
        shows: ['allow'],
        expected: {
          verdict: '405 method_not_allowed',
          headers: { allow: /^GET, POST$/ },
          body: 'problem',
          events: { decision: 'deny' },
        },
      },
      {
        name: 'a preflight that Envoy answers',
        path: '/users',
        method: 'OPTIONS',
        headers: preflight('https://app.example.com'),
        shows: ['access-control-allow-origin'],
        expected: {
          verdict: '200',
          headers: { 'access-control-allow-origin': /^https:\/\/app\.example\.com$/ },
          events: { decision: 'none' },
        },
      },
      {
        name: 'one that Gatepost lets through',
        path: '/api/widgets',
        method: 'OPTIONS',
        headers: preflight('https://partner.example.com'),
        expected: served(undefined, 'widgets'),
      },
      {
        name: 'one that no route allows',
        path: '/api/beta',
        method: 'OPTIONS',
        headers: preflight('https://partner.example.com'),
        expected: refused(401, 'missing_token', 'beta'),
      },
      { name: 'a route to be opened', path: '/api/beta', expected: refused(401, 'missing_token', 'beta') },
      {
        name: 'after a bad policy, the old holds',
        path: '/api/beta',
        before: badPolicy(stack),
        expected: refused(401, 'missing_token', 'beta'),
      },
      {
        name: 'after a good one, that holds',
        path: '/api/beta',
        before: policyStep(
          stack,
          'good',
          'the policy file becomes a good one, which Gatepost sees by itself',
        ),
        patienceMs: adoptionMs,
        expected: served(undefined, 'beta'),
      },
    ],
    commands: [explanation(stack, credentials)],
  }
}

function preflight(origin: string): Record<string, string> {
  return { origin, 'access-control-request-method': 'GET' }
}

function badPolicy({ files, gatepost }: Stack): TourStep {
  const { bad } = files.otherPolicies
  return {
    does: 'the policy file becomes a bad one, and SIGHUP says so',
    line: `cp ${bad} ${files.policy} && kill -HUP ${gatepost.pid}`,
    async run() {
      await replacePolicy(files, bad)
      gatepost.signal('SIGHUP')
      return await reloading(files, gatepost, 'file not reloaded')
    },
  }
}

/** Puts another policy in the place of the file, and waits until Gatepost has read it. @param does in words. */
export function policyStep({ files, gatepost }: Stack, state: 'good' | 'enforced', does: string): TourStep {
  const other = files.otherPolicies[state]
  return {
    does,
    line: `cp ${other} ${files.policy}`,
    async run() {
      await replacePolicy(files, other)
      return await reloading(files, gatepost, 'file reloaded')
    },
  }
}

/** In one step: nobody ever reads half of it. */
async function replacePolicy({ policy }: DemoFiles, other: string): Promise<void> {
  await copyFile(other, `${policy}.new`)
  await rename(`${policy}.new`, policy)
}

/** Waits until Gatepost tells of the policy file. @returns its words and its problems. */
async function reloading(
  { folder, policy }: DemoFiles,
  gatepost: RunningProcess,
  message: string,
): Promise<readonly string[]> {
  const line = await gatepost.line((text) => {
    const logged = parseLogLine(text)
    return logged?.message.startsWith(message) === true && logged['path'] === policy
  })
  const { problems = [] } = JSON.parse(line) as { problems?: string[] }
  return [message, ...problems.map((problem) => problem.replaceAll(`${folder}/`, ''))]
}

/** Asks the running Gatepost why. */
function explanation({ files, cli }: Stack, { withoutScope }: Credentials): TourCommand {
  const asked = ['explain', 'GET', '/api/reports', '-H']
  const header = `"$(cat ${credentialFile(files.folder, 'withoutScope')})"`
  return {
    name: 'why the scope does not do',
    args: [...asked, withoutScope.join(': ')],
    line: `npx node --env-file=${cli.file} src/main.ts ${asked.join(' ')} ${header}`,
    expected: 'refused: 403 insufficient_scope',
  }
}
