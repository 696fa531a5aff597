import { request as send } from 'undici'
import { type FetchJson, type JsonRequest, UnexpectedStatus } from '../core/fetch.ts'
import { type Outward, PassingFailure } from './resilience.ts'

/** Bounds of an answer. */
export interface AnswerBounds {
  /** Of the body; one that is larger is not read to its end. */
  maxBytes: number
}

/**
 * Makes a fetch that costs bounded time and memory whatever the other side does: no redirect is followed, no
 * compression asked for, and the body is dropped where it passes the bound.
 * @param outward the way out to this dependency: its timeout, retries and circuit.
 */
export function createFetchJson({ maxBytes }: AnswerBounds, outward: Pick<Outward, 'run'>): FetchJson {
  return async (url, request = {}) => {
    try {
      return await outward.run((signal) => fetchOnce(url, request, maxBytes, signal))
    } catch (error) {
      throw new Error(`Cannot fetch ${url}: ${describe(error)}`, { cause: error })
    }
  }
}

async function fetchOnce(
  url: string,
  request: JsonRequest,
  maxBytes: number,
  signal: AbortSignal,
): Promise<unknown> {
  // Not the global fetch: its streams cost a multiple in garbage. Neither follows a redirect unless told to.
  const { statusCode, body } = await send(url, { ...options(request), signal }).catch(passing)
  if (statusCode !== 200) {
    body.destroy()
    throw statusCode >= 500 || statusCode === 429
      ? new PassingFailure(`status ${statusCode}`)
      : new UnexpectedStatus(statusCode)
  }
  return parse(await readText(body, maxBytes).catch(passing))
}

function options({ headers, form }: JsonRequest) {
  return {
    method: form ? 'POST' : 'GET',
    headers: {
      accept: 'application/json, application/jwk-set+json',
      'accept-encoding': 'identity',
      ...(form && { 'content-type': 'application/x-www-form-urlencoded' }),
      ...headers,
    },
    ...(form && { body: new URLSearchParams(form).toString() }),
  }
}

/** The network's failures may pass; what the other side says on purpose does not. */
function passing(error: unknown): never {
  if (error instanceof TooLarge) throw error
  const { code, message } = error as { code?: string; message?: string }
  throw new PassingFailure(code ?? message ?? 'unknown', { cause: error })
}

class TooLarge extends Error {}

async function readText(body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  // Leaving the loop destroys the body, and with it the connection.
  for await (const chunk of body) {
    bytes += chunk.byteLength
    if (bytes > maxBytes) throw new TooLarge(`more than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (error) {
    throw new Error('the answer is not JSON', { cause: error })
  }
}

function describe(error: unknown): string {
  const { message } = error as { message?: string }
  return message || 'unknown'
}
