import { expect, test } from '@jest/globals'
import { isGrpcCall, pathWithoutQuery } from '../../src/core/request.ts'
import { requestWith } from '../support/requests.ts'

test.each([
  ['application/grpc', true],
  ['application/grpc+proto', true],
  ['application/grpc-web', true],
  ['application/json', false],
  ['text/plain; note=application/grpc', false],
  ['', false],
])('content type %j: gRPC caller %s', (contentType, expected) => {
  expect(isGrpcCall(requestWith({ 'content-type': contentType }))).toBe(expected)
})

test('a request without content type is no gRPC call', () => {
  expect(isGrpcCall(requestWith())).toBe(false)
})

test.each([
  ['/orders', '/orders'],
  ['/orders?access_token=secret', '/orders'],
  ['/orders?a=1?b=2', '/orders'],
  ['/orders#part?a=1', '/orders'],
  ['?a=1', ''],
  ['', ''],
])('the path %j without its query is %j', (path, expected) => {
  expect(pathWithoutQuery(path)).toBe(expected)
})
