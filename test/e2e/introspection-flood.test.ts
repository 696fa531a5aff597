import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { tokenCalls } from '../../src/app-auth.ts'
import { type CheckOutcome, checkToken, describeOutcome } from '../support/check-outcome.ts'
import { type Gatepost, startGatepost } from '../support/gatepost.ts'
import { connectGrpc, type GrpcClient } from '../support/grpc-client.ts'
import { collectedHeapBytes } from '../support/heap.ts'
import { type OpenIdProvider, startOpenIdProvider } from '../support/openid-provider.ts'

const mebibyte = 1024 * 1024

let provider: OpenIdProvider
let gatepost: Gatepost
let client: GrpcClient
beforeAll(async () => {
  provider = await startOpenIdProvider('okta')
})
afterAll(() => provider.stop())

beforeEach(async () => {
  gatepost = await startGatepost({
    OKTA_DOMAIN: provider.origin,
    OKTA_AUDIENCE: provider.audience,
    OKTA_VALIDATION: 'introspection',
    OKTA_CLIENT_ID: provider.client.id,
    OKTA_CLIENT_SECRET: provider.client.secret,
    GATEPOST_INTROSPECTION_CACHE_TTL: '1h',
    NODE_OPTIONS: '--inspect=127.0.0.1:0',
  })
  client = connectGrpc(gatepost.grpcAddress)
}, 30_000)
afterEach(async () => {
  provider.fault = undefined
  client[Symbol.dispose]()
  await gatepost.stop()
})

function show(token: string): Promise<CheckOutcome> {
  return checkToken(client, token)
}

/** How often each outcome was seen. */
function tally(outcomes: readonly CheckOutcome[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const outcome of outcomes.map(describeOutcome)) counts[outcome] = (counts[outcome] ?? 0) + 1
  return counts
}

/** The value of a metric of the introspection cache. */
async function metric(name: string): Promise<number> {
  const text = await (await fetch(`http://${gatepost.adminAddress}/metrics`)).text()
  const [, value] = new RegExp(`^${name}{cache="okta.introspection"} (\\d+)$`, 'm').exec(text) ?? []
  return Number(value ?? 0)
}

async function heapBytes(): Promise<number> {
  const line = await gatepost.process.line((text) => text.startsWith('Debugger listening on ws://'))
  return collectedHeapBytes(line.replace('Debugger listening on ', ''))
}

test('1,000 requests at once with one unknown opaque token: the provider is asked once', async () => {
  const before = provider.fetched.introspection

  const outcomes = await Promise.all(Array.from({ length: 1_000 }, () => show('unknown-to-everybody')))

  expect(provider.fetched.introspection - before).toBe(1)
  expect(tally(outcomes)).toEqual({ 'deny invalid_token': 1_000 })
}, 60_000)

test('1,000 requests at once with one good opaque token: the provider is asked once, and all pass', async () => {
  const token = await provider.issueToken({ format: 'opaque' })
  const before = provider.fetched.introspection

  const outcomes = await Promise.all(Array.from({ length: 1_000 }, () => show(token)))

  expect(provider.fetched.introspection - before).toBe(1)
  expect(tally(outcomes)).toEqual({ allow: 1_000 })
}, 60_000)

test('10,000 bad tokens cost bounded memory and bounded calls, and no good caller notices', async () => {
  const good = await Promise.all(Array.from({ length: 20 }, () => provider.issueToken({ format: 'opaque' })))
  await Promise.all(good.map(show))
  const before = { heap: await heapBytes(), hits: await metric('gateway_answer_cache_hits_total') }
  provider.mostAtOnce = 0
  // Slow enough for calls to pile up.
  provider.fault = { kind: 'slow', delayMs: 50 }
  const bad: CheckOutcome[] = []
  const passed: CheckOutcome[] = []

  // Ten bursts, each larger than what may be under way and wait; the tokens are 80 MB in all.
  for (let burst = 0; burst < 10; burst += 1) {
    const tokens = Array.from({ length: 1_000 }, (_, at) => `bad-${burst}-${at}-`.padEnd(8_000, 'x'))
    const [refused, allowed] = await Promise.all([
      Promise.all(tokens.map(show)),
      Promise.all([...good, ...good].map(show)),
    ])
    bad.push(...refused)
    passed.push(...allowed)
  }

  const grownBytes = (await heapBytes()) - before.heap
  expect(tally(passed)).toEqual({ allow: 400 })
  expect((await metric('gateway_answer_cache_hits_total')) - before.hits).toBe(400)
  const { 'deny invalid_token': denied = 0, 'fault UNAVAILABLE': faults = 0, ...others } = tally(bad)
  expect({ counted: denied + faults, others }).toEqual({ counted: 10_000, others: {} })
  expect(denied).toBeGreaterThan(0)
  expect(faults).toBeGreaterThan(0)
  expect(provider.mostAtOnce).toBe(tokenCalls.maxConcurrent)
  // 16 MiB of refused tokens are remembered at the most.
  expect(grownBytes).toBeLessThan(40 * mebibyte)
  await gatepost.process.until(async () => {
    const { kind } = await show(await provider.issueToken({ format: 'opaque' }))
    return kind === 'allow' || undefined
  })
}, 180_000)
