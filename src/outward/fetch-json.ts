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
  const response = await fetch(url, { ...options(request), redirect: 'manual', signal }).catch(passing)
  if (response.status !== 200) {
    await response.body?.cancel()
    throw response.status >= 500 || response.status === 429
      ? new PassingFailure(`status ${response.status}`)
      : new UnexpectedStatus(response.status)
  }
  return parse(await readText(response, maxBytes).catch(passing))
}

function options({ headers, form }: JsonRequest): RequestInit {
  return {
    headers: {
      accept: 'application/json, application/jwk-set+json',
      'accept-encoding': 'identity',
      ...headers,
    },
    ...(form && { method: 'POST', body: new URLSearchParams(form) }),
  }
}

/** The network's failures may pass; what the other side says on purpose does not. */
function passing(error: unknown): never {
  if (error instanceof TooLarge) throw error
  const { cause, message } = error as { cause?: { code?: string; message?: string }; message?: string }
  throw new PassingFailure(cause?.code ?? cause?.message ?? message ?? 'unknown', { cause: error })
}

class TooLarge extends Error {}

async function readText(response: Response, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  // Leaving the loop cancels the body, and with it the connection.
  for await (const chunk of response.body ?? []) {
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
