import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { CheckRequest__Output } from '../../src/envoy/gen/envoy/service/auth/v3/CheckRequest.ts'
import type { CheckResponse__Output } from '../../src/envoy/gen/envoy/service/auth/v3/CheckResponse.ts'
import { loadProtos } from '../../src/envoy/protos.ts'
import { type ExtAuthzDoor, openExtAuthzDoor } from '../support/ext-authz-door.ts'
import { applyToWire, type Mutant, messageOf, mutants } from './mutants.ts'
import { makeStock } from './stock.ts'

/** How many requests are tried; 2,000 are enough for a first look. */
const runs = Number(process.env['FUZZ_RUNS'] ?? 100_000)

/** With the seed that a failure names, the same requests come again. */
const seed = process.env['FUZZ_SEED'] === undefined ? {} : { seed: Number(process.env['FUZZ_SEED']) }

const limitMs = 10 * 60_000

const { Check } = loadProtos().Authorization

test(
  `of ${runs} mutated requests only those with the one good token pass, none is a fault, and nothing piles up`,
  async () => {
    const { door, stock, tally } = await setUp()
    const heapInUse = garbageCollector()
    const heap: number[] = []
    let done = 0

    const property = fc.asyncProperty(mutants(stock), async (mutant) => {
      count(tally, await outcomeOf(mutant, door, stock.good))
      done += 1
      if (done === Math.floor(runs / 5) || done === runs) heap.push(heapInUse())
    })
    await fc.assert(property, { numRuns: runs, ...seed })

    const [afterFirstFifth = 0, atTheEnd = 0] = heap
    expect(atTheEnd).toBeLessThan(afterFirstFifth * 1.1)
    // The mutants are no idle noise: they get past every check, each to the next.
    const depth = ['malformed', 'unknown_issuer', 'unsupported_algorithm', 'bad_signature', 'expired']
    expect([...tally.keys()]).toEqual(expect.arrayContaining(['allow', 'deny', 'undecodable', ...depth]))
  },
  limitMs,
)

/**
 * Sends a mutant to the door.
 * @throws Error where the outcome is not as it must be; what must be is found out without any of the code under test.
 */
async function outcomeOf(mutant: Mutant, door: ExtAuthzDoor, good: string): Promise<string> {
  const bytes = applyToWire(Check.requestSerialize(messageOf(mutant)), mutant.wire)
  const message = decode(bytes, mutant)
  if (!message) return 'undecodable'
  const response = await door.checkBytes(bytes).catch(() => undefined)
  door.faulted.length = 0
  // A setting of Envoy's route that makes no sense is a fault on purpose; only a changed byte can bring one here.
  if (Object.keys(message.attributes?.context_extensions ?? {}).length > 0) return 'configured'
  if (!response) throw new Error('a fault')
  const { kind, objection } = showsGoodToken(message, good) ? allowOf(response, message) : denyOf(response)
  if (objection) throw new Error(objection)
  return kind
}

/** Decodes as the gRPC server does, which answers an error where the bytes are no message. */
function decode(bytes: Buffer, { wire }: Mutant): CheckRequest__Output | undefined {
  try {
    return Check.requestDeserialize(bytes)
  } catch (error) {
    if (wire.length === 0) throw error
    return undefined
  }
}

function denyOf({ ok_response, denied_response }: CheckResponse__Output) {
  const isClean = !ok_response && /^(Unauthorized|BadRequest)$/.test(denied_response?.status?.code ?? '')
  return { kind: 'deny', objection: isClean ? undefined : 'not denied, and without the good token' }
}

function allowOf({ ok_response, denied_response }: CheckResponse__Output, message: CheckRequest__Output) {
  const isClean = ok_response && !denied_response
  const objection = isClean ? objectionToHeaders(message, ok_response) : 'not allowed with the good token'
  return { kind: 'allow', objection }
}

type OkResponse = NonNullable<CheckResponse__Output['ok_response']>

function objectionToHeaders(message: CheckRequest__Output, { headers, headers_to_remove }: OkResponse) {
  const set = (headers ?? []).map(({ header }) => `${header?.key}: ${header?.value}`).join('; ')
  if (set !== 'x-user-id: 42; x-auth-issuer: https://login.example.com/') return `set ${set}`
  const removed = new Set(headers_to_remove)
  const left = [...headerNames(message), 'x-client-id', 'x-auth-scopes'].filter(
    (name) => /^(x-client-id|x-auth-scopes|x-gatepost-.*)$/s.test(name) && !removed.has(name),
  )
  return left.length > 0 ? `left ${left}` : undefined
}

function headerNames({ attributes }: CheckRequest__Output): string[] {
  const { headers = {}, header_map } = attributes?.request?.http ?? {}
  return [...Object.keys(headers), ...(header_map?.headers ?? []).map(({ key }) => key ?? '')]
}

function showsGoodToken({ attributes }: CheckRequest__Output, good: string): boolean {
  const { headers = {}, header_map } = attributes?.request?.http ?? {}
  const shown = Object.entries(headers).map(([key, value]) => ({ key, value, raw_value: undefined }))
  const values = [...shown, ...(header_map?.headers ?? [])]
    .filter(({ key }) => key === 'authorization')
    .map(({ value, raw_value }) => (raw_value?.length ? raw_value.toString('utf8') : (value ?? '')))
  if (values.length !== 1) return false
  const words = (values[0] ?? '').trim().split(' ').filter(Boolean)
  return words.length === 2 && words[0]?.toLowerCase() === 'bearer' && words[1] === good
}

/** A door that counts refusals by cause and keeps nothing of a request. */
async function setUp() {
  const { clock, stock, authenticator } = await makeStock()
  const tally = new Map<string, number>()
  const authenticate = authenticator({
    cacheHit: () => count(tally, 'cache hit'),
    cacheMiss: () => count(tally, 'cache miss'),
    refused: (_issuer, cause) => count(tally, cause),
  })
  return { door: openExtAuthzDoor({ clock, authenticate }), stock, tally }
}

function count(tally: Map<string, number>, name: string): void {
  tally.set(name, (tally.get(name) ?? 0) + 1)
}

/** @returns a function that collects all garbage and tells how many bytes of the heap are left in use. */
function garbageCollector(): () => number {
  setFlagsFromString('--expose_gc')
  const gc = runInNewContext('gc') as () => void
  return () => {
    gc()
    return process.memoryUsage().heapUsed
  }
}
