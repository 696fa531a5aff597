import { type Dispatcher, request } from 'undici'
import type { Clock } from '../core/clock.ts'
import { AddressRefused, type CheckAddress, NameUnresolved, urlProblem } from './guard.ts'
import { parseRetryAfter } from './retry.ts'

/** One attempt to deliver. */
export interface Attempt {
  url: string
  headers: Readonly<Record<string, string>>
  body: Uint8Array
  /** For all of it, from the name's look-up to the answer's last byte. */
  timeoutMs: number
}

/** Why an attempt may succeed another time. */
export type RetryReason = 'status' | 'timeout' | 'connection' | 'tls' | 'name'

/** How an attempt ended. */
export type AttemptResult = AttemptFacts &
  (
    | { kind: 'delivered'; status: number }
    /** `retryAfterMs` where the receiver asked for it, from 1 s to 24 h. */
    | { kind: 'retry'; reason: RetryReason; retryAfterMs?: number }
    /** It makes no sense to try again: the receiver said so, or the address must not be reached. */
    | { kind: 'failed'; reason: 'status' | 'address' }
    /** The receiver wants no more of them: 410. */
    | { kind: 'gone'; status: 410 }
  )

/** What is kept of every attempt. */
export interface AttemptFacts {
  /** Absent where there was no answer. */
  status?: number
  durationMs: number
  /** The first KiB of the answer as text, without control characters; empty where there was none. */
  answer: string
  /** What went wrong, in a few words, where nobody answered. */
  error?: string
}

/** What sending needs. */
export interface SenderParts {
  /** The guarded way out. */
  dispatcher: Dispatcher
  check: CheckAddress
  clock: Clock
  monotonicMs: () => number
}

/** Makes one attempt. It rejects only where the signal calls it off: then nothing is known of it. */
export type Send = (attempt: Attempt, signal?: AbortSignal) => Promise<AttemptResult>

/** How much of an answer is kept. */
const keptBytes = 1_024

/** How much of an answer is read before the connection is dropped; less than this keeps it for the next delivery. */
const maxReadBytes = 64 * 1024

/**
 * Makes the sender of attempts. Success is 2xx and nothing else. 5xx, 408, 425, 429 and whatever the network does may be
 * tried again; 410 says never again; every other status fails at once, redirects too: none is followed. An answer costs
 * at most 64 KiB and the attempt's time; one that is not complete by then is no answer, whatever its status.
 */
export function createSender({ dispatcher, check, clock, monotonicMs }: SenderParts): Send {
  return async (attempt, signal) => {
    const startedMs = monotonicMs()
    const took = () => Math.max(0, monotonicMs() - startedMs)
    const problem = urlProblem(attempt.url, check)
    if (problem !== undefined) return refused(problem, took())
    const timeout = new AbortController()
    const cancel = clock.after(attempt.timeoutMs, () => timeout.abort())
    const signals = signal ? [timeout.signal, signal] : [timeout.signal]
    try {
      const answer = await exchange(dispatcher, attempt, AbortSignal.any(signals))
      return resultOf(answer, took(), clock.now())
    } catch (error) {
      signal?.throwIfAborted()
      return faultOf(error, took(), timeout.signal.aborted ? attempt.timeoutMs : undefined)
    } finally {
      cancel()
    }
  }
}

interface Answer {
  status: number
  retryAfter: string | undefined
  text: string
}

async function exchange(
  dispatcher: Dispatcher,
  { url, headers, body }: Attempt,
  signal: AbortSignal,
): Promise<Answer> {
  const response = await request(url, { dispatcher, method: 'POST', headers, body, signal })
  const { 'retry-after': retryAfter } = response.headers
  return {
    status: response.statusCode,
    retryAfter: typeof retryAfter === 'string' ? retryAfter : undefined,
    text: safeText(await readStart(response.body)),
  }
}

/** Reads an answer to its end, or to the bound; leaving the loop before the end drops the connection. */
async function readStart(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const kept: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body) {
    if (bytes < keptBytes) kept.push(chunk.subarray(0, keptBytes - bytes))
    bytes += chunk.byteLength
    if (bytes > maxReadBytes) break
  }
  return Buffer.concat(kept)
}

// Control and format characters, such as escapes of terminals and those that turn the direction of text.
const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

function safeText(bytes: Buffer): string {
  return bytes.toString('utf8').replace(unsafe, ' ')
}

// 408 Request Timeout, 425 Too Early, 429 Too Many Requests: the request was good, the moment was not.
const passing = new Set([408, 425, 429])

function resultOf({ status, retryAfter, text }: Answer, durationMs: number, nowMs: number): AttemptResult {
  const facts = { status, durationMs, answer: text }
  if (status >= 200 && status < 300) return { kind: 'delivered', ...facts }
  if (status === 410) return { kind: 'gone', ...facts, status }
  if (status < 500 && !passing.has(status)) return { kind: 'failed', reason: 'status', ...facts }
  const retryAfterMs = parseRetryAfter(retryAfter, nowMs)
  return { kind: 'retry', reason: 'status', ...facts, ...(retryAfterMs !== undefined && { retryAfterMs }) }
}

function refused(error: string, durationMs: number): AttemptResult {
  return { kind: 'failed', reason: 'address', durationMs, answer: '', error }
}

/** @param timeoutMs the limit, where it has passed. */
function faultOf(error: unknown, durationMs: number, timeoutMs: number | undefined): AttemptResult {
  if (error instanceof AddressRefused) return refused(error.message, durationMs)
  const fault = (reason: RetryReason, text: string): AttemptResult => ({
    kind: 'retry',
    reason,
    durationMs,
    answer: '',
    error: text,
  })
  if (timeoutMs !== undefined) return fault('timeout', `no answer within ${timeoutMs} ms`)
  if (error instanceof NameUnresolved) return fault('name', error.message)
  // Messages quote what the other side sent, and names are Node's own.
  const { code, name } = error as Error & { code?: string }
  return fault(reasonOf(code ?? ''), code ?? name)
}

const timeouts = new Set(['UND_ERR_CONNECT_TIMEOUT', 'ETIMEDOUT'])

// OpenSSL's and Node's: names of certificates' faults, alerts, and a peer that does not speak TLS.
const tlsCode =
  /^(?:ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_|INVALID_CA|EPROTO$)/

function reasonOf(code: string): RetryReason {
  if (timeouts.has(code)) return 'timeout'
  return tlsCode.test(code) ? 'tls' : 'connection'
}
