import fc, { type Arbitrary } from 'fast-check'
import type { ProcessingRequest } from '../../src/envoy/gen/envoy/service/ext_proc/v3/ProcessingRequest.ts'
import type { Struct } from '../../src/envoy/gen/google/protobuf/Struct.ts'
import type { Value } from '../../src/envoy/gen/google/protobuf/Value.ts'
import { type Mutant, messageOf, mutants, type Stock } from './mutants.ts'

/** The messages that ext_proc knows. */
type Kind = NonNullable<ProcessingRequest['request']>

/** One message of a stream, as it may arrive. */
export interface StreamMessage {
  kind: Kind | 'nothing'
  /** Whose headers it shows, where it shows any, and how its bytes are changed. */
  mutant: Mutant
  observability: boolean
  /** Where it is a response. */
  status: string
  metadata: Record<string, Struct>
  peer: string
}

/** A whole stream: what the filter says it is for, and what comes in which order. */
export interface Stream {
  mode: string | undefined
  settings: Record<string, string>
  messages: readonly StreamMessage[]
  end: 'half-close' | 'reset'
}

const kinds: readonly Kind[] = [
  'request_headers',
  'request_body',
  'request_trailers',
  'response_headers',
  'response_body',
  'response_trailers',
]

/** Breeds streams: about half begin as Envoy begins them. */
export function streams(stock: Stock, sealed: Struct): Arbitrary<Stream> {
  return fc.record({
    mode: fc.oneof(
      { weight: 3, arbitrary: fc.constant('decide,observe') },
      fc.constantFrom(undefined, 'decide', 'observe', ' observe ,decide', '', 'decides', 'decide;observe'),
    ),
    settings: fc.oneof(
      { weight: 6, arbitrary: fc.constant({}) },
      fc.constantFrom<Record<string, string>>(
        { route: 'orders', service: 'order-service' },
        { auth: 'required', scopes: '' },
        { auth: 'maybe' },
        { route: '' },
        { constructor: 'x' },
      ),
    ),
    messages: fc
      .tuple(
        fc.boolean(),
        fc.array(streamMessage(stock, sealed), { minLength: 0, maxLength: 6 }),
        fc.array(fc.constantFrom(...kinds), { minLength: 6, maxLength: 6 }),
      )
      .map(([begins, messages, order]) =>
        messages.map((message, at) => ({
          ...message,
          ...(message.kind !== 'nothing' && {
            kind: begins ? (usualOrder[at] ?? 'response_body') : (order[at] ?? 'request_headers'),
          }),
        })),
      ),
    end: fc.constantFrom('half-close', 'reset'),
  })
}

const usualOrder: readonly Kind[] = ['request_headers', 'response_headers', 'response_trailers']

function streamMessage(stock: Stock, sealed: Struct): Arbitrary<StreamMessage> {
  return fc.record({
    kind: fc.oneof({ weight: 20, arbitrary: fc.constantFrom(...kinds) }, fc.constant('nothing' as const)),
    mutant: mutants(stock),
    observability: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, fc.constant(true)),
    status: fc.oneof(
      fc.constantFrom('200', '404', '503', '0', '99999', '-1', 'x'),
      fc.string({ maxLength: 4 }),
    ),
    metadata: metadata(sealed),
    peer: fc.oneof(
      fc.constantFrom('192.0.2.7:41233', '[2001:db8::7]:1', '/run/socket', ''),
      fc.string({ unit: 'binary', maxLength: 100 }),
    ),
  })
}

/** Metadata of our namespaces and others: forged, genuine, or genuine but for one field. */
export function metadata(sealed: Struct): Arbitrary<Record<string, Struct>> {
  const value: Arbitrary<Value> = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 12 }).map((stringValue) => ({ stringValue })),
    fc.double().map((numberValue) => ({ numberValue })),
    fc.constantFrom<Value>(
      { boolValue: true },
      { nullValue: 'NULL_VALUE' },
      { listValue: { values: [] } },
      { structValue: { fields: {} } },
      {},
    ),
  )
  const names = [...Object.keys(sealed.fields ?? {}), 'extra', '__proto__', 'constructor']
  const forged = fc
    .array(fc.tuple(fc.constantFrom(...names), value), { maxLength: 4 })
    .map((fields): Struct => ({ fields: Object.fromEntries(fields) }))
  const struct: Arbitrary<Struct> = fc.oneof(
    { weight: 2, arbitrary: fc.constant(sealed) },
    { weight: 2, arbitrary: forged },
    forged.map(({ fields }) => ({ fields: { ...sealed.fields, ...fields } })),
  )
  return fc
    .array(
      fc.tuple(
        fc.constantFrom('envoy.filters.http.ext_authz', 'envoy.filters.http.ext_proc', 'envoy.lb'),
        struct,
      ),
      { maxLength: 3 },
    )
    .map((entries) => Object.fromEntries(entries))
}

/** The message as ext_proc sends it, before anything is done to its bytes. */
export function processingRequestOf(message: StreamMessage): ProcessingRequest {
  const { kind, observability, status, metadata: filter_metadata, peer } = message
  const around = {
    observability_mode: observability,
    metadata_context: { filter_metadata },
    attributes: {
      'envoy.filters.http.ext_proc': { fields: { 'source.address': { stringValue: peer } } },
    },
  }
  switch (kind) {
    case 'nothing':
      return around
    case 'request_headers':
      return { ...around, request_headers: { headers: { headers: linesOf(message.mutant) } } }
    case 'response_headers':
      return {
        ...around,
        response_headers: { headers: { headers: [{ key: ':status', raw_value: Buffer.from(status) }] } },
      }
    default:
      return { ...around, [kind]: {} }
  }
}

function linesOf(mutant: Mutant) {
  const { headers = {}, header_map } = messageOf(mutant).attributes?.request?.http ?? {}
  const pseudo = [
    { key: ':method', value: mutant.method },
    { key: ':authority', value: mutant.authority },
    { key: ':path', raw_value: Buffer.from(mutant.path) },
  ]
  const texts = Object.entries(headers).map(([key, value]) => ({ key, raw_value: Buffer.from(value) }))
  return [...pseudo, ...texts, ...(header_map?.headers ?? [])]
}
