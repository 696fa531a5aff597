import { describe, expect, test } from '@jest/globals'
import type { Publish } from '../../src/core/events.ts'
import { anonymous, type Caller } from '../../src/core/identity.ts'
import type { Limiter, LimitSpec } from '../../src/core/limits.ts'
import { createQuota, type ExceededEvents, type QuotaResult } from '../../src/core/quota.ts'
import type { RequestContext } from '../../src/core/request.ts'
import { MemoryLimiter } from '../../src/ratelimit/memory.ts'
import { alice } from '../support/decisions.ts'
import { requestWith } from '../support/requests.ts'

const bob: Caller = {
  kind: 'token',
  issuer: 'https://login.example.com/',
  clientId: 'other',
  scopes: [],
  claims: {},
}

const beginMs = Date.UTC(2030, 0, 1)

function limit(name: string, more: Partial<LimitSpec> = {}): LimitSpec {
  return {
    name,
    owner: 'route:orders',
    rate: { limit: 2, windowMs: 60_000 },
    algorithm: 'fixed-window',
    by: [{ kind: 'client' }],
    cost: 1,
    ...more,
  }
}

interface Asked {
  caller?: Caller
  atMs?: number
  request?: Partial<RequestContext>
}

/** A quota of these limits over real counters, and the events that it told. */
function quotaOf(
  limits: readonly LimitSpec[],
  events: ExceededEvents = 'first',
  limiter: Limiter = new MemoryLimiter(),
) {
  const told: Parameters<Publish>[0][] = []
  const quota = createQuota({ limiter, hash: (text) => text, publish: (event) => told.push(event), events })
  const asked = ({ caller = alice, atMs = 0, request = {} }: Asked) => ({
    route: { name: 'orders', auth: 'required' as const, scopes: [], limits },
    caller,
    request: requestWith({}, { receivedAtMs: beginMs + atMs, ...request }),
  })
  return {
    told,
    take: async (request: Asked = {}) => quota.take(asked(request)),
    peek: async (request: Asked = {}) => quota.peek(asked(request)),
  }
}

function headersOf({ headers = [] }: QuotaResult): Record<string, string> {
  return Object.fromEntries(headers)
}

async function times(count: number, take: () => Promise<QuotaResult>): Promise<string[]> {
  const kinds: string[] = []
  for (let at = 0; at < count; at += 1) kinds.push((await take()).kind)
  return kinds
}

describe('within the quota', () => {
  test('a request passes, and is told what is left', async () => {
    const { take, told } = quotaOf([limit('fair')])

    const granted = await take()

    expect(granted.kind).toBe('granted')
    expect(headersOf(granted)).toEqual({
      ratelimit: '"fair";r=1;t=60',
      'ratelimit-policy': '"fair";q=2;w=60',
      'x-ratelimit-limit': '2',
      'x-ratelimit-remaining': '1',
      'x-ratelimit-reset': '60',
    })
    expect(told).toEqual([])
  })

  test.each([[[]], [undefined]])(
    'where there is no limit, %j, nothing is asked and nothing told',
    async (limits) => {
      const nobody: Limiter = {
        take: () => {
          throw new Error('asked')
        },
        peek: () => ({ allowed: true, states: [] }),
      }
      const { take } = quotaOf(limits as never, 'first', nobody)

      expect(await take()).toEqual({ kind: 'granted', headers: [] })
    },
  )

  test('a store that answers later is waited for', async () => {
    const limiter = new MemoryLimiter()
    const { take } = quotaOf([limit('fair')], 'first', {
      take: async (charges, nowMs) => limiter.take(charges, nowMs),
      peek: async (charges, nowMs) => limiter.peek(charges, nowMs),
    })

    expect(await times(3, take)).toEqual(['granted', 'granted', 'denial'])
  })

  test('a store that cannot tell is a fault, and no denial', async () => {
    const { take } = quotaOf([limit('fair')], 'first', {
      take: () => Promise.reject(new Error('no store')),
      peek: () => Promise.reject(new Error('no store')),
    })

    await expect(take()).rejects.toThrow('no store')
  })
})

describe('beyond the quota', () => {
  test('a request is refused with when to come again, and by which limit', async () => {
    const { take } = quotaOf([limit('fair'), limit('cap', { rate: { limit: 9, windowMs: 1_000 } })])
    await times(2, take)

    const refused = await take({ atMs: 500 })

    expect(refused).toMatchObject({
      kind: 'denial',
      reason: 'rate_limited',
      detail: 'Too many requests: try again in 60 s.',
      cause: 'fair',
    })
    expect(headersOf(refused)).toEqual({
      ratelimit: '"fair";r=0;t=60, "cap";r=7;t=1',
      'ratelimit-policy': '"fair";q=2;w=60, "cap";q=9;w=1',
      'x-ratelimit-limit': '2',
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset': '60',
      'retry-after': '60',
    })
  })

  test('every limit that refuses is named, and the longest wait is told', async () => {
    const { take } = quotaOf([limit('minute'), limit('hour', { rate: { limit: 2, windowMs: 3_600_000 } })])
    await times(2, take)

    expect(await take()).toMatchObject({
      cause: 'minute hour',
      detail: 'Too many requests: try again in 3600 s.',
    })
  })

  test('nothing is taken from the limits that had room', async () => {
    const { take, peek } = quotaOf([
      limit('one', { rate: { limit: 1, windowMs: 60_000 } }),
      limit('many', { rate: { limit: 9, windowMs: 60_000 } }),
    ])
    await times(5, take)

    expect((await peek()).states).toMatchObject([{ remaining: 0 }, { remaining: 8 }])
  })

  test('each caller has a counter of their own', async () => {
    const { take } = quotaOf([limit('fair')])
    await times(2, take)

    expect((await take()).kind).toBe('denial')
    expect((await take({ caller: bob })).kind).toBe('granted')
    expect((await take({ caller: anonymous })).kind).toBe('granted')
  })

  test('a cost of several counts so', async () => {
    const { take } = quotaOf([limit('fair', { rate: { limit: 5, windowMs: 60_000 }, cost: 2 })])

    expect(await times(3, take)).toEqual(['granted', 'granted', 'denial'])
  })
})

describe('looking', () => {
  test('takes nothing and tells nobody, however often', async () => {
    const { take, peek, told } = quotaOf([limit('fair')], 'all')
    await times(2, take)

    const looks = [await peek(), await peek(), await peek()]

    expect(looks.map(({ allowed }) => allowed)).toEqual([false, false, false])
    expect(looks[0]?.states).toMatchObject([{ name: 'fair', remaining: 0, retryAfterMs: 60_000 }])
    expect(told).toEqual([])
  })

  test('asks no store where there is no limit, as taking asks none', async () => {
    const cannotTell = () => Promise.reject(new Error('Cannot reach the store'))
    const { take, peek } = quotaOf([], 'first', { take: cannotTell, peek: cannotTell })

    expect(await take()).toEqual({ kind: 'granted', headers: [] })
    expect(await peek()).toEqual({ allowed: true, states: [] })
  })
})

describe('rate_limit.exceeded', () => {
  test('says who, where and how much', async () => {
    const { take, told } = quotaOf([limit('fair')])

    await times(3, take)

    expect(told).toEqual([
      {
        type: 'rate_limit.exceeded',
        atMs: beginMs,
        requestId: 'request-1',
        data: {
          client_id: 'shop',
          route: 'orders',
          name: 'fair',
          limit: 2,
          window: '1m',
          requests_made: 2,
          reset_at: '2030-01-01T00:01:00.000Z',
        },
      },
    ])
  })

  test('of an anonymous caller names nobody', async () => {
    const { take, told } = quotaOf([limit('fair')])

    await times(3, () => take({ caller: anonymous }))

    expect(told).toHaveLength(1)
    expect(told[0]?.data).not.toHaveProperty('client_id')
  })

  test('is told once for each key and window', async () => {
    const { take, told } = quotaOf([limit('fair')])
    await times(5, take)
    await times(5, () => take({ caller: bob }))
    const inFirst = told.length
    await times(5, () => take({ atMs: 60_000 }))

    expect([inFirst, told.length]).toEqual([2, 3])
  })

  test('is told of each limit that refuses', async () => {
    const { take, told } = quotaOf([
      limit('one'),
      limit('two'),
      limit('wide', { rate: { limit: 9, windowMs: 1_000 } }),
    ])

    await times(4, take)

    expect(told.map(({ data }) => (data as { name: string }).name)).toEqual(['one', 'two'])
  })

  test('is told each time where all are wanted', async () => {
    const { take, told } = quotaOf([limit('fair')], 'all')

    await times(5, take)

    expect(told).toHaveLength(3)
  })

  test('of GCRA is told again no later than a window', async () => {
    const { take, told } = quotaOf([limit('fair', { algorithm: 'gcra', burst: 4 })])
    await times(6, take)

    await times(6, () => take({ atMs: 59_999 }))
    const within = told.length
    await times(6, () => take({ atMs: 60_000 }))

    expect([within, told.length]).toEqual([1, 2])
  })

  test('is remembered for the latest ten thousand keys: memory does not grow with callers', async () => {
    const { take, told } = quotaOf([limit('fair', { by: [{ kind: 'header', name: 'x-key' }], cost: 3 })])
    const ask = (key: number) => take({ request: { headers: new Map([['x-key', `${key}`]]) } })

    for (let key = 0; key < 10_001; key += 1) await ask(key)
    const after = told.length
    await ask(10_000)
    await ask(0)

    expect([after, told.length]).toEqual([10_001, 10_002])
  })
})
