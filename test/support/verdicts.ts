import { status as grpcStatus, type ServiceError } from '@grpc/grpc-js'
import type { HeaderValueOption__Output } from '../../src/envoy/gen/envoy/config/core/v3/HeaderValueOption.ts'
import type { CheckRequest } from '../../src/envoy/gen/envoy/service/auth/v3/CheckRequest.ts'
import type { CheckResponse__Output } from '../../src/envoy/gen/envoy/service/auth/v3/CheckResponse.ts'
import type { ProcessingRequest } from '../../src/envoy/gen/envoy/service/ext_proc/v3/ProcessingRequest.ts'
import type { ProcessingResponse__Output } from '../../src/envoy/gen/envoy/service/ext_proc/v3/ProcessingResponse.ts'
import type { Struct__Output } from '../../src/envoy/gen/google/protobuf/Struct.ts'
import { fromStruct } from '../../src/envoy/struct.ts'
import type { GrpcClient } from './grpc-client.ts'
import type { StreamClient } from './grpc-streams.ts'

/** A request as a client sends it, and what Envoy's route says of itself. */
export interface SentRequest {
  method?: string
  authority?: string
  path?: string
  /** In order; a name may stand there more than once. Bytes where a value is no text. */
  headers?: readonly (readonly [name: string, value: string | Buffer])[]
  /** The keys of ext_authz's `context_extensions`. */
  settings?: Readonly<Record<string, string>>
  peer?: string
}

/** What came of a request, whichever door it came in by. */
export type Verdict =
  | {
      verdict: 'allow'
      upstream: { set: Record<string, string>; removed: string[] }
      client: Record<string, string>
      metadata: Record<string, unknown>
    }
  | {
      verdict: 'deny'
      status: string
      /** For callers that speak gRPC. */
      grpcStatus: number | undefined
      headers: Record<string, string>
      body: string
      metadata: Record<string, unknown>
    }
  | { verdict: 'fault'; code: number; details: string }

/** Sends a request through ext_authz, its headers as a map of texts, or as Envoy sends them with `encode_raw_headers`. */
export async function throughExtAuthz(
  client: GrpcClient,
  request: SentRequest,
  encoding: 'map' | 'raw',
): Promise<Verdict> {
  try {
    return fromCheckResponse(await client.check(checkRequest(request, encoding)), isGrpc(request))
  } catch (error) {
    return faultOf(error as ServiceError)
  }
}

/** Sends a request through ext_proc, and its response where that is asked for. */
export async function throughExtProc(client: StreamClient, request: SentRequest): Promise<Verdict> {
  const call = client.process(withPrefix(request.settings ?? {}))
  call.send(processingRequest(request))
  const answer = await call.next()
  if (!answer) return faultOf(await call.ended)
  const response = await responseOf(call, answer)
  call.cancel()
  return fromProcessingResponse(answer, response)
}

const httpStatus: Readonly<Record<string, number>> = {
  BadRequest: 400,
  Unauthorized: 401,
  Forbidden: 403,
  MethodNotAllowed: 405,
  TooManyRequests: 429,
}

/** The kind of a verdict in a word or two: `allow`, `fault`, or status and reason; whatever is not as it must be too. */
export function verdictInWords(verdict: Verdict): string {
  if (verdict.verdict === 'allow') return 'allow'
  if (verdict.verdict === 'deny') return `${httpStatus[verdict.status]} ${verdict.metadata['reason']}`
  const isOurs = verdict.code === grpcStatus.UNAVAILABLE && verdict.details.startsWith('no verdict')
  return isOurs ? 'fault' : `${verdict.code} ${verdict.details}`
}

/** Whether a request speaks gRPC. */
function isGrpc({ headers = [] }: SentRequest): boolean {
  return headers.some(([name, value]) => name === 'content-type' && /^application\/grpc/.test(String(value)))
}

/** A request as Envoy asks ext_authz about it. */
export function checkRequest(request: SentRequest, encoding: 'map' | 'raw'): CheckRequest {
  const { method = 'GET', authority = 'api.example.com', path = '/orders', settings = {} } = request
  const lines = allHeaders(request)
  const headers =
    encoding === 'map' ? { headers: joined(lines) } : { header_map: { headers: lines.map(rawHeader) } }
  return {
    attributes: {
      source: { address: { socket_address: { address: request.peer ?? '192.0.2.7', port_value: 41_233 } } },
      request: { http: { method, host: authority, path, ...headers } },
      context_extensions: settings,
    },
  }
}

function processingRequest(request: SentRequest): ProcessingRequest {
  return {
    request_headers: { headers: { headers: allHeaders(request).map(rawHeader) }, end_of_stream: true },
    attributes: {
      'envoy.filters.http.ext_proc': {
        fields: { 'source.address': { stringValue: `${request.peer ?? '192.0.2.7'}:41233` } },
      },
    },
  }
}

type HeaderLine = readonly [name: string, value: string | Buffer]

/** Both filters show the pseudo-headers too. */
function allHeaders({
  method = 'GET',
  authority = 'api.example.com',
  path = '/orders',
  ...request
}: SentRequest) {
  return [
    [':method', method],
    [':authority', authority],
    [':path', path],
    [':scheme', 'https'],
    ['x-request-id', 'request-1'],
    ...(request.headers ?? []),
  ] as const satisfies readonly HeaderLine[]
}

function rawHeader([key, value]: HeaderLine) {
  return { key, raw_value: Buffer.from(value) }
}

function joined(lines: readonly HeaderLine[]): Record<string, string> {
  const headers = new Map<string, string>()
  for (const [name, value] of lines) {
    const before = headers.get(name)
    headers.set(name, before === undefined ? String(value) : `${before},${value}`)
  }
  return Object.fromEntries(headers)
}

function withPrefix(settings: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(settings).map(([key, value]) => [`gatepost-${key}`, value]))
}

async function responseOf(call: ReturnType<StreamClient['process']>, answer: ProcessingResponse__Output) {
  if (answer.mode_override?.response_header_mode !== 'SEND') return undefined
  call.send({ response_headers: { headers: { headers: [rawHeader([':status', '200'])] } } })
  return call.next()
}

function fromCheckResponse(response: CheckResponse__Output, grpc: boolean): Verdict {
  const { ok_response, denied_response, status } = response
  const metadata = told(response.dynamic_metadata)
  if (ok_response) {
    return {
      verdict: 'allow',
      upstream: {
        set: textsOf(ok_response.headers),
        removed: [...(ok_response.headers_to_remove ?? [])].sort(),
      },
      client: textsOf(ok_response.response_headers_to_add),
      metadata,
    }
  }
  return {
    verdict: 'deny',
    status: String(denied_response?.status?.code),
    grpcStatus: grpc ? status?.code : undefined,
    headers: textsOf(denied_response?.headers),
    body: denied_response?.body ?? '',
    metadata,
  }
}

function fromProcessingResponse(
  answer: ProcessingResponse__Output,
  response: ProcessingResponse__Output | undefined,
): Verdict {
  const { request_headers, immediate_response: reply } = answer
  const metadata = told(answer.dynamic_metadata?.fields?.['envoy.filters.http.ext_proc']?.structValue)
  if (request_headers) {
    const mutation = request_headers.response?.header_mutation
    return {
      verdict: 'allow',
      upstream: {
        set: textsOf(mutation?.set_headers),
        removed: [...(mutation?.remove_headers ?? [])].sort(),
      },
      client: textsOf(response?.response_headers?.response?.header_mutation?.set_headers),
      metadata,
    }
  }
  return {
    verdict: 'deny',
    status: String(reply?.status?.code),
    grpcStatus: reply?.grpc_status?.status,
    headers: textsOf(reply?.headers?.set_headers),
    body: reply?.body?.toString() ?? '',
    metadata,
  }
}

function faultOf({ code, details }: { code: number; details: string }): Verdict {
  return { verdict: 'fault', code, details }
}

/** What the observer is told, without what is random in it. */
function told(metadata: Struct__Output | undefined): Record<string, unknown> {
  const { decision_id: _id, seal: _seal, ...fields } = fromStruct(metadata)
  return fields
}

/** @throws Error where a header would be added to what the client sent, instead of replacing it. */
function textsOf(options: readonly HeaderValueOption__Output[] | undefined): Record<string, string> {
  return Object.fromEntries(
    (options ?? []).map(({ header, append_action }) => {
      if (append_action !== 'OVERWRITE_IF_EXISTS_OR_ADD')
        throw new Error(`Cannot trust ${header?.key}: its action is ${append_action}`)
      return [header?.key ?? '', header?.raw_value?.toString() || (header?.value ?? '')]
    }),
  )
}
