import { describe, expect, test } from '@jest/globals'
import {
  byTopic,
  type KafkaRecord,
  kafkaTopics,
  recordsOf,
  runsOf,
} from '../../../src/events/sinks/kafka-records.ts'
import { loggedEvent, loggedEvents } from '../../support/logged-events.ts'

test('every topic is listed once', () => {
  expect(kafkaTopics).toEqual([...new Set(kafkaTopics)])
  expect(kafkaTopics).toContain('gateway.requests')
})

describe('an event', () => {
  test.each([
    ['its client', {}, 'client-1'],
    ['its request, where no client is known', { clientId: undefined }, 'request-1'],
    ['its request, where the client is empty', { clientId: '' }, 'request-1'],
    ['itself, where there is neither', { clientId: undefined, requestId: undefined, id: 'id-1' }, 'id-1'],
  ])('has the key of %s', (_what, over, key) => {
    const { records } = recordsOf([loggedEvent(over)])

    expect(records[0]?.message.key).toBe(key)
  })

  test('has its bytes as the value, as they are', () => {
    const { records } = recordsOf([loggedEvent({ json: '{"text": "ä\\u00e4" }' })])

    expect(records[0]?.message.value).toEqual(Buffer.from('{"text": "ä\\u00e4" }'))
  })

  test('has no time of its own, so that one that had to wait outlives the retention of its topic', () => {
    const { records } = recordsOf([loggedEvent()])

    expect(records[0]?.message).not.toHaveProperty('timestamp')
  })

  test('of a type that no topic is known for is refused, and the others are not', () => {
    const unknown = loggedEvent({ type: 'of.tomorrow' as 'request.completed' })

    const { records, refusals } = recordsOf([loggedEvent(), unknown, loggedEvent()])

    expect(refusals).toEqual([{ index: 1, reason: 'no topic is known for events of type of.tomorrow' }])
    expect(records.map(({ index }) => index)).toEqual([0, 2])
  })
})

test('records are grouped by topic, and keep their order in it', () => {
  const types = ['request.completed', 'auth.failed', 'request.completed'] as const
  const { records } = recordsOf(
    types.map((type, index) => loggedEvent({ type, clientId: `client-${index}` })),
  )

  const grouped = byTopic(records).map(({ topic, messages }) => [topic, messages.map(({ key }) => key)])

  expect(grouped).toEqual([
    ['gateway.requests', ['client-0', 'client-2']],
    ['gateway.auth', ['client-1']],
  ])
})

describe('runs', () => {
  const sizes = (runs: Iterable<KafkaRecord[]>) => [...runs].map((run) => run.length)
  const { records } = recordsOf(loggedEvents(7, { padding: 1_000 }))
  const bytes = records[0]?.bytes ?? 0

  test('have at most so many records', () => {
    expect(sizes(runsOf(records, { maxRecords: 3, maxBytes: 1_000_000 }))).toEqual([3, 3, 1])
  })

  test('have at most so many bytes', () => {
    expect(sizes(runsOf(records, { maxRecords: 100, maxBytes: 2 * bytes }))).toEqual([2, 2, 2, 1])
  })

  test('have one record at least, however large', () => {
    expect(sizes(runsOf(records, { maxRecords: 100, maxBytes: 1 }))).toEqual([1, 1, 1, 1, 1, 1, 1])
  })

  test('hold every record, in order', () => {
    expect([...runsOf(records, { maxRecords: 2, maxBytes: 1_000_000 })].flat()).toEqual(records)
  })

  test('of nothing are none', () => {
    expect([...runsOf([], { maxRecords: 2, maxBytes: 1 })]).toEqual([])
  })
})
