import type { Denial, DenialReason } from './denials.ts'

/** The parts of a decision that can be made to report only. */
export const shadowParts = ['auth', 'rate_limit', 'circuit'] as const

/** One of {@link shadowParts}. */
export type ShadowPart = (typeof shadowParts)[number]

/** A refusal that was only reported; `fault` where the part could not even tell. */
export interface ShadowDenial {
  part: ShadowPart
  reason: DenialReason | 'fault'
}

// A request whose credentials are malformed or repeated may be read as one caller here and as another one upstream.
// And whoever shows a signature or a secret that does not verify is no customer who has yet to be moved over.
const neverShadowed: ReadonlySet<string> = new Set([
  'invalid_request',
  'malformed',
  'bad_signature',
  'unsupported_algorithm',
  'repeated_key',
  'wrong_secret',
])

/** Whether a part of the decision reports only. */
export function isShadowing(part: ShadowPart, { shadow = [] }: Shadowing): boolean {
  return shadow.includes(part)
}

/** Whether a refusal is only to be reported: where the part is in shadow mode, and it is no forgery. */
export function isShadowed(
  part: ShadowPart,
  route: Shadowing,
  { reason, cause = reason }: Pick<Denial, 'reason' | 'cause'>,
): boolean {
  return isShadowing(part, route) && !neverShadowed.has(reason) && !neverShadowed.has(cause)
}

/** The parts of a route that report only. */
interface Shadowing {
  shadow?: readonly ShadowPart[]
}

/** Keeps what the parts in shadow mode would have refused of one request. */
export interface Shadow {
  /** Notes a refusal where it is only to be reported. @returns whether the request goes on. */
  reports(part: ShadowPart, denial: Denial): boolean
  /**
   * Runs a step. Where its part is in shadow mode a fault is noted, and the request goes on without the step.
   * @throws what the step throws, where its part is not in shadow mode.
   */
  survive<T>(part: ShadowPart, step: () => T | Promise<T>): Promise<T | undefined>
  readonly reported: readonly ShadowDenial[]
}

/** Begins to keep. @param onFault told of each fault that is survived. */
export function createShadow(route: Shadowing, onFault: (error: unknown) => void): Shadow {
  const reported: ShadowDenial[] = []
  return {
    reported,

    reports(part, denial) {
      if (!isShadowed(part, route, denial)) return false
      reported.push({ part, reason: denial.reason })
      return true
    },

    async survive(part, step) {
      try {
        return await step()
      } catch (error) {
        if (!isShadowing(part, route)) throw error
        onFault(error)
        reported.push({ part, reason: 'fault' })
        return undefined
      }
    },
  }
}

/** The response header that tells a client what would have refused the request; see `GATEPOST_SHADOW_HEADER`. */
const shadowHeader = 'x-gatepost-shadow'

/** Writes that header: part and reason of each, such as `auth=missing_token, rate_limit=rate_limited`. */
export function tellShadow(reported: readonly ShadowDenial[]): readonly [name: string, value: string] {
  return [shadowHeader, reported.map(({ part, reason }) => `${part}=${reason}`).join(', ')]
}
