import { type LimitSpec, rateProblem } from '../core/limits.ts'
import type { LimitForm, RoutePolicy } from '../core/routes.ts'
import type { DocumentPath, DocumentResult } from './document.ts'
import type { Environment, Problem } from './environment.ts'
import { readFile } from './followed-file.ts'
import { type IssuerSettings, issuerIdentifier, issuerName, readIssuers } from './issuer-settings.ts'
import { type PolicyDocument, readPolicy } from './policy.ts'
import { compileRoutes } from './route-policy.ts'
import type { Values } from './variables.ts'

/** Whom Gatepost trusts and what each route asks: the environment and the policy file together. */
export interface EffectivePolicy {
  issuers: readonly IssuerSettings[]
  routes: RoutePolicy
}

/** Reads a policy document over the environment. */
type ReadEffectivePolicy = (name: string, text: string) => DocumentResult<EffectivePolicy>

/** Makes a reader that works on the spot. */
export function createPolicyReader(values: Values, env: Environment): ReadEffectivePolicy {
  return (name, text) => {
    const read = parsePolicy(values, env, name, text)
    return read.kind === 'problems' ? read : { kind: 'document', value: read.value }
  }
}

/** Reads a policy and keeps the document beside what it comes to. */
export function parsePolicy(
  values: Values,
  env: Environment,
  name: string,
  text: string,
): ParsedPolicy | Extract<DocumentResult<never>, { kind: 'problems' }> {
  const parsed = readPolicy(name, text)
  if (parsed.kind === 'problems') return parsed
  const compiled = compile(values, env, parsed.value, parsed.locate)
  return compiled.kind === 'problems' ? compiled : { ...compiled, document: parsed.value }
}

/** A policy beside the document that it comes from. */
export interface ParsedPolicy {
  kind: 'document'
  value: EffectivePolicy
  document: PolicyDocument
}

/** Reads the policy that the environment names; without one the environment alone is the policy. */
export function readFirstPolicy(values: Values, env: Environment): DocumentResult<EffectivePolicy> {
  const { GATEPOST_POLICY_FILE: path, GATEPOST_POLICY: text } = values
  const read = createPolicyReader(values, env)
  if (path !== undefined && text !== undefined) {
    return {
      kind: 'problems',
      problems: ['GATEPOST_POLICY: set either it or GATEPOST_POLICY_FILE, not both'],
    }
  }
  if (path === undefined)
    return text === undefined ? compile(values, env, {}, () => 'policy') : read('GATEPOST_POLICY', text)
  const result = readFile(path, read)
  if (result.kind === 'document') return result
  return { kind: 'problems', problems: result.problems.map((problem) => `GATEPOST_POLICY_FILE: ${problem}`) }
}

function compile(
  values: Values,
  env: Environment,
  document: PolicyDocument,
  locate: (path: DocumentPath) => string,
): DocumentResult<EffectivePolicy> {
  const problems: Problem[] = []
  const complain = (path: DocumentPath, problem: string) => problems.push(`${locate(path)}: ${problem}`)
  const issuers = readIssuers(values, env, document, problems, complain)
  const byName = new Map(issuers.map((issuer) => [issuerName(issuer), issuerIdentifier(issuer)]))
  const limitForm = { by: values.GATEPOST_RATE_LIMIT_KEY, algorithm: values.GATEPOST_RATE_LIMIT_ALGORITHM }
  const defaults = {
    auth: values.GATEPOST_AUTH,
    scopes: values.GATEPOST_REQUIRED_SCOPES,
    limits: limitsOf(values.GATEPOST_RATE_LIMIT, limitForm, problems),
    ...(values.GATEPOST_CIRCUIT !== 'none' && { circuit: values.GATEPOST_CIRCUIT }),
    shadow: values.GATEPOST_SHADOW,
  }
  const routes = compileRoutes(defaults, document, byName, complain, {
    limitForm,
    ...(values.GATEPOST_API_KEYS_FILE !== undefined && { apiKeyHeader: values.GATEPOST_API_KEY_HEADER }),
  })
  return problems.length > 0
    ? { kind: 'problems', problems }
    : { kind: 'document', value: { issuers, routes } }
}

function limitsOf(
  rate: Values['GATEPOST_RATE_LIMIT'],
  form: LimitForm,
  problems: Problem[],
): readonly LimitSpec[] {
  if (rate === 'none') return []
  const problem = rateProblem(rate)
  if (problem) problems.push(`GATEPOST_RATE_LIMIT: ${problem}`)
  return [{ name: 'default', owner: 'defaults', rate, ...form, cost: 1 }]
}
