import { expect, test } from '@jest/globals'
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js'
import { mendRequestQueue } from '../../../src/events/sinks/kafkajs-mend.ts'

mendRequestQueue()

function queue(): RequestQueue {
  return new RequestQueue({ maxInFlightRequests: 1, logger: { debug() {} } })
}

test('a connection on which nothing waits sets no timer', () => {
  const idle = queue()

  idle.checkPendingRequests()

  expect(idle.throttleCheckTimeoutId).toBeNull()
})

test('a request that waits is looked after', () => {
  const busy = queue()
  busy.pending.push({})

  busy.scheduleCheckPendingRequests()

  expect(busy.throttleCheckTimeoutId).not.toBeNull()
  clearTimeout(busy.throttleCheckTimeoutId ?? undefined)
})
