import type { Decision } from '../../src/core/decision.ts'
import type { Outcome } from '../../src/core/outcome.ts'
import type { RequestContext } from '../../src/core/request.ts'
import { createExtProc, type ExtProcParts } from '../../src/envoy/ext-proc.ts'
import type { ProcessingRequest } from '../../src/envoy/gen/envoy/service/ext_proc/v3/ProcessingRequest.ts'
import type { ProcessingResponse__Output } from '../../src/envoy/gen/envoy/service/ext_proc/v3/ProcessingResponse.ts'
import { loadProtos } from '../../src/envoy/protos.ts'
import { createSeal, type Seal } from '../../src/envoy/seal.ts'
import { allowWith } from './decisions.ts'
import { FakeClock } from './fake-clock.ts'

const { Process } = loadProtos().ExternalProcessor

/** One stream of the door. */
export interface ProcStream {
  /** Sends a message. @returns the answer, or undefined where there is none. */
  take(message: ProcessingRequest): Promise<ProcessingResponse__Output | undefined>
  /** Sends the bytes of a message. */
  takeBytes(message: Uint8Array): Promise<ProcessingResponse__Output | undefined>
  end(): void
  cancel(): void
}

/** The ext_proc door, spoken to in bytes as Envoy does, and all that it told. */
export interface ExtProcDoor {
  /** Opens a stream with this initial metadata. */
  open(metadata?: Readonly<Record<string, string>>): ProcStream
  seal: Seal
  clock: FakeClock
  /** Requests that the gateway was asked about. */
  asked: RequestContext[]
  decided: Decision[]
  faulted: unknown[]
  outcomes: Outcome[]
}

/** Opens the door without a network: every message still goes through its bytes, both ways. */
export function openExtProcDoor(parts: Partial<ExtProcParts> & { clock?: FakeClock } = {}): ExtProcDoor {
  const { clock = new FakeClock(), decide = async () => allowWith(), seal = createSeal(), ...rest } = parts
  const asked: RequestContext[] = []
  const decided: Decision[] = []
  const faulted: unknown[] = []
  const outcomes: Outcome[] = []
  const open = createExtProc({
    decide(request) {
      asked.push(request)
      return decide(request)
    },
    observe: (outcome) => outcomes.push(outcome),
    observer: {
      decided: (_request, decision) => decided.push(decision),
      faulted: (_door, error) => faulted.push(error),
    },
    seal,
    clientAddress: 'peer',
    now: clock.now,
    ...rest,
  })
  return {
    open(metadata = {}) {
      const session = open(metadata)
      async function takeBytes(bytes: Uint8Array) {
        const answer = await session.take(Process.requestDeserialize(Buffer.from(bytes)))
        return answer && Process.responseDeserialize(Process.responseSerialize(answer))
      }
      return {
        takeBytes,
        take: (message) => takeBytes(Process.requestSerialize(message)),
        end: () => session.end(),
        cancel: () => session.cancel(),
      }
    },
    seal,
    clock,
    asked,
    decided,
    faulted,
    outcomes,
  }
}

/** The headers of a plain GET as ext_proc shows them; `headers` replaces and adds. */
export function requestHeaders(
  headers: Readonly<Record<string, string>> = {},
  more: Omit<ProcessingRequest, 'request_headers'> = {},
): ProcessingRequest {
  const all = {
    ':method': 'GET',
    ':authority': 'api.example.com',
    ':path': '/orders?page=2',
    ':scheme': 'https',
    'x-request-id': 'request-1',
    ...headers,
  }
  return { request_headers: { headers: headerMap(all), end_of_stream: true }, ...more }
}

/** The headers of a response as ext_proc shows them. */
export function responseHeaders(
  headers: Readonly<Record<string, string>> = {},
  more: Omit<ProcessingRequest, 'response_headers'> = {},
): ProcessingRequest {
  return { response_headers: { headers: headerMap({ ':status': '200', ...headers }) }, ...more }
}

/** The attribute by which the filter tells the peer's address. */
export function peerAttribute(address: string): Pick<ProcessingRequest, 'attributes'> {
  return {
    attributes: {
      'envoy.filters.http.ext_proc': { fields: { 'source.address': { stringValue: address } } },
    },
  }
}

function headerMap(headers: Readonly<Record<string, string>>) {
  return {
    headers: Object.entries(headers).map(([key, value]) => ({ key, raw_value: Buffer.from(value) })),
  }
}

/** The headers of a mutation, by name. */
export function mutated(
  set: readonly { header?: { key?: string; raw_value?: Buffer } }[] | undefined,
): Record<string, string> {
  return Object.fromEntries(
    (set ?? []).map(({ header }) => [header?.key ?? '', header?.raw_value?.toString() ?? '']),
  )
}
