import { expect, test } from '@jest/globals'
import { checkRequestContext } from '../../src/envoy/attributes.ts'

test('a request id is cut at 256 characters, and never leaves half a character behind', () => {
  const headers = { 'x-request-id': `${'x'.repeat(255)}\u{1f600}` }

  const { requestId } = checkRequestContext({ attributes: { request: { http: { headers } } } }, 0, 'peer')

  expect(requestId).toBe(`${'x'.repeat(255)}\ufffd`)
})
