/** What a request carries beside its URL; a form makes it a POST (application/x-www-form-urlencoded). */
export interface JsonRequest {
  headers?: Readonly<Record<string, string>>
  form?: Readonly<Record<string, string>>
}

/**
 * Reads a JSON document over HTTP, at a bounded cost of time and memory.
 * It rejects with an Error that names the URL and what was wrong with the answer.
 */
export type FetchJson = (url: string, request?: JsonRequest) => Promise<unknown>

/** An answer with a status other than 200. */
export class UnexpectedStatus extends Error {
  readonly status: number

  constructor(status: number) {
    super(`status ${status}`)
    this.name = 'UnexpectedStatus'
    this.status = status
  }
}
