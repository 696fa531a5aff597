import type { ReceivedRequest } from '../test/support/upstream.ts'
import type { Reply } from './send.ts'
import type { Expectation } from './tour-case.ts'

/**
 * Says in a few words what came of a request: the status, and as whom the upstream served it or why it was
 * refused.
 */
export function verdictOf(reply: Reply): string {
  return [String(reply.status), served(reply) ?? grpcStatus(reply) ?? refusal(reply)]
    .filter(Boolean)
    .join(' ')
}

function served(reply: Reply): string | undefined {
  const received = receivedRequest(reply)
  return received && `as ${received.headers['x-user-id'] ?? received.headers['x-client-id'] ?? 'nobody'}`
}

function grpcStatus({ headers }: Reply): string | undefined {
  const status = headers['grpc-status']
  return status === undefined ? undefined : `grpc-status ${status}`
}

function refusal({ headers, body }: Reply): string | undefined {
  const error = /error="([^"]*)"/.exec(headers['www-authenticate'] ?? '')?.[1]
  return error ?? problemName(body)
}

/** The last part of the problem's type, as `invalid_request` in `https://…/invalid_request`. */
function problemName(body: string): string | undefined {
  const type = parseObject(body)?.['type']
  return typeof type === 'string' ? type.split(/[/#:]/).at(-1) : undefined
}

/** Headers of the reply, or else those that the upstream got, each as a line. */
export function shownHeaders(names: readonly string[], reply: Reply): string[] {
  const received = receivedRequest(reply)?.headers ?? {}
  return names.map((name) =>
    name in reply.headers
      ? `${name}: ${reply.headers[name]}`
      : `the upstream got ${name}: ${received[name] ?? 'none'}`,
  )
}

/** What is not as expected, a line for each; empty if all is. */
export function mismatches(expected: Expectation, reply: Reply): string[] {
  return [
    ...verdictMismatch(expected, reply),
    ...headerMismatches(expected, reply),
    ...upstreamMismatches(expected, reply),
    ...bodyMismatches(expected, reply),
  ]
}

function verdictMismatch({ verdict }: Expectation, reply: Reply): string[] {
  const seen = verdictOf(reply)
  return seen === verdict ? [] : [`verdict: expected "${verdict}", seen "${seen}"`]
}

function headerMismatches({ headers = {} }: Expectation, reply: Reply): string[] {
  return Object.entries(headers)
    .filter(([name, pattern]) => !pattern.test(String(reply.headers[name] ?? '')))
    .map(([name, pattern]) => `${name}: expected ${pattern}, seen ${quoted(reply.headers[name])}`)
}

function upstreamMismatches({ upstreamHeaders = {} }: Expectation, reply: Reply): string[] {
  const seen = receivedRequest(reply)?.headers ?? {}
  return Object.entries(upstreamHeaders)
    .filter(([name, value]) => seen[name] !== value)
    .map(([name, value]) => `the upstream's ${name}: expected ${quoted(value)}, seen ${quoted(seen[name])}`)
}

const bodyChecks = {
  problem: { expected: 'a problem of RFC 9457', holds: isProblem },
  empty: { expected: 'none', holds: ({ body }: Reply) => body === '' },
}

function bodyMismatches({ body }: Expectation, reply: Reply): string[] {
  if (body === undefined) return []
  const { expected, holds } = bodyChecks[body]
  return holds(reply) ? [] : [`body: expected ${expected}, seen ${quoted(reply.body)}`]
}

function isProblem({ status, headers, body }: Reply): boolean {
  const problem = parseObject(body) ?? {}
  const texts = ['type', 'title', 'detail', 'request_id'].map((name) => problem[name])
  return (
    headers['content-type'] === 'application/problem+json' &&
    problem['status'] === status &&
    texts.every((text) => typeof text === 'string' && text !== '')
  )
}

function receivedRequest({ headers, body }: Reply): ReceivedRequest | undefined {
  return headers['x-upstream'] === undefined ? undefined : (JSON.parse(body) as ReceivedRequest)
}

function parseObject(body: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(body)
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function quoted(value: unknown): string {
  return value === undefined ? 'none' : JSON.stringify(value)
}
