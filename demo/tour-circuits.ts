import { readFile } from 'node:fs/promises'
import type { Stack } from './stack.ts'
import { type Expectation, type Section, served, type TourCase, type TourStep } from './tour-case.ts'
import { waitAsTold } from './tour-limits.ts'

const path = '/api/flaky'

/** What an override of the tour lasts. */
const overrideFor = '1s'

/** How an upstream that fails is left alone, and comes back. */
export function circuitSection(stack: Stack): Section {
  return {
    title: 'Circuits',
    about:
      'The policy file says of /api/flaky: three failures in a row open the circuit of its service for a second, two good\n' +
      'probes close it. The sample upstream answers with the status that x-answer names.',
    cases: [
      { name: 'a service that answers', path, expected: served(undefined, 'flaky') },
      ...['a first failure', 'a second one', 'a third one'].map(failing),
      {
        name: 'its circuit is open',
        path,
        shows: ['retry-after'],
        expected: { ...unfit, headers: { 'retry-after': /^1$/ } },
      },
      {
        name: 'once it is half open, a probe',
        path,
        before: waitAsTold(),
        patienceMs: 2_000,
        expected: served(undefined, 'flaky'),
      },
      { name: 'a second one', path, patienceMs: 2_000, expected: served(undefined, 'flaky') },
      { name: 'and it is closed', path, patienceMs: 2_000, expected: served(undefined, 'flaky') },
      { name: 'open because somebody says so', path, before: openByHand(stack), expected: unfit },
      { name: 'until that ends', path, patienceMs: 5_000, expected: served(undefined, 'flaky') },
    ],
  }
}

const unfit: Expectation = {
  verdict: '503 circuit_open',
  body: 'problem',
  events: { decision: 'deny', route: 'flaky' },
}

function failing(name: string): TourCase {
  return {
    name,
    path,
    headers: { 'x-answer': '503' },
    expected: { verdict: '503 as nobody', events: { decision: 'allow', route: 'flaky' } },
  }
}

function openByHand({ admin: { address, tokenFile } }: Stack): TourStep {
  const url = `http://${address}/api/circuits/flaky-service`
  const body = JSON.stringify({ override: 'open', reason: 'a migration', for: overrideFor })
  return {
    does: 'an override opens it, by the admin API',
    line: `curl -s -X POST -H "authorization: Bearer $(cat ${tokenFile})" -H 'content-type: application/json' -d '${body}' ${url}`,
    async run() {
      const token = (await readFile(tokenFile, 'utf8')).trim()
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
      const reply = await fetch(url, { method: 'POST', headers, body })
      return [`${reply.status}, ${overrideFor}`]
    },
  }
}
