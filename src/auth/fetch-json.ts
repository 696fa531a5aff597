/** Bounds of one fetch. */
export interface FetchBounds {
  /** For connecting, headers and body together. */
  timeoutMs: number
  /** Of the body; one that is larger is not read to its end. */
  maxBytes: number
}

/** Reads a JSON document over HTTP. */
export type FetchJson = (url: string) => Promise<unknown>

/**
 * Makes a fetch that costs bounded time and memory whatever the other side does: no redirect is followed, no
 * compression asked for, and the body is dropped where it passes the bound.
 * @throws Error that names the URL and what was wrong with the answer.
 */
export function createFetchJson({ timeoutMs, maxBytes }: FetchBounds): FetchJson {
  return async (url) => {
    try {
      const response = await fetch(url, {
        redirect: 'manual',
        signal: AbortSignal.timeout(timeoutMs),
        headers: { accept: 'application/json, application/jwk-set+json', 'accept-encoding': 'identity' },
      })
      const text = await readText(response, maxBytes)
      if (response.status !== 200) throw new Error(`status ${response.status}`)
      return JSON.parse(text) as unknown
    } catch (error) {
      throw new Error(`Cannot fetch ${url}: ${describe(error, timeoutMs)}`, { cause: error })
    }
  }
}

async function readText(response: Response, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  // Leaving the loop cancels the body, and with it the connection.
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > maxBytes) throw new Error(`more than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function describe(error: unknown, timeoutMs: number): string {
  const { name, message, cause } = error as {
    name?: string
    message?: string
    cause?: { message?: string; code?: string }
  }
  if (name === 'TimeoutError') return `no answer within ${timeoutMs} ms`
  if (name === 'SyntaxError') return 'the answer is not JSON'
  return cause?.code ?? cause?.message ?? message ?? 'unknown'
}
