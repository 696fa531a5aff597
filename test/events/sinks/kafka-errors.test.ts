import { expect, test } from '@jest/globals'
import { explain, failureOf, isRefusal } from '../../../src/events/sinks/kafka-errors.ts'

/** An error as kafkajs throws it, with whatever it carries. */
function failure(message: string, over: object = {}): Error {
  return Object.assign(new Error(message), over)
}

test('a failure is called by the protocol, however often it is wrapped', () => {
  const protocol = failure('too large', { name: 'KafkaJSProtocolError', type: 'MESSAGE_TOO_LARGE', code: 10 })
  const wrapped = failure('retries exceeded', {
    name: 'KafkaJSNumberOfRetriesExceeded',
    cause: failure('again', { cause: protocol }),
  })

  expect(failureOf(wrapped)).toEqual({ code: 'MESSAGE_TOO_LARGE', message: 'too large' })
})

test.each([
  [
    'by the system',
    failure('connect ECONNREFUSED', { name: 'KafkaJSConnectionError', code: 'ECONNREFUSED' }),
    'ECONNREFUSED',
  ],
  [
    'by its own name',
    failure('closed', { name: 'KafkaJSConnectionClosedError' }),
    'KafkaJSConnectionClosedError',
  ],
])('else it is called %s', (_by, error, code) => {
  expect(failureOf(error).code).toBe(code)
})

test.each([['a text'], [undefined], [null], [7]])(
  'something else that is thrown is a failure as well: %p',
  (thrown) => {
    expect(failureOf(thrown)).toEqual({ code: 'unknown', message: String(thrown) })
  },
)

test('an error that is its own cause is one failure', () => {
  const error = failure('round and round')
  error.cause = error

  expect(failureOf(error).message).toBe('round and round')
})

test.each([
  ['MESSAGE_TOO_LARGE', true],
  ['RECORD_LIST_TOO_LARGE', true],
  ['INVALID_RECORD', true],
  ['TOPIC_AUTHORIZATION_FAILED', false],
  ['UNKNOWN_TOPIC_OR_PARTITION', false],
  ['NOT_ENOUGH_REPLICAS', false],
  ['OUT_OF_ORDER_SEQUENCE_NUMBER', false],
  ['ECONNREFUSED', false],
])('%s refuses records for good: %s', (code, refused) => {
  expect(isRefusal({ code, message: '' })).toBe(refused)
})

test('a failure says what would do, where that is known', () => {
  expect(explain({ code: 'ECONNREFUSED', message: 'connect ECONNREFUSED 127.0.0.1:1' })).toBe(
    'connect ECONNREFUSED 127.0.0.1:1; check KAFKA_BROKERS, and the addresses that the brokers advertise',
  )
})

test('a failure that nobody knows is told as it is, with its code', () => {
  expect(explain({ code: 'constructor', message: 'odd' })).toBe('odd (constructor)')
})
