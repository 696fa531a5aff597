import type { CredentialName } from './credentials.ts'
import type { ExpectedEvents } from './events.ts'
import type { Doors } from './listeners.ts'
import type { Reply } from './send.ts'

/** A part of the tour. */
export interface Section {
  title: string
  /** What a reader must know of it. */
  about?: string
  cases: readonly TourCase[]
  /** Commands of `gatepost` to be run when the cases are through. */
  commands?: readonly TourCommand[]
}

/** One stop of the tour: a request, and what must come of it. */
export interface TourCase {
  name: string
  /** Default: `ingress`. */
  door?: keyof Doors
  path: string
  /** Default: GET. */
  method?: string
  /** Each is sent in a header of its own. Default: none. */
  credentials?: readonly CredentialName[]
  headers?: Readonly<Record<string, string>>
  /** HTTP/2 with prior knowledge. Default: HTTP/1.1. */
  http2?: boolean
  /** What is done first. */
  before?: TourStep
  /** The request is repeated until it goes as expected, but none that is sent so much later. Default: 0, sent once. */
  patienceMs?: number
  /** Headers to be shown: those of the reply, or else those that the upstream got. */
  shows?: readonly string[]
  expected: Expectation
}

/** Something that is done between two requests. */
export interface TourStep {
  /** What is done, for somebody who looks on. */
  does: string
  /** How one does it oneself: a line for a shell. */
  line: string
  /** @param lastReply what came of the request before. @returns what came of it, line by line. */
  run(lastReply: Reply | undefined): Promise<readonly string[]>
}

/** A command of `gatepost`. */
export interface TourCommand {
  name: string
  /** What follows `gatepost`. */
  args: readonly string[]
  /** The same for a shell, in the checkout. */
  line: string
  /** A line of its answer. */
  expected: string
}

/** What must come of a request. What is left out is not looked at. */
export interface Expectation {
  /** In the words of `verdictOf`. */
  verdict: string
  /** Patterns that headers of the reply must match. */
  headers?: Readonly<Record<string, RegExp>>
  /** The exact headers the upstream must see; undefined: it must not see that one. */
  upstreamHeaders?: Readonly<Record<string, string | undefined>>
  body?: 'problem' | 'empty'
  /** What Gatepost must tell of it; `none` where it must not even hear of it. */
  events: ExpectedEvents | 'none'
}

/** An upstream served the request. @param caller as whom; undefined: as nobody. */
export function served(
  caller: string | undefined,
  route: string,
  more: Pick<Expectation, 'headers' | 'upstreamHeaders'> = {},
): Expectation {
  return {
    verdict: `200 as ${caller ?? 'nobody'}`,
    ...more,
    events: { decision: 'allow', route, ...(caller !== undefined && { caller }) },
  }
}

/** Gatepost refused the caller, with a problem of RFC 9457. @param events what is told beside the reason. */
export function refused(
  status: number,
  reason: string,
  route: string,
  { headers, ...events }: Pick<Expectation, 'headers'> & Partial<ExpectedEvents> = {},
): Expectation {
  return {
    verdict: `${status} ${reason}`,
    ...(headers && { headers }),
    body: 'problem',
    events: { decision: 'deny', route, authFailed: reason, ...events },
  }
}

/** A caller asked too often. @param limit the one that refuses. */
export function limited(
  caller: string,
  route: string,
  limit: string,
  headers: Expectation['headers'] = {},
): Expectation {
  return {
    verdict: '429 rate_limited',
    headers: { 'retry-after': /^\d+$/, ...headers },
    body: 'problem',
    events: { decision: 'deny', route, caller, exceeded: limit },
  }
}

/** Headers by which a client would be somebody else. */
export const forged = { 'x-user-id': 'admin', 'x-auth-scopes': 'everything', 'x-gatepost-plan': 'gold' }

/** The upstream gets none of {@link forged}. */
export const unseen = { 'x-user-id': undefined, 'x-auth-scopes': undefined, 'x-gatepost-plan': undefined }
