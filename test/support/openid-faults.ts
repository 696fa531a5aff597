import type { ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

/** A way in which a provider misbehaves. Its token endpoint is spared, so that a test can still get tokens. */
export type ProviderFault =
  /** Accepts the connection and drops it. */
  | { kind: 'reset' }
  /** Answers 503. */
  | { kind: 'unavailable' }
  /** Answers rightly, but late. */
  | { kind: 'slow'; delayMs: number }
  /** Redirects to another place. */
  | { kind: 'redirect'; location: string }
  /** Sends this many bytes of well-formed JSON, with no length announced. */
  | { kind: 'huge'; bytes: number }
  /** Sends this text as `application/json`. */
  | { kind: 'body'; text: string }

/**
 * Answers a request as the fault would.
 * @returns whether it was answered; if not, the real provider is to answer now.
 */
export async function answerFaultily(fault: ProviderFault, response: ServerResponse): Promise<boolean> {
  switch (fault.kind) {
    case 'reset':
      response.destroy()
      return true
    case 'unavailable':
      response.writeHead(503, { 'content-type': 'text/plain' }).end('Service unavailable\n')
      return true
    case 'slow':
      await delay(fault.delayMs, undefined, { ref: false })
      return response.destroyed
    case 'redirect':
      response.writeHead(302, { location: fault.location }).end()
      return true
    case 'huge':
      await sendHuge(response, fault.bytes)
      return true
    case 'body':
      response.writeHead(200, { 'content-type': 'application/json' }).end(fault.text)
      return true
  }
}

async function sendHuge(response: ServerResponse, bytes: number): Promise<void> {
  const chunk = `${' '.repeat(65_535)}\n`
  response.writeHead(200, { 'content-type': 'application/json' })
  response.write('{"keys":[')
  for (let sent = 0; sent < bytes && !response.destroyed; sent += chunk.length) {
    if (!response.write(chunk)) await drained(response)
  }
  response.end(']}')
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    response.on('drain', done)
    response.on('close', done)
  })
}
