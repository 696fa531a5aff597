import { expect, test } from '@jest/globals'
import fc, { type Arbitrary } from 'fast-check'
import { decisionMetadata } from '../../src/core/decision.ts'
import { Fault } from '../../src/core/fault.ts'
import type { Gateway } from '../../src/core/gateway.ts'
import type { HTTPAccessLogEntry } from '../../src/envoy/gen/envoy/data/accesslog/v3/HTTPAccessLogEntry.ts'
import type { StreamAccessLogsMessage__Output } from '../../src/envoy/gen/envoy/service/accesslog/v3/StreamAccessLogsMessage.ts'
import type { ProcessingRequest__Output } from '../../src/envoy/gen/envoy/service/ext_proc/v3/ProcessingRequest.ts'
import type { ProcessingResponse__Output } from '../../src/envoy/gen/envoy/service/ext_proc/v3/ProcessingResponse.ts'
import type { Struct } from '../../src/envoy/gen/google/protobuf/Struct.ts'
import { loadProtos } from '../../src/envoy/protos.ts'
import { createSeal } from '../../src/envoy/seal.ts'
import { createBus } from '../../src/events/bus.ts'
import { createMetrics } from '../../src/observability/metrics.ts'
import { createOutcomeRecorder } from '../../src/observability/outcomes.ts'
import { openAccessLogDoor } from '../support/access-log-door.ts'
import { alice, allowWith } from '../support/decisions.ts'
import { expectValidEvent } from '../support/event-schema.ts'
import { type ExtProcDoor, openExtProcDoor, type ProcStream } from '../support/ext-proc-door.ts'
import { noSources } from '../support/metrics.ts'
import { createTestGateway, type TestGatewayOptions } from '../support/test-gateway.ts'
import { applyToWire } from './mutants.ts'
import { makeStock } from './stock.ts'
import { metadata, processingRequestOf, type Stream, type StreamMessage, streams } from './streams.ts'

/** How much is tried; 2,000 are enough for a first look. */
const runs = Number(process.env['FUZZ_RUNS'] ?? 100_000)

/** With the seed that a failure names, the same comes again. */
const seed = process.env['FUZZ_SEED'] === undefined ? {} : { seed: Number(process.env['FUZZ_SEED']) }

const limitMs = 20 * 60_000

const { Process } = loadProtos().ExternalProcessor
const { StreamAccessLogs } = loadProtos().AccessLogService

type Tally = Map<string, number>

function count(tally: Tally, name: string): void {
  tally.set(name, (tally.get(name) ?? 0) + 1)
}

/** A gateway all of whose events are held against their schemas, and whose outcomes are counted in real metrics. */
function watchedGateway(options: Pick<TestGatewayOptions, 'authenticate'>) {
  const metrics = createMetrics(noSources)
  let completed = 0
  const bus = createBus({
    sinks: [
      {
        name: 'schema',
        write(events) {
          for (const event of events) expectValidEvent(event)
          completed += events.filter(({ event_type }) => event_type === 'request.completed').length
        },
      },
    ],
    capacity: 10_000,
    newId: () => '9f3b6c3e-2c3d-4f43-8f0f-0c1d1f1e2a3b',
    defer: () => undefined,
    onPublished: () => undefined,
    onDrop: () => {
      throw new Error('an event was dropped')
    },
  })
  const gateway = createTestGateway({
    ...options,
    publish: bus.publish,
    onOutcome: createOutcomeRecorder(metrics),
  })
  return {
    gateway,
    metrics,
    /** Sends the events of what was done just now through their schemas. @returns how many requests have ended. */
    completedNow() {
      completed = 0
      bus.flush()
      return completed
    },
  }
}

test(
  `of ${runs} mutated ext_proc streams only those with the one good token pass, and each is told of at most once`,
  async () => {
    const { clock, stock, authenticator } = await makeStock()
    const seal = createSeal()
    const sealed = seal.close(decisionMetadata(allowWith({ caller: alice }), 'request-1'))
    const tally: Tally = new Map()
    const authenticate = authenticator({
      cacheHit: () => undefined,
      cacheMiss: () => undefined,
      refused: () => undefined,
    })
    const { gateway, metrics, completedNow } = watchedGateway({ authenticate })
    const { decide, observe } = gateway

    const property = fc.asyncProperty(streams(stock, sealed), async (stream) => {
      const door = openExtProcDoor({ clock, seal, decide, observe })
      const told = await runStream(stream, door, stock.good)
      const completed = completedNow()
      for (const one of told) count(tally, one)
      objectToCount(stream, completed, told)
      if (completed > 0) count(tally, 'completed')
    })
    await fc.assert(property, { numRuns: runs, ...seed })

    await expect(metrics.registry.metrics()).resolves.toContain('gateway_requests_total{')
    // The streams are no idle noise: everything that can become of one becomes of some.
    const all = [
      'allow',
      'deny',
      'fault',
      'undecodable',
      'refused mode',
      'silent',
      'ended',
      'unended',
      'completed',
    ]
    expect([...tally.keys()]).toEqual(expect.arrayContaining(all))
  },
  limitMs,
)

/**
 * Sends a stream to the door.
 * @returns what became of it, step by step.
 * @throws Error where a step is not as it must be; what must be is found out without any of the code under test.
 */
async function runStream(stream: Stream, door: ExtProcDoor, good: string): Promise<string[]> {
  const session = openStream(stream, door)
  if (!session) return ['refused mode']
  const told: string[] = []
  for (const message of stream.messages) {
    const step = await takeMessage(message, stream, session, good)
    told.push(step)
    // The transport ends a stream with its first fault, and grpc-js one whose bytes are no message.
    if (step === 'fault') return told
    if (step === 'undecodable') return [...told, endOf({ ...stream, end: 'reset' }, session, told)]
  }
  return [...told, endOf(stream, session, told)]
}

function openStream({ mode, settings }: Stream, door: ExtProcDoor): ProcStream | undefined {
  const entries = Object.entries(settings).map(([key, value]) => [`gatepost-${key}`, value])
  const isKnown = rolesOf(mode) !== undefined
  try {
    const session = door.open({
      ...Object.fromEntries(entries),
      ...(mode !== undefined && { 'gatepost-mode': mode }),
    })
    if (!isKnown) throw new Error(`the mode ${mode} was taken`)
    return session
  } catch (error) {
    if (isKnown || !(error instanceof Fault)) throw error
    return undefined
  }
}

function rolesOf(mode = 'decide'): { decides: boolean; observes: boolean } | undefined {
  const words = mode.split(',').map((word) => word.trim())
  if (!words.every((word) => word === 'decide' || word === 'observe')) return undefined
  return { decides: words.includes('decide'), observes: words.includes('observe') }
}

async function takeMessage(
  message: StreamMessage,
  { mode, settings }: Stream,
  session: ProcStream,
  good: string,
): Promise<string> {
  const bytes = applyToWire(Process.requestSerialize(processingRequestOf(message)), message.mutant.wire)
  const decoded = decode(Process.requestDeserialize, bytes)
  if (!decoded) return 'undecodable'
  try {
    const answer = await session.takeBytes(bytes)
    const mayPass = showsGoodToken(decoded, good) && !isBad(settings)
    return kindOf(answer, decoded, rolesOf(mode)?.decides === true, mayPass)
  } catch (error) {
    if (error instanceof Fault) return 'fault'
    throw error
  }
}

/** Decodes as the gRPC server does, which answers an error where the bytes are no message. */
function decode<T>(deserialize: (bytes: Buffer) => T, bytes: Buffer): T | undefined {
  try {
    return deserialize(bytes)
  } catch {
    return undefined
  }
}

/** Settings of Envoy's route that make no sense are a fault, whoever calls. */
function isBad(settings: Stream['settings']): boolean {
  return settings['auth'] === 'maybe' || settings['route'] === '' || Object.hasOwn(settings, 'constructor')
}

function kindOf(
  answer: ProcessingResponse__Output | undefined,
  { request, observability_mode = false }: ProcessingRequest__Output,
  decides: boolean,
  mayPass: boolean,
): string {
  if (observability_mode !== (answer === undefined))
    throw new Error('answered where nobody asked, or not at all')
  if (!answer) return 'silent'
  const isAsked = request === 'request_headers' && decides
  if (answer.response === 'immediate_response') return kindOfRefusal(answer, isAsked)
  if (answer.response !== request) throw new Error(`answered ${request} by ${answer.response}`)
  if (!isAsked) return 'passed on'
  if (!mayPass) throw new Error('allowed without the good token')
  return 'allow'
}

function kindOfRefusal({ immediate_response }: ProcessingResponse__Output, isAsked: boolean): string {
  if (!isAsked) throw new Error('refused what was not asked about')
  const { code = '' } = immediate_response?.status ?? {}
  if (!/^(Unauthorized|BadRequest)$/.test(String(code))) throw new Error(`refused with ${code}`)
  return 'deny'
}

function showsGoodToken({ request_headers }: ProcessingRequest__Output, good: string): boolean {
  const values = (request_headers?.headers?.headers ?? [])
    .filter(({ key }) => key === 'authorization')
    .map(({ value, raw_value }) => (raw_value?.length ? raw_value.toString('utf8') : (value ?? '')))
  if (values.length !== 1) return false
  const words = (values[0] ?? '').trim().split(' ').filter(Boolean)
  return words.length === 2 && words[0]?.toLowerCase() === 'bearer' && words[1] === good
}

/** Ends a stream. A clean end lets the request pass: it must not come before a verdict that is due. */
function endOf({ end, mode }: Stream, session: ProcStream, told: readonly string[]): string {
  if (end === 'reset') {
    session.cancel()
    return 'reset'
  }
  const isDue = rolesOf(mode)?.decides === true && told.length === 0
  try {
    session.end()
    if (isDue) throw new Error('ended well without a verdict')
    return 'ended'
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    return 'unended'
  }
}

function objectToCount({ mode }: Stream, completed: number, told: readonly string[]): void {
  if (completed > 1) throw new Error(`told of one stream ${completed} times`)
  const observes = rolesOf(mode)?.observes === true
  if (completed === 1 && !observes) throw new Error('told of a stream that is not observed')
  const isDecided = told.includes('allow') || told.includes('deny')
  if (completed === 0 && observes && isDecided) throw new Error('told nothing of a request that was decided')
}

test(
  `of ${runs} mutated access log batches every entry becomes one valid event, and none names anybody unsealed`,
  async () => {
    const seal = createSeal()
    const sealed = seal.close(decisionMetadata(allowWith({ caller: alice }), 'request-1'))
    const tally: Tally = new Map()
    const { gateway, metrics, completedNow } = watchedGateway({ authenticate: () => notAsked() })

    const property = fc.property(batches(sealed), ({ entries, wire }) => {
      const message = { http_logs: { log_entry: entries } }
      const bytes = applyToWire(StreamAccessLogs.requestSerialize(message), wire)
      const decoded = decode(StreamAccessLogs.requestDeserialize, bytes)
      if (!decoded) return count(tally, 'undecodable')
      takeBatch(bytes, decoded, { seal, sealed, observe: gateway.observe, completedNow, tally })
    })
    fc.assert(property, { numRuns: runs, ...seed })

    await expect(metrics.registry.metrics()).resolves.toContain('gateway_requests_total{')
    const all = ['allow', 'fault', 'none', 'ignored', 'undecodable']
    expect([...tally.keys()]).toEqual(expect.arrayContaining(all))
  },
  limitMs,
)

function notAsked(): never {
  throw new Error('nobody is to be asked')
}

interface BatchChecks {
  seal: ReturnType<typeof createSeal>
  sealed: Struct
  observe: Gateway['observe']
  completedNow: () => number
  tally: Tally
}

function takeBatch(
  bytes: Buffer,
  decoded: StreamAccessLogsMessage__Output,
  { seal, sealed, observe, completedNow, tally }: BatchChecks,
): void {
  const identities: string[] = []
  const door = openAccessLogDoor({
    seal,
    observe(outcome) {
      const { kind, userId } = outcome.decision
      count(tally, kind)
      if (userId !== undefined) identities.push(userId)
      observe(outcome)
    },
  })

  door.takeBytes(bytes)

  const entries = decoded.http_logs?.log_entry ?? []
  const ignored = door.ignored['intermediate'] ?? 0
  const completed = completedNow()
  if (door.faulted.length > 0) throw door.faulted[0]
  if (completed + ignored !== entries.length) throw new Error(`${completed} of ${entries.length} told of`)
  if (ignored > 0) count(tally, 'ignored')
  const genuine = entries.filter(({ common_properties }) =>
    Object.values(common_properties?.metadata?.filter_metadata ?? {}).some((one) =>
      holds(one.fields, sealed),
    ),
  ).length
  if (identities.length > genuine) throw new Error(`somebody was named unsealed: ${identities}`)
}

/** Whether every field of the sealed struct stands in the other, unchanged. */
function holds(fields: Struct['fields'], sealed: Struct): boolean {
  return Object.entries(sealed.fields ?? {}).every(([name, { stringValue, numberValue }]) => {
    const { stringValue: text, numberValue: number } = fields?.[name] ?? {}
    return stringValue === undefined ? number === numberValue : text === stringValue
  })
}

interface Batch {
  entries: HTTPAccessLogEntry[]
  wire: { at: number; remove: number; put: Uint8Array }[]
}

/** Batches of up to three entries, of all that Envoy could write and much that it never would. */
function batches(sealed: Struct): Arbitrary<Batch> {
  const edit = fc.record({
    at: fc.nat(1_500),
    remove: fc.constantFrom(0, 1, 1, 1, 8),
    put: fc.uint8Array({ maxLength: 2 }),
  })
  return fc.record({
    entries: fc.array(entry(sealed), { minLength: 1, maxLength: 3 }),
    wire: fc.oneof(
      { weight: 2, arbitrary: fc.constant<Batch['wire']>([]) },
      fc.array(edit, { minLength: 1, maxLength: 3 }),
    ),
  })
}

const entryTypes = ['NotSet', 'DownstreamEnd', 'DownstreamStart', 'UpstreamEnd', 'TcpPeriodic'] as const

const flagFields = [
  'upstream_request_timeout',
  'upstream_connection_failure',
  'no_route_found',
  'downstream_connection_termination',
  'rate_limited',
  'overload_manager',
  'downstream_remote_reset',
] as const

function entry(sealed: Struct): Arbitrary<HTTPAccessLogEntry> {
  const text = fc.oneof(
    { weight: 8, arbitrary: fc.string({ unit: 'binary', maxLength: 12 }) },
    fc.integer({ min: 1, max: 20_000 }).map((length) => '\u0001"é'.repeat(length / 3)),
  )
  const time = fc.record({ seconds: fc.maxSafeInteger(), nanos: fc.integer() })
  const times = fc.oneof(fc.constant({ seconds: 1_900_000_000 }), fc.constant({ nanos: 5 }), time)
  const bytes = fc.oneof(fc.nat(), fc.constant(Number.MAX_SAFE_INTEGER))
  const address = fc.record({ socket_address: fc.record({ address: fc.oneof(fc.ipV4(), fc.ipV6(), text) }) })
  return fc.record(
    {
      common_properties: fc.record(
        {
          access_log_type: fc.oneof(
            { weight: 4, arbitrary: fc.constant('DownstreamEnd' as const) },
            fc.constantFrom(...entryTypes),
          ),
          start_time: times,
          duration: times,
          time_to_last_downstream_tx_byte: times,
          time_to_first_upstream_tx_byte: times,
          time_to_last_upstream_rx_byte: times,
          downstream_direct_remote_address: address,
          upstream_cluster: text,
          response_flags: fc
            .subarray([...flagFields])
            .map((fields) => Object.fromEntries(fields.map((field) => [field, true]))),
          metadata: metadata(sealed).map((filter_metadata) => ({ filter_metadata })),
        },
        { requiredKeys: [] },
      ),
      request: fc.record(
        {
          request_method: fc.constantFrom('METHOD_UNSPECIFIED', 'GET', 'CONNECT'),
          path: text,
          original_path: text,
          user_agent: text,
          request_id: text,
          request_headers_bytes: bytes,
          request_body_bytes: bytes,
          request_headers: fc.dictionary(
            fc.constantFrom(':method', 'traceparent', 'x-envoy-external-address', '__proto__'),
            text,
          ),
        },
        { requiredKeys: [] },
      ),
      response: fc.record(
        {
          response_code: fc.record({ value: fc.oneof(fc.constantFrom(0, 200, 503), fc.nat(4_294_967_295)) }),
          response_headers_bytes: bytes,
          response_body_bytes: bytes,
          response_code_details: fc.oneof(fc.constantFrom('via_upstream', 'ext_authz_error'), text),
          response_headers: fc.dictionary(fc.constantFrom('cache-status', 'age', 'x-cache'), text),
        },
        { requiredKeys: [] },
      ),
    },
    { requiredKeys: [] },
  )
}
