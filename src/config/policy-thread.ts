import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import type { RoutePolicy } from '../core/routes.ts'
import type { DocumentResult } from './document.ts'
import { createPolicyReader, type EffectivePolicy, parsePolicy } from './effective-policy.ts'
import type { Environment } from './environment.ts'
import type { PolicyIssuer } from './policy.ts'
import type { Values } from './variables.ts'

/** What the thread is told. */
interface Job {
  gatepostPolicy: { values: Values; env: Environment; name: string; text: string }
}

/** What it answers. An issuer may hold a secret that is followed, which no message can carry: issuers come as written. */
type Answer =
  | Extract<DocumentResult<never>, { kind: 'problems' }>
  | { kind: 'document'; issuers: readonly PolicyIssuer[]; routes: RoutePolicy }

/**
 * Makes a reader of policies that works in a thread of its own: 10,000 routes are 2 MB of YAML and take more than a second
 * to read, and Envoy gives up on a Check after one. This module is its own thread's main.
 */
export function createThreadedPolicyReader(
  values: Values,
  env: Environment,
): (name: string, text: string) => Promise<DocumentResult<EffectivePolicy>> {
  return async (name, text) => {
    const answer = await askThread({ gatepostPolicy: { values, env: { ...env }, name, text } })
    if (answer.kind === 'problems') return answer
    const { issuers, routes } = answer
    const read = createPolicyReader(values, env)(name, JSON.stringify({ issuers }))
    return read.kind === 'problems' ? read : { kind: 'document', value: { ...read.value, routes } }
  }
}

function askThread(job: Job): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const thread = new Worker(new URL(import.meta.url), { workerData: job })
  thread.once('message', resolve)
  thread.once('error', reject)
  thread.once('exit', (code) => reject(new Error(`Cannot read the policy: its thread ended with ${code}`)))
  return promise
}

function answer({ gatepostPolicy: { values, env, name, text } }: Job): Answer {
  const read = parsePolicy(values, env, name, text)
  if (read.kind === 'problems') return read
  return { kind: 'document', issuers: read.document.issuers ?? [], routes: read.value.routes }
}

function isJob(data: unknown): data is Job {
  return typeof data === 'object' && data !== null && 'gatepostPolicy' in data
}

if (!isMainThread && isJob(workerData)) parentPort?.postMessage(answer(workerData))
