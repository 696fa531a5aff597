import type { SettingName } from './routes.ts'
import type { ShadowDenial } from './shadow.ts'

/** The steps of a decision, in their order. */
export const stepNames = ['route', 'identity', 'scopes', 'claims', 'circuit', 'limits'] as const

/** One of {@link stepNames}. */
export type StepName = (typeof stepNames)[number]

/**
 * How one step of a decision went. `skipped` where an earlier one has decided, or the route asks nothing of it;
 * `reported` where it would be refused, were the part not in shadow mode.
 */
export interface ExplainedStep {
  step: StepName
  outcome: 'passed' | 'refused' | 'reported' | 'fault' | 'skipped'
  /** What was found, in one sentence or a few. */
  says: string
  /** Where the settings come from that this step goes by. */
  source?: string
}

/** A limit and what is left of it. */
export interface ExplainedLimit {
  name: string
  /** As its setting spells it, such as `100/1m`. */
  limit: string
  algorithm: string
  /** What it counts by. */
  by: string
  remaining: number
  /** Seconds until the whole quota is there again. */
  resetSeconds: number
  /** Seconds until this request would pass; absent where the limit leaves room. */
  retryAfterSeconds?: number
}

/** Why a request gets the answer that it gets. It is computed, not done: nothing is taken, counted or told. */
export interface Explanation {
  request: { method: string; authority: string; path: string }
  steps: ExplainedStep[]
  route: { name: string; service?: string; auth: string; sources: Partial<Record<SettingName, string>> }
  /** Who is calling, as far as that was established. */
  caller: {
    kind: string
    issuer?: string
    userId?: string
    clientId?: string
    scopes?: readonly string[]
    claims?: unknown
  }
  limits: ExplainedLimit[]
  /** How the upstream's request would differ from the client's; absent where it would not get it. */
  upstreamHeaders?: { set: readonly (readonly [string, string])[]; remove: readonly string[] }
  /** What the client would get beside the answer of the upstream. */
  clientHeaders: readonly (readonly [string, string])[]
  verdict: {
    decision: 'allow' | 'deny' | 'fault'
    status?: number
    reason: string
    detail: string
    cause?: string
    /** What would have refused it, were the part not in shadow mode; absent where nothing would. */
    shadow?: readonly ShadowDenial[]
  }
}
