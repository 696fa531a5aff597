import { createHmac, createSecretKey } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import type { EventData, EventType } from '../../src/core/events.ts'
import { type PersonalField, type Privacy, personalFields } from '../../src/core/privacy.ts'
import { eventTypes, examples } from '../../src/events/catalogue.ts'
import { createRedactor } from '../../src/events/privacy.ts'
import { expectValidEvent } from '../support/event-schema.ts'

const key = createSecretKey(Buffer.alloc(32, 7))
const otherKey = createSecretKey(Buffer.alloc(32, 9))

function redact(privacy: Privacy, data: EventData[EventType], hashKey = key): Record<string, unknown> {
  return createRedactor(privacy, () => hashKey)()(data) as unknown as Record<string, unknown>
}

const everywhere = (action: 'drop' | 'hash') =>
  Object.fromEntries(personalFields.map((field) => [field, action])) as Privacy

function isPersonal(name: string): name is PersonalField {
  return personalFields.some((field) => field === name)
}

test('the examples hold every personal field, so that these tests see each', () => {
  const named = Object.values(examples).flatMap((data) => Object.keys(data))

  expect(personalFields.filter((field) => !named.includes(field))).toEqual([])
})

describe.each(eventTypes)('of %s', (type) => {
  const data = examples[type]

  test('nothing is changed where nothing is asked for', () => {
    expect(redact({}, data)).toBe(data)
  })

  test('every personal field is gone where all are dropped, and nothing else', () => {
    const rest = Object.entries(data).filter(([name]) => !isPersonal(name))

    expect(redact(everywhere('drop'), data)).toEqual(Object.fromEntries(rest))
  })

  test('no personal value is left where all are hashed, every field is there, and the event is valid', () => {
    const told = redact(everywhere('hash'), data)

    expect(Object.keys(told).sort()).toEqual(Object.keys(data).sort())
    for (const [name, value] of Object.entries(data))
      expect(told[name]).toEqual(isPersonal(name) ? expect.stringMatching(/^[\w-]{43}$/) : value)
    const event = {
      id: '9f3b6c3e-2c3d-4f43-8f0f-0c1d1f1e2a3b',
      event_type: type,
      timestamp: '2030-01-01T00:00:00Z',
    }
    expect(() => expectValidEvent({ ...event, data: told })).not.toThrow()
  })

  test('what was handed over stays as it was', () => {
    const before = structuredClone(data)

    redact(everywhere('drop'), data)
    redact(everywhere('hash'), data)

    expect(data).toEqual(before)
  })
})

describe('a hash', () => {
  const completed = examples['request.completed']

  test('is HMAC-SHA256 of the field and its value', () => {
    const expected = createHmac('sha256', key).update('user_id\0alice').digest('base64url')

    expect(redact({ user_id: 'hash' }, { ...completed, user_id: 'alice' })).toMatchObject({
      user_id: expected,
    })
  })

  test('is the same for one value in two types, so that they can be joined', () => {
    const address = { client_ip: '192.0.2.9' }
    const one = redact({ client_ip: 'hash' }, { ...completed, ...address })
    const other = redact({ client_ip: 'hash' }, { ...examples['auth.failed'], ...address })

    expect(one['client_ip']).toBe(other['client_ip'])
  })

  test('differs by value, by field and by key', () => {
    const same = { client_ip: 'x', user_id: 'x', user_agent: 'y' }
    const told = redact(everywhere('hash'), { ...completed, ...same })
    const byOther = redact(everywhere('hash'), { ...completed, ...same }, otherKey)

    const hashes = personalFields.flatMap((field) => [told[field], byOther[field]])
    expect(new Set(hashes).size).toBe(6)
  })

  test('is made of no value that is not there', () => {
    const { user_id: _user, ...anonymous } = completed

    expect(redact({ user_id: 'hash' }, anonymous)).toEqual(anonymous)
  })

  test('is made by the key that holds when its batch begins', () => {
    let current = key
    const redactor = createRedactor({ user_id: 'hash' }, () => current)
    const first = redactor()
    const before = first(completed)
    current = otherKey

    expect(first(completed)).toEqual(before)
    expect(redactor()(completed)).not.toEqual(before)
  })
})

test('fields may fare differently', () => {
  const told = redact({ client_ip: 'drop', user_id: 'hash' }, examples['request.completed'])

  expect(told).not.toHaveProperty('client_ip')
  expect(told['user_agent']).toBe(examples['request.completed'].user_agent)
  expect(told['user_id']).toMatch(/^[\w-]{43}$/)
})

test('no key is asked for where nothing is hashed', () => {
  const none = () => {
    throw new Error('asked for a key')
  }

  expect(createRedactor({ client_ip: 'drop' }, none)()(examples['auth.failed'])).not.toHaveProperty(
    'client_ip',
  )
})
