import { describe, expect, test } from '@jest/globals'
import { type DenialReason, deny } from '../../src/core/denials.ts'
import { bearerChallenge, type DenialReply, grpcReply, httpReply } from '../../src/core/reply.ts'

function header({ headers }: DenialReply, name: string): string | undefined {
  return headers.find(([key]) => key === name)?.[1]
}

describe('over HTTP', () => {
  test('a denial is a problem document with the request id', () => {
    const reply = httpReply(deny('invalid_token', 'The token has expired.'), 'request-1')

    expect(reply.httpStatus).toBe(401)
    expect(header(reply, 'content-type')).toBe('application/problem+json')
    expect(header(reply, 'cache-control')).toBe('no-store')
    expect(JSON.parse(reply.body)).toEqual({
      type: 'urn:gatepost:problem:invalid_token',
      title: 'Token refused',
      status: 401,
      detail: 'The token has expired.',
      request_id: 'request-1',
    })
  })

  test('a request without id gets a problem document without one', () => {
    const reply = httpReply(deny('missing_token', 'A token, please.'), '')

    expect(JSON.parse(reply.body)).not.toHaveProperty('request_id')
  })

  test('a request id cannot break out of the document', () => {
    const reply = httpReply(deny('missing_token', 'A token, please.'), '","status":200,"x":"\u0000\ud800')

    expect(JSON.parse(reply.body)).toMatchObject({
      status: 401,
      request_id: '","status":200,"x":"\u0000\ud800',
    })
  })

  test('the finer cause of a denial stays inside', () => {
    const reply = httpReply(deny('invalid_token', 'Refused.', { cause: 'bad_signature' }), 'request-1')

    expect(reply.body).not.toContain('bad_signature')
  })

  // RFC 6750 §3.1: no error code when the request carried no credentials.
  test.each<[DenialReason, string]>([
    ['missing_token', 'Bearer realm="api"'],
    ['unsupported_scheme', 'Bearer realm="api"'],
    ['invalid_request', 'Bearer realm="api", error="invalid_request", error_description="Why."'],
    ['invalid_token', 'Bearer realm="api", error="invalid_token", error_description="Why."'],
  ])('%s carries the challenge of RFC 6750', (reason, challenge) => {
    const reply = httpReply(deny(reason, 'Why.'), '')

    expect(header(reply, 'www-authenticate')).toBe(challenge)
  })

  test('too few scopes are told with those that are asked for', () => {
    const denial = deny('insufficient_scope', 'Too few.', { requiredScopes: ['read:a', 'read:b'] })

    const reply = httpReply(denial, '')

    expect(header(reply, 'www-authenticate')).toBe(
      'Bearer realm="api", error="insufficient_scope", error_description="Too few.", scope="read:a read:b"',
    )
  })
})

describe('over gRPC', () => {
  test('a denial is a status in headers and an empty body', () => {
    const reply = grpcReply(deny('insufficient_scope', 'Too few.', { requiredScopes: ['read:a'] }))

    expect(reply).toMatchObject({ httpStatus: 403, body: '' })
    expect(header(reply, 'grpc-status')).toBe('7')
    expect(header(reply, 'grpc-message')).toBe('Too few.')
    expect(header(reply, 'www-authenticate')).toContain('scope="read:a"')
  })

  test.each([
    ['plain text with ~ and space', 'plain text with ~ and space'],
    ['100 %', '100 %25'],
    ['zwölf', 'zw%C3%B6lf'],
    ['a\r\nb', 'a%0D%0Ab'],
    ['😀', '%F0%9F%98%80'],
    ['half a \ud83d', 'half a %EF%BF%BD'],
    ['\u007f', '%7F'],
  ])('the message %j is percent-encoded to %j', (detail, message) => {
    expect(header(grpcReply(deny('invalid_token', detail)), 'grpc-message')).toBe(message)
  })
})

describe('the Bearer challenge', () => {
  test('replaces what a quoted string cannot hold', () => {
    const challenge = bearerChallenge({
      realm: 'a "b"\\',
      error: 'invalid_request',
      description: 'got "x"\r\nset-cookie: y=ä',
      scope: ['a"b', 'c\\d'],
    })

    expect(challenge).toBe(
      `Bearer realm="a 'b'?", error="invalid_request", error_description="got 'x'??set-cookie: y=?", scope="a'b c?d"`,
    )
  })

  test('describes nothing where it names no error, and asks for no scope where there is none', () => {
    expect(bearerChallenge({ realm: 'api', description: 'Why.', scope: [] })).toBe('Bearer realm="api"')
  })
})
