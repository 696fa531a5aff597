import { describe, expect, test } from '@jest/globals'
import { decisionMetadata } from '../../src/core/decision.ts'
import { Fault } from '../../src/core/fault.ts'
import type { ProcessingRequest } from '../../src/envoy/gen/envoy/service/ext_proc/v3/ProcessingRequest.ts'
import { alice, allowWith, denyWith } from '../support/decisions.ts'
import {
  mutated,
  openExtProcDoor,
  peerAttribute,
  requestHeaders,
  responseHeaders,
} from '../support/ext-proc-door.ts'

const both = { 'gatepost-mode': 'decide,observe' }
const observing = { 'gatepost-mode': 'observe' }

const parts = {
  request_headers: requestHeaders(),
  request_body: { request_body: { end_of_stream: true } },
  request_trailers: { request_trailers: {} },
  response_headers: responseHeaders(),
  response_body: { response_body: {} },
  response_trailers: { response_trailers: {} },
} satisfies Record<string, ProcessingRequest>

type Part = keyof typeof parts

describe('the role is what gatepost-mode says', () => {
  test.each([
    ['decide, where nothing is said', {}, { decides: 1, outcomes: 0 }],
    ['decide', { 'gatepost-mode': 'decide' }, { decides: 1, outcomes: 0 }],
    ['observe', { 'gatepost-mode': 'observe' }, { decides: 0, outcomes: 1 }],
    ['both', { 'gatepost-mode': 'decide,observe' }, { decides: 1, outcomes: 1 }],
    [
      'both, the other way round and with blanks',
      { 'gatepost-mode': ' observe , decide ' },
      { decides: 1, outcomes: 1 },
    ],
    [
      'both, in two entries that gRPC joined',
      { 'gatepost-mode': 'observe, decide' },
      { decides: 1, outcomes: 1 },
    ],
  ])('%s', async (_what, metadata, expected) => {
    const door = openExtProcDoor()
    const stream = door.open(metadata)

    await stream.take(parts.request_headers)
    await stream.take(parts.response_headers)
    stream.end()

    expect({ decides: door.decided.length, outcomes: door.outcomes.length }).toEqual(expected)
    expect(door.faulted).toEqual([])
  })

  test.each(['', ' ', ',', 'Decide', 'decide;observe', 'decide observe', 'decide,watch', 'none'])(
    'and "%s" is a fault, which is told once',
    (mode) => {
      const door = openExtProcDoor()

      expect(() => door.open({ 'gatepost-mode': mode })).toThrow(Fault)
      expect(door.faulted).toEqual([expect.objectContaining({ part: 'door' })])
    },
  )
})

describe('the order of messages', () => {
  const legal: Part[][] = [
    ['request_headers'],
    ['request_headers', 'request_body', 'request_body', 'request_trailers', 'response_headers'],
    ['request_headers', 'response_headers', 'response_body', 'response_body', 'response_trailers'],
    ['request_headers', 'request_trailers', 'response_headers', 'response_trailers'],
    // A filter before ours has answered by itself.
    ['response_headers', 'response_body', 'response_trailers'],
  ]

  test.each(legal.map((order) => [order.join(', '), order] as const))('may be %s', async (_what, order) => {
    const door = openExtProcDoor()
    const stream = door.open(both)

    const answers: (string | undefined)[] = []
    for (const part of order) answers.push((await stream.take(parts[part]))?.response)
    stream.end()

    expect(answers).toEqual(order)
    expect(door.faulted).toEqual([])
  })

  const before: Record<string, Part[]> = {
    'at the start': [],
    'after the request headers': ['request_headers'],
    'after the response headers': ['request_headers', 'response_headers'],
    'after a response that came first': ['response_headers'],
  }
  const allowed: Record<string, readonly Part[]> = {
    'at the start': ['request_headers', 'response_headers'],
    'after the request headers': ['request_body', 'request_trailers', 'response_headers'],
    'after the response headers': ['response_body', 'response_trailers'],
    'after a response that came first': ['response_body', 'response_trailers'],
  }
  const illegal = Object.keys(before).flatMap((when) =>
    (Object.keys(parts) as Part[])
      .filter((part) => !allowed[when]?.includes(part))
      .map((part) => [part, when] as const),
  )

  test.each(illegal)('may not be %s %s: that is a fault, and so is whatever follows', async (part, when) => {
    const door = openExtProcDoor()
    const stream = door.open(both)
    for (const earlier of before[when] ?? []) await stream.take(parts[earlier])

    const taking = stream.take(parts[part])

    await expect(taking).rejects.toThrow(`Cannot take ${part} in an ext_proc stream at this point`)
    expect(door.faulted).toEqual([expect.objectContaining({ part: 'door' })])
    await expect(stream.take(parts.response_body)).rejects.toThrow(Fault)
  })

  test.each(Object.keys(parts) as Part[])('may not go on with %s after a denial', async (part) => {
    const door = openExtProcDoor({ decide: async () => denyWith('missing_token') })
    const stream = door.open(both)
    await stream.take(parts.request_headers)

    await expect(stream.take(parts[part])).rejects.toThrow('(over)')

    expect(door.outcomes).toHaveLength(1)
  })

  test('may not have a message without content', async () => {
    const door = openExtProcDoor()

    await expect(door.open().take({})).rejects.toThrow('Cannot take an empty message')
  })
})

describe('deciding', () => {
  test('asks about the request as the headers and attributes tell it', async () => {
    const door = openExtProcDoor()
    const headers = { authorization: 'Bearer abc', 'x-request-id': 'r'.repeat(300) }

    await door.open().take(requestHeaders(headers, peerAttribute('192.0.2.7:41233')))

    expect(door.asked).toEqual([
      expect.objectContaining({
        door: 'ext_proc',
        receivedAtMs: door.clock.now(),
        requestId: 'r'.repeat(256),
        method: 'GET',
        authority: 'api.example.com',
        path: '/orders?page=2',
        overrides: {},
        clientAddress: '192.0.2.7',
      }),
    ])
    expect(door.asked[0]?.headers.get('authorization')).toBe('Bearer abc')
  })

  test('joins the values of a repeated header by commas', async () => {
    const door = openExtProcDoor()
    const header = (value: string) => ({ key: 'authorization', raw_value: Buffer.from(value) })

    await door.open().take({
      request_headers: { headers: { headers: [header('Bearer a'), header('Bearer b')] } },
    })

    expect(door.asked[0]?.headers.get('authorization')).toBe('Bearer a,Bearer b')
  })

  test.each([
    ['an IPv6 peer', '[2001:db8::7]:41233', '2001:db8::7'],
    ['a Unix socket', '/run/client.sock', undefined],
    ['an address that is none', '999.0.0.1:80', undefined],
    ['nothing', '', undefined],
  ])('knows the address of %s', async (_what, address, expected) => {
    const door = openExtProcDoor()

    await door.open().take(requestHeaders({}, peerAttribute(address)))

    expect(door.asked[0]?.clientAddress).toBe(expected)
  })

  test.each([
    ['as Envoy found it', '198.51.100.4', '198.51.100.4'],
    ['as the peer’s where Envoy found none', undefined, '192.0.2.7'],
    ['as the peer’s where the header was repeated', '198.51.100.4,10.0.0.1', '192.0.2.7'],
    ['as the peer’s where the header is nonsense', 'x'.repeat(10_000), '192.0.2.7'],
  ])('knows the client’s address %s, if told to believe Envoy', async (_what, external, expected) => {
    const door = openExtProcDoor({ clientAddress: 'envoy' })
    const headers = external === undefined ? {} : { 'x-envoy-external-address': external }

    await door.open().take(requestHeaders(headers, peerAttribute('192.0.2.7:1')))

    expect(door.asked[0]?.clientAddress).toBe(expected)
  })

  test('takes the settings of Envoy’s route from the initial metadata, and nothing else', async () => {
    const door = openExtProcDoor()
    const metadata = {
      'gatepost-mode': 'decide',
      'gatepost-route': 'orders',
      'gatepost-auth': 'optional',
      'gatepost-scopes': 'a,b',
      'user-agent': 'envoy',
      'x-gatepost-route': 'forged',
    }

    await door.open(metadata).take(parts.request_headers)

    expect(door.asked[0]?.overrides).toEqual({ route: 'orders', auth: 'optional', scopes: 'a,b' })
  })

  test('lets an allowed request go on with its headers overwritten and removed', async () => {
    const upstreamHeaders = {
      set: [['x-user-id', 'álice']] as const,
      remove: ['x-client-id', 'x-gatepost-a'],
    }
    const door = openExtProcDoor({ decide: async () => allowWith({ upstreamHeaders }) })

    const answer = await door.open().take(parts.request_headers)

    const mutation = answer?.request_headers?.response?.header_mutation
    expect(answer?.response).toBe('request_headers')
    expect(mutation?.set_headers).toEqual([
      {
        header: { key: 'x-user-id', raw_value: Buffer.from('álice') },
        append_action: 'OVERWRITE_IF_EXISTS_OR_ADD',
      },
    ])
    expect(mutation?.remove_headers).toEqual(['x-client-id', 'x-gatepost-a'])
  })

  test('answers a denied request at once, with status, headers and body', async () => {
    const door = openExtProcDoor({ decide: async () => denyWith('missing_token') })

    const answer = await door.open().take(parts.request_headers)

    const { immediate_response: reply } = answer ?? {}
    expect(answer?.response).toBe('immediate_response')
    expect(reply?.status?.code).toBe('Unauthorized')
    expect(mutated(reply?.headers?.set_headers)).toMatchObject({
      'content-type': 'application/problem+json',
      'www-authenticate': 'Bearer realm="api"',
    })
    expect(JSON.parse(String(reply?.body))).toMatchObject({ status: 401, request_id: 'request-1' })
    expect(reply?.details).toBe('gatepost_missing_token')
    expect(reply).not.toHaveProperty('grpc_status')
  })

  test('answers a denied gRPC call by a gRPC status, in headers and without a body', async () => {
    const door = openExtProcDoor({ decide: async () => denyWith('insufficient_scope') })

    const answer = await door.open().take(requestHeaders({ 'content-type': 'application/grpc+proto' }))

    const { immediate_response: reply } = answer ?? {}
    expect(reply?.grpc_status).toEqual({ status: 7 })
    expect(mutated(reply?.headers?.set_headers)).toMatchObject({
      'grpc-status': '7',
      'grpc-message': 'Not so.',
    })
    expect(reply?.body ?? Buffer.alloc(0)).toHaveLength(0)
  })

  test.each([
    ['an allow', allowWith({ caller: alice })],
    ['a denial', denyWith('insufficient_scope', { caller: alice })],
  ] as const)('tells the observer of %s by sealed metadata', async (_what, decision) => {
    const door = openExtProcDoor({ decide: async () => decision })

    const answer = await door.open().take(parts.request_headers)

    const fields = answer?.dynamic_metadata?.fields ?? {}
    expect(Object.keys(fields)).toEqual(['envoy.filters.http.ext_proc'])
    expect(door.seal.open(fields['envoy.filters.http.ext_proc']?.structValue)).toEqual({
      kind: decision.kind,
      route: 'orders',
      service: 'order-service',
      userId: 'alice',
      clientId: 'shop',
    })
  })

  test('without a verdict is a fault: nothing is answered, and the stream is over', async () => {
    const fault = new Fault('auth', 'Cannot reach the issuer')
    const door = openExtProcDoor({ decide: () => Promise.reject(fault) })
    const stream = door.open()

    await expect(stream.take(parts.request_headers)).rejects.toBe(fault)

    await expect(stream.take(parts.response_headers)).rejects.toThrow(Fault)
    expect(door.faulted[0]).toBe(fault)
    expect(door.decided).toEqual([])
  })
})

describe('headers for the client', () => {
  const clientHeaders = [['x-ratelimit-remaining', '7']] as const

  test('wait for the response and are set on it', async () => {
    const door = openExtProcDoor({ decide: async () => allowWith({ clientHeaders }) })
    const stream = door.open()

    const first = await stream.take(parts.request_headers)
    const second = await stream.take(parts.response_headers)

    expect(mutated(first?.request_headers?.response?.header_mutation?.set_headers)).toEqual({})
    expect(mutated(second?.response_headers?.response?.header_mutation?.set_headers)).toEqual({
      'x-ratelimit-remaining': '7',
    })
  })

  test('are set on the response once, bodies and trailers in between or not', async () => {
    const door = openExtProcDoor({ decide: async () => allowWith({ clientHeaders }) })
    const stream = door.open()

    const answers = []
    for (const part of Object.values(parts)) answers.push(await stream.take(part))

    const sets = answers.map((answer) => JSON.stringify(answer)).filter((text) => text.includes('remaining'))
    expect(sets).toHaveLength(1)
  })

  test('of one stream do not reach another', async () => {
    const decisions = [allowWith({ clientHeaders }), allowWith()]
    const door = openExtProcDoor({ decide: async () => decisions.shift() ?? allowWith() })
    const [first, second] = [door.open(), door.open()]

    await first.take(parts.request_headers)
    await second.take(parts.request_headers)
    const answer = await second.take(parts.response_headers)

    expect(answer).toEqual({ response: 'response_headers', response_headers: {} })
  })

  test('are not set on the response of a filter before ours', async () => {
    const door = openExtProcDoor({ decide: async () => allowWith({ clientHeaders }) })

    const answer = await door.open().take(parts.response_headers)

    expect(answer).toEqual({ response: 'response_headers', response_headers: {} })
  })
})

describe('the response', () => {
  const clientHeaders = [['ratelimit', '"fair";r=7']] as const

  test.each([
    ['is not asked for where there is nothing to do in it', {}, allowWith(), 'SKIP'],
    ['is asked for where the client gets headers', {}, allowWith({ clientHeaders }), 'SEND'],
    ['is asked for where it is observed', both, allowWith(), 'SEND'],
  ] as const)('%s', async (_what, metadata, decision, mode) => {
    const door = openExtProcDoor({ decide: async () => decision })

    const answer = await door.open(metadata).take(parts.request_headers)

    expect(answer?.mode_override?.response_header_mode).toBe(mode)
  })

  test('is left as the filter has it where the stream only observes', async () => {
    const answer = await openExtProcDoor().open(observing).take(parts.request_headers)

    expect(answer).toEqual({ response: 'request_headers', request_headers: {} })
  })
})

describe('in observability mode', () => {
  const mode = { observability_mode: true }

  test.each([observing, both, {}])('nothing is answered and nothing decided with %j', async (metadata) => {
    const door = openExtProcDoor()
    const stream = door.open(metadata)

    const answers = []
    for (const part of Object.values(parts)) answers.push(await stream.take({ ...part, ...mode }))
    stream.end()

    expect(answers).toEqual(Array(6).fill(undefined))
    expect(door.asked).toEqual([])
    expect(door.faulted).toEqual([])
  })

  test('the request is observed', async () => {
    const door = openExtProcDoor()
    const stream = door.open(observing)

    await stream.take(requestHeaders({}, mode))
    await stream.take(responseHeaders({ ':status': '404' }, mode))

    expect(door.outcomes).toMatchObject([{ status: 404, decision: { kind: 'none', route: 'unmatched' } }])
  })

  test('the end before a response is no fault, for nobody waits for a verdict', async () => {
    const door = openExtProcDoor()
    const stream = door.open(both)
    await stream.take(requestHeaders({}, mode))

    expect(() => stream.end()).not.toThrow()
  })
})

describe('the end of a stream', () => {
  test('before its first message is a fault where a verdict is due', () => {
    const door = openExtProcDoor()

    expect(() => door.open().end()).toThrow('it asked for a verdict and got none')
    expect(door.faulted).toHaveLength(1)
  })

  test('while the verdict is being made is a fault, and observed as one', async () => {
    const door = openExtProcDoor({ decide: () => Promise.withResolvers<never>().promise })
    const stream = door.open(both)
    void stream.take(parts.request_headers)

    expect(() => stream.end()).toThrow(Fault)
    expect(door.outcomes).toMatchObject([{ status: 0, decision: { kind: 'fault' } }])
  })

  test.each([
    ['after an allow', allowWith()],
    ['after a denial', denyWith('missing_token')],
  ] as const)('%s is none', async (_what, decision) => {
    const door = openExtProcDoor({ decide: async () => decision })
    const stream = door.open()
    await stream.take(parts.request_headers)

    expect(() => stream.end()).not.toThrow()
    expect(door.faulted).toEqual([])
  })

  test('after a response that came first is none', async () => {
    const door = openExtProcDoor()
    const stream = door.open()
    await stream.take(parts.response_headers)

    expect(() => stream.end()).not.toThrow()
    expect(door.faulted).toEqual([])
  })

  test('is none where the stream only observes', () => {
    expect(() => openExtProcDoor().open(observing).end()).not.toThrow()
  })

  test.each([
    ['before any message', []],
    ['after the request', ['request_headers']],
    ['after the response', ['request_headers', 'response_headers']],
  ] as const)('by cancelling is never a fault: %s', async (_what, order) => {
    const door = openExtProcDoor()
    const stream = door.open(both)
    for (const part of order) await stream.take(parts[part])

    expect(() => stream.cancel()).not.toThrow()
    expect(door.faulted).toEqual([])
  })
})

describe('observing', () => {
  test('tells how a request ended', async () => {
    const door = openExtProcDoor({ decide: async () => allowWith({ caller: alice }) })
    const stream = door.open(both)
    const startedAtMs = door.clock.now()
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736'

    await stream.take(
      requestHeaders(
        { 'user-agent': 'curl/8', traceparent: `00-${trace}-00f067aa0ba902b7-01` },
        peerAttribute('192.0.2.7:1'),
      ),
    )
    await door.clock.advance(250)
    await stream.take(responseHeaders({ ':status': '201', age: '3' }))

    expect(door.outcomes).toEqual([
      {
        observer: 'ext-proc',
        startedAtMs,
        durationMs: 250,
        method: 'GET',
        path: '/orders?page=2',
        status: 201,
        grpcStatus: undefined,
        requestId: 'request-1',
        userAgent: 'curl/8',
        clientAddress: '192.0.2.7',
        bytesIn: undefined,
        bytesOut: undefined,
        responseFlags: [],
        details: '',
        upstreamCluster: undefined,
        upstreamDurationMs: undefined,
        upstreamWaitMs: 250,
        cacheStatus: 'hit',
        traceId: trace,
        decision: {
          kind: 'allow',
          route: 'orders',
          service: 'order-service',
          userId: 'alice',
          clientId: 'shop',
        },
      },
    ])
  })

  test.each([
    ['a request and its response', ['request_headers', 'response_headers'], 200],
    ['a request alone, whose client left', ['request_headers'], 0],
    ['a request with all its parts', Object.keys(parts) as Part[], 200],
  ] as const)('tells of %s once', async (_what, order, status) => {
    const door = openExtProcDoor()
    const stream = door.open(both)

    for (const part of order) await stream.take(parts[part])
    stream.cancel()
    stream.cancel()

    expect(door.outcomes).toMatchObject([{ status }])
  })

  const call = requestHeaders({ 'content-type': 'application/grpc' })
  const trailers = (status: string): ProcessingRequest => ({
    response_trailers: { trailers: { headers: [{ key: 'grpc-status', raw_value: Buffer.from(status) }] } },
  })

  test('asks for the trailers of a gRPC call, and for those of nothing else', async () => {
    const asked = async (message: ProcessingRequest, role = both) =>
      (await openExtProcDoor().open(role).take(message))?.mode_override?.response_trailer_mode

    expect(await asked(call)).toBe('SEND')
    expect(await asked(parts.request_headers)).not.toBe('SEND')
    expect(await asked(call, { 'gatepost-mode': 'decide' })).not.toBe('SEND')
  })

  test('tells of a gRPC call once its trailers are there, with their status', async () => {
    const door = openExtProcDoor()
    const stream = door.open(both)

    await stream.take(call)
    await stream.take(responseHeaders({ ':status': '200' }))
    expect(door.outcomes).toEqual([])
    await door.clock.advance(40)
    await stream.take(trailers('14'))
    stream.cancel()

    expect(door.outcomes).toMatchObject([{ status: 200, grpcStatus: 14, durationMs: 40 }])
  })

  test('tells of a gRPC call at once where its headers have the status, and at its end where nothing has', async () => {
    const door = openExtProcDoor()
    const [short, cut] = [door.open(both), door.open(both)]

    await short.take(call)
    await short.take(responseHeaders({ ':status': '200', 'grpc-status': '4' }))
    await cut.take(call)
    await cut.take(responseHeaders({ ':status': '200' }))
    cut.cancel()
    short.cancel()

    expect(door.outcomes.map(({ grpcStatus }) => grpcStatus)).toStrictEqual([4, undefined])
  })

  test.each([
    [
      'as Envoy says it',
      { 'response.code_details': { stringValue: 'response_timeout' } },
      {},
      'response_timeout',
    ],
    ['as a header of an overflow', {}, { 'x-envoy-overloaded': 'true' }, 'overflow'],
    ['not at all', {}, {}, ''],
  ])('tells who answered: %s', async (_what, fields, headers, details) => {
    const door = openExtProcDoor()
    const stream = door.open(both)

    await stream.take(parts.request_headers)
    await stream.take({
      ...responseHeaders({ ':status': '503', ...headers }),
      attributes: { 'envoy.filters.http.ext_proc': { fields } },
    })

    expect(door.outcomes).toMatchObject([{ status: 503, details }])
  })

  test('tells which state of a circuit let a request pass, and what only reported', async () => {
    const decision = allowWith({
      admission: { generation: 7, probe: true },
      shadow: [{ part: 'auth', reason: 'missing_token' }],
    })
    const door = openExtProcDoor({ decide: async () => decision })
    const stream = door.open(both)

    await stream.take(parts.request_headers)
    await stream.take(parts.response_headers)

    expect(door.outcomes[0]?.decision).toMatchObject({ circuitGeneration: 7, shadow: ['missing_token'] })
  })

  test('tells of a denial with its status, once', async () => {
    const door = openExtProcDoor({ decide: async () => denyWith('insufficient_scope') })
    const stream = door.open(both)

    await stream.take(parts.request_headers)
    stream.cancel()

    expect(door.outcomes).toMatchObject([{ status: 403, decision: { kind: 'deny', route: 'orders' } }])
  })

  test('tells of a request without a verdict as a fault, without identity, once', async () => {
    const door = openExtProcDoor({ decide: () => Promise.reject(new Fault('auth', 'down')) })
    const stream = door.open(both)

    await stream.take(parts.request_headers).catch(() => undefined)
    stream.cancel()

    expect(door.outcomes).toMatchObject([{ status: 0, decision: { kind: 'fault', route: 'unmatched' } }])
  })

  test('keeps a verdict that was given, whatever went wrong later', async () => {
    const door = openExtProcDoor({ decide: async () => allowWith({ caller: alice }) })
    const stream = door.open(both)
    await stream.take(parts.request_headers)

    await stream.take(parts.request_headers).catch(() => undefined)

    expect(door.outcomes).toMatchObject([{ status: 0, decision: { kind: 'allow', userId: 'alice' } }])
  })

  test('keeps the status that a gRPC call’s answer began with, whatever went wrong later', async () => {
    const door = openExtProcDoor({ decide: async () => allowWith({ caller: alice }) })
    const stream = door.open(both)
    await stream.take(requestHeaders({ 'content-type': 'application/grpc' }))
    await stream.take(responseHeaders({ ':status': '200' }))

    await expect(stream.take(parts.request_headers)).rejects.toThrow(Fault)

    expect(door.outcomes).toMatchObject([{ status: 200, decision: { kind: 'allow' } }])
  })

  test('tells nothing of a response that came without its request', async () => {
    const door = openExtProcDoor()
    const stream = door.open(both)

    await stream.take(parts.response_headers)
    stream.end()

    expect(door.outcomes).toEqual([])
  })

  test.each(['abc', '', '-1', '1000', '2e400', '20.5'])('knows no status in "%s"', async (status) => {
    const door = openExtProcDoor()
    const stream = door.open(observing)

    await stream.take(parts.request_headers)
    await stream.take(responseHeaders({ ':status': status }))

    expect(door.outcomes).toMatchObject([{ status: 0 }])
  })

  test('never tells of a negative duration, though the clock was set back', async () => {
    const times = [10_000, 4_000]
    const door = openExtProcDoor({ now: () => times.shift() ?? 4_000 })
    const stream = door.open(observing)

    await stream.take(parts.request_headers)
    await stream.take(parts.response_headers)

    expect(door.outcomes).toMatchObject([{ startedAtMs: 10_000, durationMs: 0 }])
  })
})

describe('a decision that ext_authz made', () => {
  const namespace = 'envoy.filters.http.ext_authz'

  test('is told by its sealed metadata', async () => {
    const door = openExtProcDoor()
    const metadata = door.seal.close(decisionMetadata(allowWith({ caller: alice }), 'request-1'))
    const stream = door.open(observing)

    await stream.take(
      requestHeaders({}, { metadata_context: { filter_metadata: { [namespace]: metadata } } }),
    )
    await stream.take(parts.response_headers)

    expect(door.outcomes).toMatchObject([{ decision: { kind: 'allow', route: 'orders', userId: 'alice' } }])
  })

  test.each([
    ['that nobody sealed', { decision: { stringValue: 'allow' }, user_id: { stringValue: 'root' } }],
    ['with a seal of its own', { decision: { stringValue: 'allow' }, seal: { stringValue: 'A'.repeat(43) } }],
  ])('is not believed from metadata %s, nor does it decide anything', async (_what, fields) => {
    const door = openExtProcDoor({ decide: async () => denyWith('missing_token') })
    const forged = { metadata_context: { filter_metadata: { [namespace]: { fields } } } }
    const [watching, deciding] = [door.open(observing), door.open()]

    await watching.take(requestHeaders({}, forged))
    await watching.take(parts.response_headers)
    const answer = await deciding.take(requestHeaders({}, forged))

    expect(door.outcomes).toMatchObject([{ decision: { kind: 'none', route: 'unmatched' } }])
    expect(answer?.response).toBe('immediate_response')
  })
})
