import { setTimeout as delay } from 'node:timers/promises'
import { Pool } from 'undici'

/** What is sent: a request that is told from every other by its path. */
export interface Plan {
  /** Begins every path; no other load may have the same. */
  name: string
  requests: number
  /** When they are due, whatever the answers take. */
  perSecond: number
  /** Keys of good callers, which take turns, by their client ids. */
  keys: ReadonlyMap<string, string>
  /** Characters by which each path is longer than it need be. */
  padding?: number
}

/** A request that was sent, and what came of it. Times are in milliseconds since the epoch. */
export interface SentRequest {
  /** Without query, and no other request's. */
  path: string
  /** Whose key it carried; undefined for one with a bad key, which is to be refused. */
  client: string | undefined
  dueAtMs: number
  answeredAtMs: number
  /** Of the answer; 0 where none came. */
  status: number
}

/** A load under way. */
export interface Load {
  /** Settles once so many of them have been sent, from 0 to 1. */
  reached(share: number): Promise<void>
  /** All of them, in the order in which they were due. */
  done: Promise<SentRequest[]>
}

/** One request in so many carries a bad key. */
const badEvery = 20

/** A key of the right form that nobody knows. */
const badKey = `gp_nobody_${'x'.repeat(43)}`

/** How long an answer is waited for. Envoy gives up much earlier. */
const answerLimitMs = 20_000

/** At most so many requests are under way at once; what is due beyond that waits, and its wait counts. */
const connections = 128

/** Milliseconds since the epoch, and parts of one. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now()
}

/** Begins to send GET requests at a steady rate. A late answer delays no other request, and counts from when it was due. */
export function startLoad(origin: string, plan: Plan): Load {
  const waiting: { count: number; resolve: () => void }[] = []
  let begun = 0

  function sent(count: number): void {
    begun = count
    for (const { resolve } of waiting.filter((one) => one.count <= begun)) resolve()
  }

  return {
    async reached(share) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const count = Math.floor(share * plan.requests)
      if (count <= begun) return
      waiting.push({ count, resolve })
      await promise
    },
    done: sendAll(origin, plan, sent),
  }
}

async function sendAll(
  origin: string,
  { name, requests, perSecond, keys, padding = 0 }: Plan,
  sent: (count: number) => void,
): Promise<SentRequest[]> {
  const pool = new Pool(origin, { connections, pipelining: 1, headersTimeout: answerLimitMs })
  const clients = [...keys]
  const beganAtMs = nowMs()
  const open: Promise<SentRequest>[] = []
  const filler = padding > 0 ? `/${'p'.repeat(padding)}` : ''
  while (open.length < requests) {
    const due = Math.min(requests, Math.floor(((nowMs() - beganAtMs) / 1_000) * perSecond))
    for (let at = open.length; at < due; at += 1) {
      const [client, key] = at % badEvery === 0 ? [undefined, badKey] : clients[at % clients.length]!
      const dueAtMs = beganAtMs + (at / perSecond) * 1_000
      open.push(sendOne(pool, key, { path: `/users/${name}-${at}${filler}`, client, dueAtMs }))
    }
    sent(open.length)
    await delay(2)
  }
  const answered = await Promise.all(open)
  await pool.close()
  return answered
}

async function sendOne(
  pool: Pool,
  key: string,
  request: Pick<SentRequest, 'path' | 'client' | 'dueAtMs'>,
): Promise<SentRequest> {
  const status = await answerTo(pool, key, request.path)
  return { ...request, answeredAtMs: nowMs(), status }
}

async function answerTo(pool: Pool, key: string, path: string): Promise<number> {
  try {
    const { statusCode, body } = await pool.request({ method: 'GET', path, headers: { 'x-api-key': key } })
    await body.dump()
    return statusCode
  } catch {
    return 0
  }
}
